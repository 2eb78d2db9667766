"""/audit-log: who did what, from where, with what result."""

from typing import Any
from uuid import UUID

from flask import g
from marshmallow import fields
from marshmallow.validate import Length, OneOf

from cift_core.errors import FieldError, Forbidden
from cift_core.services import audit
from cift_web.database import db
from cift_web.resources import Resource
from cift_web.schemas import AnswerSchema, Id, Page, Text, UTCTime

audit_logs = Resource("audit_logs", url_prefix="/api/v1/audit-log", description="The audit trail.")


class AuditQuery(Page):
    """Which part of the trail to read."""

    action = Text(validate=Length(1, 64), metadata={"description": "An operationId, such as create_api_key."})
    resource = Text(validate=Length(1, 64), metadata={"description": "Such as api_keys."})
    resource_id = Text(validate=Length(1, 64))
    result = Text(validate=OneOf(audit.RESULTS, error="must be one of {choices}"))
    created_after = UTCTime()
    user_id = Id(metadata={"description": "Another user's trail; needs the scope admin."})


class AuditLogAnswer(AnswerSchema):
    """One change, refusal or failed authentication."""

    id = fields.Integer(required=True)
    created_at = UTCTime(required=True)
    user_id = fields.UUID(required=True, allow_none=True)
    key_prefix = fields.String(required=True, allow_none=True)
    action = fields.String(required=True)
    resource = fields.String(required=True)
    resource_id = fields.String(required=True, allow_none=True)
    result = fields.String(required=True, validate=OneOf(audit.RESULTS))
    ip = fields.String(required=True, allow_none=True)
    user_agent = fields.String(required=True, allow_none=True)
    request_id = fields.String(required=True, allow_none=True)
    details = fields.Dict(required=True, allow_none=True)


class AuditPage(AnswerSchema):
    """Newest first."""

    items = fields.List(fields.Nested(AuditLogAnswer), required=True)
    next = fields.String(required=True, allow_none=True)


@audit_logs.operation("GET", "", access="accounts:read", query=AuditQuery(), answer=AuditPage())
def list_audit_log(query: dict[str, Any]) -> dict[str, Any]:
    """Read the audit trail

    Your own; with the scope admin everybody's, or that of one `user_id`. Newest first.
    """
    wanted = UUID(given) if (given := query.pop("user_id", None)) else None
    principal = g.principal
    if "admin" not in principal.scopes:
        if wanted not in (None, principal.user_id):
            detail = "another user's trail needs the scope admin; leave it out for your own"
            raise Forbidden("missing_scope", f"user_id: {detail}.", [FieldError("/user_id", detail)])
        wanted = principal.user_id
    found, following = audit.list_logs(db.session(), user_id=wanted, **query)
    return {"items": found, "next": following}
