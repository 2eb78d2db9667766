"""`cift audit`: who did what, and whether the trail is as it was written."""

from datetime import UTC, datetime

import click
from sqlalchemy import select

from cift_core.errors import Conflict
from cift_core.models import AuditLog
from cift_core.services import audit_seals
from cift_core.services.users import user_by_email
from cift_web.cli.operator import operator_stores
from cift_web.cli.output import json_option, show, table

_COLUMNS = ("id", "created_at", "user_id", "key_prefix", "action", "resource", "resource_id", "result", "ip")


@click.group()
def audit() -> None:
    """The trail of every change, refusal and failed log-in."""


@audit.command("ls")
@click.option("--user", "email", help="Only what the user with this address did.")
@click.option("--action", help="Only this action, such as submit_backtest.")
@click.option("--since", type=click.DateTime(), help="Only what happened at this time (UTC) or later.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True)
@json_option
def list_audit(
    email: str | None, action: str | None, since: datetime | None, limit: int, as_json: bool
) -> None:
    """List the trail, newest first.

    \b
      cift audit ls --user ada@example.org --since 2026-11-01
      cift audit ls --action revoke_key --json | jq .[].details
    """
    query = select(AuditLog).order_by(AuditLog.id.desc()).limit(limit)
    if action is not None:
        query = query.where(AuditLog.action == action)
    if since is not None:
        query = query.where(AuditLog.created_at >= since.replace(tzinfo=UTC))
    with operator_stores() as stores, stores.postgres.transaction() as session:
        if email is not None:
            query = query.where(AuditLog.user_id == user_by_email(session, email).id)
        names = [*_COLUMNS, "user_agent", "request_id", "details"]
        found = [{name: getattr(row, name) for name in names} for row in session.scalars(query)]
    show(found, lambda: table(_COLUMNS, [[row[name] for name in _COLUMNS] for row in found]), as_json)


def _hash(_context: click.Context, _parameter: click.Parameter, value: str | None) -> bytes | None:
    try:
        noted = bytes.fromhex(value) if value else None
    except ValueError:
        noted = b""
    if noted is not None and len(noted) != len(audit_seals.GENESIS):
        raise click.BadParameter(f"a seal is {2 * len(audit_seals.GENESIS)} hexadecimal digits")
    return noted


@audit.command("verify")
@click.option("--seal", "noted", callback=_hash, help="A seal noted earlier, which must be in the chain.")
@json_option
def verify_audit(noted: bytes | None, as_json: bool) -> None:
    """Check the trail against its seals; ends with 1 when it was tampered with.

    A beat task seals the trail every minute into a chain of hashes: a row that is changed, removed or slipped
    in afterwards breaks it. Who may write the whole database could make the chain anew: note the seal that
    this command prints (or those in the workers' log, `audit.sealed`) elsewhere, and give it with --seal.
    """
    with operator_stores() as stores, stores.postgres.transaction() as session:
        verdict = audit_seals.verify(session, noted=noted)
    shown = {
        "holds": not verdict.broken,
        "seals": verdict.seals,
        "rows": verdict.rows,
        "unsealed": verdict.unsealed,
        "seal": verdict.head.hex(),
        "broken": [{"seal_id": one.seal_id, "reason": one.reason} for one in verdict.broken],
    }
    sentence = f"{verdict.rows} rows under {verdict.seals} seals, {verdict.unsealed} not sealed yet."
    show(shown, f"{sentence}\nThe last seal: {verdict.head.hex()}", as_json)
    if verdict.broken:
        named = "; ".join(f"seal {one.seal_id}: {one.reason}" for one in verdict.broken)
        raise Conflict("audit_trail_broken", f"The audit trail is not as it was written: {named}.")
