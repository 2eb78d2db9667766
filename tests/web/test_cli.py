"""The `cift` command, run as an operator runs it."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import bcrypt
import pytest
from flask import Flask
from sqlalchemy import select

from cift_core.clock import utc_now
from cift_core.models import APIKey, AuditLog, User
from cift_core.settings import Settings
from cift_core.stores import Stores
from tests.web.conftest import Client

PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def _environment(settings: Settings) -> None:
    """The stack's settings, in the environment."""


def cift(
    *arguments: str, stdin: str = "", env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("cift")), *arguments]
    return subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        env=env or dict(os.environ),
        check=False,
    )


def created(*options: str) -> str:
    email = f"{uuid4()}@example.org"
    done = cift("users", "create", email, "--password-stdin", *options, stdin=PASSWORD + "\n")
    assert done.returncode == 0, done.stderr
    return email


def test_migrate_may_be_repeated() -> None:
    for _ in range(2):
        done = cift("migrate")
        assert (done.returncode, done.stdout) == (0, ""), done.stderr


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


def test_help_teaches() -> None:
    assert "migrate" in cift("--help").stdout
    assert "backtests:read" in cift("keys", "create", "--help").stdout
