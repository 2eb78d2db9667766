"""Seals over the audit trail: each covers the rows since the one before, and that one's hash."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, DateTime, LargeBinary, func
from sqlalchemy.orm import Mapped, mapped_column

from cift_core.models.base import Base


class AuditSeal(Base):
    """One link of the chain.

    It covers the `rows` audit rows that come after the last one of the seal before, up to and with
    (`last_created_at`, `last_id`), in that order. A trigger refuses all but adding seals.
    """

    __tablename__ = "audit_seals"
    __table_args__ = (CheckConstraint("rows >= 1", name="rows"),)

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    last_created_at: Mapped[datetime]
    last_id: Mapped[int] = mapped_column(BigInteger)
    rows: Mapped[int]
    previous_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)  # a chain has no fork
    hash: Mapped[bytes] = mapped_column(LargeBinary)
