"""Ingestions: the job that brings market data in, and the records it refused."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from cift_core.models.base import Base
from cift_core.models.jobs import JobColumns


class Ingestion(JobColumns, Base):
    """One ingestion; when it is done, `rows_read = rows_written + rows_duplicate + rows_rejected`.

    `topic_range` is, of one from the topic, the first offset and the one after the last by partition.
    """

    __tablename__ = "ingestions"

    upload_sha256: Mapped[str | None]
    rows_read: Mapped[int] = mapped_column(BigInteger, default=0)
    rows_written: Mapped[int] = mapped_column(BigInteger, default=0)
    rows_duplicate: Mapped[int] = mapped_column(BigInteger, default=0)
    rows_rejected: Mapped[int] = mapped_column(BigInteger, default=0)
    first_timestamp: Mapped[datetime | None]
    last_timestamp: Mapped[datetime | None]
    topic_range: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))

    @declared_attr.directive
    def __table_args__(cls) -> tuple[object, ...]:  # noqa: N805  a declared_attr gets the class
        balance = "status <> 'succeeded' OR rows_read = rows_written + rows_duplicate + rows_rejected"
        return (*super().__table_args__, CheckConstraint(balance, name="balance"))


class IngestionFile(Base):
    """One file of an ingestion, at its place (from 0), and its balance; `path` is NULL of one sent along."""

    __tablename__ = "ingestion_files"

    ingestion_id: Mapped[UUID] = mapped_column(
        ForeignKey("ingestions.id", ondelete="CASCADE"), primary_key=True
    )
    place: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    path: Mapped[str | None]
    rows_read: Mapped[int] = mapped_column(BigInteger, default=0)
    rows_written: Mapped[int] = mapped_column(BigInteger, default=0)
    rows_duplicate: Mapped[int] = mapped_column(BigInteger, default=0)
    rows_rejected: Mapped[int] = mapped_column(BigInteger, default=0)


class IngestionReject(Base):
    """A record that was refused: its file and line (from 1, the header included), the reason and its text.

    Of the topic: the row of the message at this offset of the partition, 0 of a whole message.
    """

    __tablename__ = "ingestion_rejects"
    __table_args__ = (
        # one ingestion's rejects of the attempt that counts, in file order, by cursor
        Index("ix_ingestion_rejects_ingestion_id_attempt_id", "ingestion_id", "attempt", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    ingestion_id: Mapped[UUID] = mapped_column(ForeignKey("ingestions.id", ondelete="CASCADE"))
    attempt: Mapped[int]
    file: Mapped[str | None]
    line: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str]
    raw: Mapped[str]
    partition: Mapped[int | None]
    message_offset: Mapped[int | None] = mapped_column(BigInteger)
