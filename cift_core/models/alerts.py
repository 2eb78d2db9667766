"""Alerts: what somebody should know of, from when to when, and who took note."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from cift_core.models.base import Base, Timestamps


class AlertKind(StrEnum):
    """What an alert is about; docs/runbook.md has a section for each."""

    STORE_UNHEALTHY = "store_unhealthy"
    BROKER_FULL = "broker_full"
    BEAT_SILENT = "beat_silent"
    QUEUE_UNSERVED = "queue_unserved"
    QUEUE_SLOW = "queue_slow"
    CONSUMER_STALLED = "consumer_stalled"
    JOB_FAILED = "job_failed"
    DATA_GAP = "data_gap"


# they are over when somebody has taken note; what is a state ends by itself
EVENTS = (AlertKind.JOB_FAILED, AlertKind.DATA_GAP)


class AlertSeverity(StrEnum):
    """How bad it is."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class AlertStatus(StrEnum):
    """Acknowledged: a person has taken note, and it is not over yet."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


def _one_of(column: str, values: type[StrEnum]) -> str:
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"


class Alert(Timestamps, Base):
    """One alert; `owner_id` is the user it is for, or NULL: the operators.

    `last_seen_at` and `occurrences` say when and how often it was seen since `opened_at`.
    """

    __tablename__ = "alerts"
    __table_args__ = (
        CheckConstraint(_one_of("severity", AlertSeverity), name="severity"),
        CheckConstraint(_one_of("status", AlertStatus), name="status"),
        CheckConstraint("(status = 'resolved') = (resolved_at IS NOT NULL)", name="resolved_at"),
        CheckConstraint("status <> 'acknowledged' OR acknowledged_at IS NOT NULL", name="acknowledged_at"),
        CheckConstraint("last_seen_at >= opened_at AND resolved_at >= last_seen_at", name="order"),
        CheckConstraint("occurrences >= 1", name="occurrences"),
        # one alert for one trouble, however many see it; and the operators' that are not over, at every probe
        Index(
            "uq_alerts_unresolved",
            "owner_id",
            "kind",
            "subject",
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where=text("resolved_at IS NULL"),
        ),
        # the owner's list, newest first, by cursor
        Index("ix_alerts_owner_id_opened_at_id", "owner_id", text("opened_at DESC"), text("id DESC")),
        # the last one of a (kind, subject): whether a trouble was over already; and which are forgotten
        Index("ix_alerts_kind_subject_resolved_at", "kind", "subject", "resolved_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    owner_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    kind: Mapped[str]
    subject: Mapped[str]
    severity: Mapped[str]
    status: Mapped[str] = mapped_column(default=AlertStatus.OPEN)
    detail: Mapped[str]
    details: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
    opened_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    occurrences: Mapped[int] = mapped_column(default=1)
    acknowledged_at: Mapped[datetime | None]
    acknowledged_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    resolved_at: Mapped[datetime | None]

    @property
    def duration_s(self) -> float | None:
        """How long it lasted, in seconds; None while it does."""
        return None if self.resolved_at is None else (self.resolved_at - self.opened_at).total_seconds()
