"""The audit trail: rows are only ever added (a trigger refuses everything else)."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, Index, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from cift_core.models.base import Base


class AuditLog(Base):
    """Who did what to which resource, with what result.

    `user_id` is no foreign key: the trail outlives the user.
    """

    __tablename__ = "audit_logs"
    __table_args__ = (
        # the user's own trail, newest first, by cursor
        Index("ix_audit_logs_user_id_id", "user_id", text("id DESC")),
        # the rows since a moment, to seal or list; a row costs it nothing: it keeps one range for many pages
        Index("ix_audit_logs_created_at", "created_at", postgresql_using="brin"),
    )

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    user_id: Mapped[UUID | None]
    key_prefix: Mapped[str | None]
    action: Mapped[str]
    resource: Mapped[str]
    resource_id: Mapped[str | None]
    result: Mapped[str]
    ip: Mapped[str | None]
    user_agent: Mapped[str | None]
    request_id: Mapped[str | None]
    details: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
