"""The audit trail: one row per change, refusal and failed authentication, in the change's own transaction."""

from dataclasses import dataclass
from typing import Any, Literal, cast
from uuid import UUID

from sqlalchemy import Table, insert
from sqlalchemy.orm import Session

from cift_core.models import AuditLog

# built once, on the table and not the class: every change runs it
_INSERT = insert(cast(Table, AuditLog.__table__)).inline()
Result = Literal["done", "reused", "refused", "failed"]


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
    session.execute(
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
