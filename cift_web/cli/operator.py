"""What an operator's commands stand on: the stores themselves, and a name in the audit trail."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from cift_core.logs import configure_logs
from cift_core.services import audit
from cift_core.services.audit import Actor
from cift_core.settings import load_settings
from cift_core.stores import Stores, open_stores

_OPERATOR = Actor(user_id=None, key_prefix=None, ip=None, user_agent="cift", request_id=None)


@contextmanager
def operator_stores() -> Iterator[Stores]:
    """The stores of the settings in the environment, closed at the end of the block."""
    current = load_settings()
    configure_logs("warning", "console")
    opened = open_stores(current, "cli")
    try:
        yield opened
    finally:
        opened.close()


def audit_command(
    session: Session,
    action: str,
    resource: str,
    resource_id: UUID | None,
    details: dict[str, Any] | None = None,
) -> None:
    """Write what the operator changes, in the change's own unit of work."""
    audit.record(
        session,
        _OPERATOR,
        action=action,
        resource=resource,
        resource_id=resource_id,
        result="done",
        details=details,
    )
