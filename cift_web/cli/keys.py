"""`cift keys`: API keys."""

from datetime import timedelta

import click
from sqlalchemy import func, select

from cift_core.clock import utc_now
from cift_core.errors import NotFound
from cift_core.models import APIKey
from cift_core.services import api_keys
from cift_core.services.users import user_by_email
from cift_web.cli.operator import audit_command, operator_stores
from cift_web.cli.output import json_option, show, table


@click.group()
def keys() -> None:
    """API keys."""


@keys.command("create")
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
@json_option
def create_key(
    email: str, name: str, scopes: tuple[str, ...], expires_days: int | None, as_json: bool
) -> None:
    """Create an API key for a user and print it, once: only an HMAC of it is kept.

    \b
      export CIFT_API_KEY=$(cift keys create ada@example.org --name laptop \\
          --scope backtests:read --scope backtests:write --expires-days 90)
    """
    expires_at = utc_now() + timedelta(days=expires_days) if expires_days else None
    with operator_stores() as stores, stores.postgres.transaction() as session:
        user = user_by_email(session, email)
        key, token = api_keys.create_key(
            session, stores.settings, user, name=name, scopes=scopes, expires_at=expires_at
        )
        details = {"user_id": str(user.id), "prefix": key.prefix, "scopes": key.scopes}
        audit_command(session, "create_key", "api_keys", key.id, details)
    shown = {
        "key": token,
        "id": key.id,
        "prefix": key.prefix,
        "user_id": user.id,
        "name": key.name,
        "scopes": key.scopes,
        "expires_at": expires_at,
    }
    show(shown, token, as_json)


@keys.command("ls")
@click.argument("email")
@json_option
def list_keys(email: str, as_json: bool) -> None:
    """List a user's keys, oldest first; their secrets are not kept and can't be shown."""
    names = ("prefix", "name", "scopes", "created_at", "last_used_at", "expires_at", "revoked_at")
    with operator_stores() as stores, stores.postgres.transaction() as session:
        user = user_by_email(session, email)
        rows = session.scalars(select(APIKey).where(APIKey.user_id == user.id).order_by(APIKey.created_at))
        found = [{name: getattr(key, name) for name in names} for key in rows]
    cells = [
        [*(" ".join(value) if name == "scopes" else value for name, value in key.items())] for key in found
    ]
    show(found, lambda: table(names, cells), as_json)


@keys.command("revoke")
@click.argument("prefix")
def revoke_key(prefix: str) -> None:
    """End a key, at once and for ever; PREFIX is the part between the first and the second underscore."""
    with operator_stores() as stores, stores.postgres.transaction() as session:
        key = session.scalar(select(APIKey).where(APIKey.prefix == prefix).with_for_update())
        if key is None:
            raise NotFound("key_not_found", f"There is no API key {prefix}; `cift keys ls EMAIL` lists them.")
        if key.revoked_at is None:
            key.revoked_at = func.now()
            audit_command(session, "revoke_key", "api_keys", key.id, {"prefix": prefix})
    click.echo(f"The API key {prefix} does not hold any more.", err=True)
