"""The `cift` command, run as an operator runs it."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import bcrypt
import click
import pytest
from click.testing import CliRunner
from flask import Flask
from sqlalchemy import select

from cift_core.clock import utc_now
from cift_core.models import APIKey, AuditLog, User
from cift_core.settings import Settings
from cift_core.stores import Stores
from cift_web.cli import cift as cift_group
from tests.web.conftest import BACKTEST, Client

PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def _environment(settings: Settings) -> None:
    """The stack's settings, in the environment."""


def cift(
    *arguments: str, stdin: str = "", env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The command run in this process, with this environment."""
    environment: dict[str, str | None] = {name: None for name in os.environ if name.startswith("CIFT_")}
    environment |= os.environ if env is None else env
    done = CliRunner().invoke(cift_group, arguments, stdin, environment)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The words that lead to every command."""
    found = [path]
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        found += commands(command, (*path, name)) if isinstance(command, click.Group) else [(*path, name)]
    return found


def created(*options: str) -> str:
    email = f"{uuid4()}@example.org"
    done = cift("users", "create", email, "--password-stdin", *options, stdin=PASSWORD + "\n")
    assert done.returncode == 0, done.stderr
    return email


def test_the_installed_command_migrates_and_may_be_repeated() -> None:
    command = [str(Path(sys.executable).with_name("cift")), "migrate"]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_a_users_commands_load_nothing_of_the_stores() -> None:
    code = (
        "import sys; from cift_web.cli import jobs, backtests, ingestions; print('sqlalchemy' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "False\n"


def test_a_user_gets_a_hashed_password(stores: Stores) -> None:
    email = created()
    with stores.postgres.transaction() as session:
        user = session.scalars(select(User).where(User.email == email)).one()
        trail = session.scalars(select(AuditLog).where(AuditLog.resource_id == str(user.id))).one()
    assert bcrypt.checkpw(PASSWORD.encode(), user.password_hash.encode())
    assert (trail.action, trail.user_agent, user.is_admin) == ("create_user", "cift", False)


def test_a_key_is_printed_once_and_works(app: Flask, stores: Stores) -> None:
    email = created()
    done = cift(
        "keys", "create", email, "--name", "n", "--scope", "backtests:read", "--expires-days", "7", "--json"
    )
    shown = json.loads(done.stdout)
    assert Client(app, shown["key"]).get("/api/v1/me").json["email"] == email
    with stores.postgres.transaction() as session:
        key = session.get_one(APIKey, shown["id"])
    assert timedelta(days=6, hours=23) < key.expires_at - utc_now() <= timedelta(days=7)
    plain = cift("keys", "create", email, "--name", "n", "--scope", "data:read")
    assert plain.stdout.startswith("cift_")
    assert plain.stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("users", "create", "no-address", "--password-stdin"), "not an e-mail address"),
        (("keys", "create", "nobody@example.org", "--name", "n", "--scope", "data:read"), "There is no user"),
    ],
)
def test_what_can_not_be_done_ends_with_1_and_a_sentence(arguments: tuple[str, ...], says: str) -> None:
    done = cift(*arguments, stdin=PASSWORD)
    assert (done.returncode, done.stdout) == (1, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_scope_is_named() -> None:
    done = cift("keys", "create", created(), "--name", "n", "--scope", "data:raed")
    assert done.returncode == 1
    assert 'did you mean "data:read"' in done.stderr


def test_an_admin_key_needs_an_admin() -> None:
    arguments = ("--name", "n", "--scope", "admin")
    assert cift("keys", "create", created(), *arguments).returncode == 1
    assert cift("keys", "create", created("--admin"), *arguments).returncode == 0


def test_a_taken_address_is_refused() -> None:
    email = created()
    again = cift("users", "create", email.upper(), "--password-stdin", stdin=PASSWORD)
    assert (again.returncode, "already" in again.stderr) == (1, True)


def test_a_bad_environment_ends_with_2_and_every_problem() -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("CIFT_")}
    done = cift("users", "create", "a@b.org", "--password-stdin", stdin=PASSWORD, env=env)
    assert done.returncode == 2
    assert "CIFT_POSTGRES_URL" in done.stderr
    assert "CIFT_SECRET_KEY" in done.stderr
    assert "Traceback" not in done.stderr


def test_users_and_keys_are_listed_and_a_key_is_revoked(app: Flask) -> None:
    email = created("--admin")
    shown = json.loads(cift("keys", "create", email, "--name", "n", "--scope", "admin", "--json").stdout)
    (user,) = [one for one in json.loads(cift("users", "ls", "--json").stdout) if one["email"] == email]
    assert (user["is_admin"], user["is_active"]) == (True, True)
    assert shown["prefix"] in cift("keys", "ls", email).stdout
    for _ in range(2):
        assert cift("keys", "revoke", shown["prefix"]).returncode == 0
    assert Client(app, shown["key"]).get("/api/v1/me").json["code"] == "revoked_key"
    (key,) = json.loads(cift("keys", "ls", email, "--json").stdout)
    assert key["revoked_at"].endswith("Z")
    assert cift("keys", "revoke", "nobodysprefx").returncode == 1
    trail = json.loads(cift("audit", "ls", "--action", "revoke_key", "--json", "--limit", "1").stdout)
    assert [row["details"] for row in trail] == [{"prefix": shown["prefix"]}]


def test_the_trail_of_one_user(alice: Client) -> None:
    email = alice.get("/api/v1/me").json["email"]
    alice.post("/api/v1/backtests", json=BACKTEST)
    alice.post("/api/v1/backtests", json={})
    names, *lines = cift("audit", "ls", "--user", email, "--since", "2020-01-01").stdout.splitlines()
    assert names.split()[:3] == ["id", "created_at", "user_id"]
    assert ["refused" in line for line in lines] == [True, False]
    assert len(cift("audit", "ls", "--user", email, "--since", "2999-01-01").stdout.splitlines()) == 1


def test_a_store_that_does_not_answer_ends_with_3() -> None:
    env = os.environ | {"CIFT_POSTGRES_URL": "postgresql://cift:x@127.0.0.1:9/cift"}
    done = cift("users", "ls", env=env)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("cift: PostgreSQL does not answer")


def test_help_teaches() -> None:
    assert "cift migrate" in cift("--help").stdout
    assert "Exit codes: 0 done" in cift("--help").stdout
    assert "backtests:read" in cift("keys", "create", "--help").stdout


@pytest.mark.parametrize("command", commands(cift_group))
def test_every_command_says_what_it_does(command: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(cift_group, [*command, "--help"])
    assert shown.exit_code == 0
    what = shown.output.split("\n\n")[1].strip()
    assert what[0].isupper()
    assert "." in what
