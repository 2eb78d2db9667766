"""The `cift` command: what an operator does at a terminal."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import alembic.command
import alembic.config
import click

from cift_core.clock import utc_now
from cift_core.errors import CiftError
from cift_core.logs import configure_logs
from cift_core.services import api_keys, audit, users
from cift_core.services.audit import Actor
from cift_core.settings import SettingsError, settings
from cift_core.stores import Stores, open_stores

ALEMBIC_INI = Path(__file__).resolve().parents[1] / "alembic.ini"
_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def main() -> None:
    """Run the command; a bad environment ends with 2, a request that can't be met with 1."""
    try:
        cift.main(prog_name="cift", standalone_mode=True)
    except SettingsError as error:
        click.echo(f"cift: {error}", err=True)
        sys.exit(2)
    except CiftError as error:
        click.echo(f"cift: {error.message}", err=True)
        sys.exit(1)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cift() -> None:
    """Operate CIFT Markets. Settings come from the environment (CIFT_...)."""


@cift.command()
def migrate() -> None:
    """Bring PostgreSQL and QuestDB to the tables that this version needs; may be repeated."""
    with _stores() as stores:
        stores.postgres.probe()
        alembic.command.upgrade(alembic.config.Config(str(ALEMBIC_INI)), "head")
        stores.questdb.create_tables()
    click.echo("PostgreSQL and QuestDB are up to date.", err=True)


@cift.group("users")
def users_group() -> None:
    """The people who use the service."""


@users_group.command("create")
@click.argument("email")
@click.option("--admin", is_flag=True, help="May hold keys with the scope admin.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@_as_json
def create_user(email: str, admin: bool, password_stdin: bool, as_json: bool) -> None:
    """Create a user.

    The password is asked for, hidden and twice, unless it comes on standard input.
    """
    if password_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    with _stores() as stores, stores.postgres.transaction() as session:
        user = users.create_user(session, stores.settings, email, password, is_admin=admin)
        audit.record(
            session,
            _OPERATOR,
            action="create_user",
            resource="users",
            resource_id=user.id,
            result="done",
            details={"is_admin": admin},
        )
    _show({"id": user.id, "email": user.email, "is_admin": user.is_admin}, f"Created {user.email}.", as_json)


@cift.group("keys")
def keys_group() -> None:
    """API keys."""


@keys_group.command("create")
@click.argument("email")
@click.option("--name", required=True, help="What the key is for.")
@click.option(
    "--scope",
    "scopes",
    required=True,
    multiple=True,
    help=f"May be given more than once: {', '.join(api_keys.SCOPES)}.",
)
@click.option("--expires-days", type=click.IntRange(1, 3650), help="Days until it ends; never unless given.")
@_as_json
def create_key(
    email: str, name: str, scopes: tuple[str, ...], expires_days: int | None, as_json: bool
) -> None:
    """Create an API key for a user and print it, once: only an HMAC of it is kept."""
    expires_at = utc_now() + timedelta(days=expires_days) if expires_days else None
    with _stores() as stores, stores.postgres.transaction() as session:
        user = users.user_by_email(session, email)
        key, token = api_keys.create_key(
            session, stores.settings, user, name=name, scopes=scopes, expires_at=expires_at
        )
        audit.record(
            session,
            _OPERATOR,
            action="create_key",
            resource="api_keys",
            resource_id=key.id,
            result="done",
            details={"user_id": str(user.id), "prefix": key.prefix, "scopes": key.scopes},
        )
    shown = {
        "key": token,
        "id": key.id,
        "prefix": key.prefix,
        "user_id": user.id,
        "name": key.name,
        "scopes": key.scopes,
        "expires_at": expires_at.isoformat() if expires_at else None,
    }
    _show(shown, token, as_json)


_OPERATOR = Actor(user_id=None, key_prefix=None, ip=None, user_agent="cift", request_id=None)


@contextmanager
def _stores() -> Iterator[Stores]:
    current = settings()
    configure_logs("warning", "console")
    opened = open_stores(current, "cli")
    try:
        yield opened
    finally:
        opened.close()


def _show(value: dict[str, object], text: str, as_json: bool) -> None:
    click.echo(json.dumps(value, default=_json_value) if as_json else text)


def _json_value(value: object) -> str:
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(type(value).__name__)
