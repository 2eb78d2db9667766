"""Migrations: there and back, and exactly the tables that the models describe."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from cift_core.models import Base
from cift_core.settings import Settings
from cift_core.stores.postgres import sqlalchemy_url
from deploy.native.stack import Stack

CHECKOUT = Path(__file__).parents[1]
CATALOG = {
    "columns": """
        SELECT table_name, column_name, data_type, udt_name, is_nullable, column_default
        FROM information_schema.columns WHERE table_schema = 'public'""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n'""",
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "triggers": """
        SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid)
        FROM pg_trigger WHERE NOT tgisinternal""",
    "functions": "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
}
Catalog = dict[str, set[tuple[object, ...]]]
OURS_ALONE = ("triggers", "functions")  # no model can describe these


@contextmanager
def scratch_database(settings: Settings) -> Iterator[str]:
    """The URL of an empty database of the same server."""
    name = f"scratch_{uuid4().hex}"
    with psycopg.connect(settings.postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield urlsplit(settings.postgres_url)._replace(path=f"/{name}").geturl()
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def url(settings: Settings) -> Iterator[str]:
    with scratch_database(settings) as url:
        yield url


@contextmanager
def connected(url: str) -> Iterator[tuple[Connection, Config]]:
    """A connection, and an Alembic configuration that runs on it."""
    engine = create_engine(sqlalchemy_url(url), poolclass=NullPool)
    config = Config(CHECKOUT / "alembic.ini")
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        yield connection, config


def catalog(connection: Connection) -> Catalog:
    found = {
        kind: {tuple(row) for row in connection.execute(text(sql)) if row[0] != "alembic_version"}
        for kind, sql in CATALOG.items()
    }
    connection.commit()
    return found


def test_up_down_up(url: str) -> None:
    with connected(url) as (connection, config):
        command.upgrade(config, "head")
        connection.commit()
        up = catalog(connection)
        assert all(up.values())
        command.downgrade(config, "base")
        connection.commit()
        assert not any(catalog(connection).values())
        command.upgrade(config, "head")
        connection.commit()
        assert catalog(connection) == up


def test_every_migration_can_be_taken_back_by_itself(url: str) -> None:
    with connected(url) as (connection, config):
        revisions = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
        for revision in reversed(revisions):
            command.upgrade(config, revision)
            connection.commit()
            up = catalog(connection)
            command.downgrade(config, "-1")
            connection.commit()
            command.upgrade(config, revision)
            connection.commit()
            assert catalog(connection) == up


def test_there_is_one_head() -> None:
    scripts = ScriptDirectory.from_config(Config(CHECKOUT / "alembic.ini"))
    assert len(scripts.get_heads()) == 1


def test_alembic_finds_no_drift(url: str) -> None:
    with connected(url) as (connection, config):
        command.upgrade(config, "head")
        connection.commit()
        command.check(config)


def test_the_migrated_tables_are_those_of_the_models(url: str, settings: Settings) -> None:
    with connected(url) as (connection, config):
        command.upgrade(config, "head")
        connection.commit()
        migrated = catalog(connection)
    with scratch_database(settings) as other, connected(other) as (connection, _):
        Base.metadata.create_all(connection)
        connection.commit()
        described = catalog(connection)
    for kind in CATALOG.keys() - set(OURS_ALONE):
        assert migrated[kind] == described[kind], kind


def test_constraints_and_indexes_are_named_by_the_convention(url: str) -> None:
    with connected(url) as (connection, config):
        command.upgrade(config, "head")
        connection.commit()
        found = catalog(connection)
    kinds = {"PRIMARY": "pk", "FOREIGN": "fk", "UNIQUE": "uq", "CHECK": "ck"}
    for table, name, definition in found["constraints"]:
        prefix = kinds[re.split(r"[ (]", str(definition))[0]]
        assert re.fullmatch(rf"{prefix}_{table}(_\w+)?", str(name)), name
        if prefix == "fk":
            assert str(name).endswith(str(definition).split("REFERENCES ")[1].split("(")[0])
    for table, name, _ in found["indexes"]:
        assert re.fullmatch(rf"(pk|uq|ix)_{table}(_\w+)?", str(name)), name
    assert max(len(str(name)) for _, name, _ in found["constraints"] | found["indexes"]) < 63


NOTES_ITS_LIMITS = """
from alembic import op

revision, down_revision = "limits", None


def upgrade():
    op.execute("CREATE TABLE limits AS SELECT current_setting(name) FROM unnest(ARRAY["
               "'lock_timeout', 'statement_timeout', 'TimeZone']) AS name")
"""


def test_a_migration_neither_waits_for_a_lock_nor_runs_for_ever(
    url: str, stack: Stack, tmp_path: Path
) -> None:
    (tmp_path / "limits.py").write_text(NOTES_ITS_LIMITS)
    ini = tmp_path / "alembic.ini"
    ini.write_text(f"[alembic]\nscript_location = {CHECKOUT}/migrations\nversion_locations = {tmp_path}\n")
    subprocess.run(
        [sys.executable, "-m", "alembic", "-c", str(ini), "upgrade", "head"],
        env=stack.env | {"CIFT_POSTGRES_URL": url},
        cwd=CHECKOUT,
        check=True,
    )
    with connected(url) as (connection, _):
        assert list(connection.scalars(text("SELECT * FROM limits"))) == ["10s", "5min", "UTC"]


def test_two_runners_at_once_migrate_once(url: str, stack: Stack) -> None:
    runners = [
        subprocess.Popen(
            [sys.executable, "-m", "alembic", "upgrade", "head"],
            env=stack.env | {"CIFT_POSTGRES_URL": url},
            cwd=CHECKOUT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    for runner in runners:
        said, _ = runner.communicate(timeout=60)
        assert runner.returncode == 0, said
    with connected(url) as (connection, _):
        assert catalog(connection)["columns"]


def test_backtests_of_before_versions_have_read_what_their_data_says(url: str) -> None:
    seen = (
        '{"first": "2020-01-02T00:00:00Z", "last": "2020-01-09T00:00:00.000000001Z",'
        ' "source": {"kind": "ticks", "interval": null}}'
    )
    made = """
        WITH owner AS (INSERT INTO users (id, email, password_hash, is_admin, is_active)
            VALUES (gen_random_uuid(), 'a@example.org', '-', false, true) RETURNING id)
        INSERT INTO backtests (id, owner_id, status, progress, request, attempt, releases, strategy, symbols,
            tags, data, result_attempt)
        SELECT gen_random_uuid(), owner.id, 'succeeded', 1, cast(:request AS jsonb), 1, 0, 's', :symbols,
            '{}', cast(:data AS jsonb), 1 FROM owner"""
    one = {"request": '{"interval": "1d", "start": null, "end": "2021-01-01T00:00:00Z"}'}
    one |= {"symbols": ["A"], "data": '{"first": "2020-01-01T00:00:00Z", "last": "2020-01-03T00:00:00Z"}'}
    two = {"request": '{"interval": "1m"}', "symbols": ["B", "C"]}
    two |= {"data": f'{{"symbols": {{"B": {seen}, "C": {seen}}}}}'}
    with connected(url) as (connection, config):
        command.upgrade(config, "0006")
        for row in (one, two):
            connection.execute(text(made.replace("a@example", f"{row['symbols'][0].lower()}@example")), row)
        connection.commit()
        command.upgrade(config, "0007")
        found = connection.execute(
            text(
                "SELECT symbol, kind, interval, version, attempt, begin_ns, end_ns FROM backtest_reads"
                " ORDER BY symbol"
            )
        )
        day_ns, second_ns = 86_400 * 10**9, 10**9
        assert [tuple(row) for row in found] == [
            ("A", "bars", "1d", 0, 1, 18_262 * day_ns, 18_628 * day_ns),
            *(
                (name, "ticks", "", 0, 1, 18_263 * day_ns, 18_270 * day_ns + second_ns // 1_000_000)
                for name in "BC"
            ),
        ]
