"""/alerts: what went wrong and whether it still does."""

from typing import Any
from uuid import UUID

from flask import g
from marshmallow import fields
from marshmallow.validate import OneOf

from cift_core.models import Alert, AlertKind, AlertSeverity, AlertStatus
from cift_core.services import alerts as service
from cift_web.audit import audit_change
from cift_web.database import db
from cift_web.resources import Resource
from cift_web.schemas import AnswerSchema, Page, Text, UTCTime

KINDS, SEVERITIES, STATUSES = list(AlertKind), list(AlertSeverity), list(AlertStatus)
READ, WRITE = "alerts:read", "alerts:write"
alerts = Resource("alerts", url_prefix="/api/v1/alerts", description="What went wrong.")


class AlertAnswer(AnswerSchema):
    """One alert."""

    id = fields.UUID(required=True)
    owner_id = fields.UUID(
        required=True, allow_none=True, metadata={"description": "You; null: it is for the operators."}
    )
    kind = fields.String(required=True, validate=OneOf(KINDS))
    subject = fields.String(
        required=True, metadata={"description": "The store, the queue, or the job as `backtests/<id>`."}
    )
    severity = fields.String(required=True, validate=OneOf(SEVERITIES))
    status = fields.String(required=True, validate=OneOf(STATUSES))
    detail = fields.String(required=True, metadata={"description": "What is wrong, in a sentence."})
    details = fields.Dict(keys=fields.String(), required=True, metadata={"description": "For programs."})
    opened_at = UTCTime(required=True, metadata={"description": "Since when it is so."})
    last_seen_at = UTCTime(required=True)
    occurrences = fields.Integer(required=True, metadata={"description": "How often it was seen."})
    acknowledged_at = UTCTime(required=True, allow_none=True)
    acknowledged_by = fields.UUID(required=True, allow_none=True)
    resolved_at = UTCTime(required=True, allow_none=True)
    duration_s = fields.Float(
        required=True, allow_none=True, metadata={"description": "From opened to resolved; null until then."}
    )


class AlertPage(AnswerSchema):
    """Alerts, newest first."""

    items = fields.List(fields.Nested(AlertAnswer), required=True)
    next = fields.String(required=True, allow_none=True)


class AlertQuery(Page):
    """Which alerts."""

    status = Text(validate=OneOf(STATUSES, error="must be one of {choices}"))
    severity = Text(validate=OneOf(SEVERITIES, error="must be one of {choices}"))
    kind = Text(validate=OneOf(KINDS, error="must be one of {choices}"))


@alerts.operation("GET", "", access=READ, query=AlertQuery(), answer=AlertPage())
def list_alerts(query: dict[str, Any]) -> dict[str, Any]:
    """List alerts

    Your own and, for a key with the scope admin, the operators'; newest first.
    """
    found, following = service.list_alerts(db.session(), g.principal.user_id, operator=_operator(), **query)
    return {"items": found, "next": following}


@alerts.operation("POST", "/<uuid:alert_id>/acknowledge", access=WRITE, answer=AlertAnswer(), problems=(404,))
def acknowledge_alert(alert_id: UUID) -> Alert:
    """Acknowledge an alert

    You have taken note. A state resolves by itself when it is over; that a job failed, with this. Idempotent.
    """
    session = db.session()
    alert = service.acknowledge(session, g.principal.user_id, alert_id, operator=_operator())
    audit_change(session, alert_id)
    return alert


def _operator() -> bool:
    return "admin" in g.principal.scopes
