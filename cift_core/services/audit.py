"""The audit trail: one row per change, refusal and failed authentication, in the change's own transaction."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast, get_args
from uuid import UUID

from sqlalchemy import Table, insert, select
from sqlalchemy.orm import Session

from cift_core.models import AuditLog
from cift_core.services.paging import decode_cursor, encode_cursor

# built once, on the table and not the class: every change runs it
_INSERT = insert(cast(Table, AuditLog.__table__)).inline()
Result = Literal["done", "reused", "refused", "failed"]


RESULTS: tuple[Result, ...] = get_args(Result)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it, and from where; `user_id` and `key_prefix` are None for somebody unknown."""

    user_id: UUID | None
    key_prefix: str | None
    ip: str | None
    user_agent: str | None
    request_id: str | None


def record(
    session: Session,
    actor: Actor,
    *,
    action: str,
    resource: str,
    resource_id: UUID | None,
    result: Result,
    details: dict[str, Any] | None = None,
) -> None:
    """Add one row to the trail, as part of the session's unit of work."""
    session.connection().execute(
        _INSERT,
        {
            "user_id": actor.user_id,
            "key_prefix": actor.key_prefix,
            "action": action,
            "resource": resource,
            "resource_id": None if resource_id is None else str(resource_id),
            "result": result,
            "ip": actor.ip,
            "user_agent": actor.user_agent,
            "request_id": actor.request_id,
            "details": details,
        },
    )


def list_logs(
    session: Session,
    *,
    user_id: UUID | None,
    created_after: datetime | None = None,
    cursor: str | None = None,
    limit: int,
    **equal: str | None,
) -> tuple[list[AuditLog], str | None]:
    """A page of one user's trail, or with None everybody's, with these values; newest first; the next cursor.

    Raises:
        InvalidInput: the cursor is none of this list.
    """
    query = select(AuditLog).filter_by(**{name: value for name, value in equal.items() if value is not None})
    if user_id is not None:
        query = query.where(AuditLog.user_id == user_id)
    if created_after is not None:
        query = query.where(AuditLog.created_at > created_after)
    if cursor is not None:
        query = query.where(AuditLog.id < decode_cursor(cursor, int)[0])
    found = list(session.scalars(query.order_by(AuditLog.id.desc()).limit(limit + 1)))
    return found[:limit], encode_cursor(found[limit - 1].id) if len(found) > limit else None
