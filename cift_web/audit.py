"""What a request leaves in the audit trail."""

from typing import Any
from uuid import UUID

from flask import g, request
from sqlalchemy.orm import Session

from cift_core.errors import StoreUnavailable
from cift_core.logs import logger
from cift_core.services import audit
from cift_core.stores.postgres import transaction
from cift_web.database import db

_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
_log = logger(__name__)


def audit_change(
    session: Session, resource_id: UUID, result: audit.Result = "done", details: dict[str, Any] | None = None
) -> None:
    """Write the change that this request makes, in the change's own unit of work."""
    _record(session, resource_id, result, details)


def audit_refusal(code: str, status: int) -> None:
    """Write a refused or failed change, or a failed authentication, after its unit of work was undone."""
    if "actor" not in g or (request.method in _SAFE_METHODS and status not in (401, 403, 429)):
        return
    resource_id = next(iter((request.view_args or {}).values()), None)
    details = {"code": code, "status": status, "method": request.method, "path": request.path[:512]}
    result: audit.Result = "refused" if status < 500 else "failed"
    try:
        with transaction(db.session()) as session:
            _record(session, resource_id, result, details)
    except StoreUnavailable:
        _log.warning("refusal_not_audited", code=code, status=status)


def _record(
    session: Session, resource_id: UUID | None, result: audit.Result, details: dict[str, Any] | None
) -> None:
    audit.record(
        session,
        g.actor,
        action=str(request.endpoint).rpartition(".")[2],
        resource=str(request.blueprint),
        resource_id=resource_id,
        result=result,
        details=details,
    )
