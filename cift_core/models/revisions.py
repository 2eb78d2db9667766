"""Revisions: how each series came to be as it is, one row for each ingestion that wrote to it."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import BigInteger, Identity, Index, func, text
from sqlalchemy.dialects.postgresql import DATEMULTIRANGE
from sqlalchemy.dialects.postgresql.ranges import MultiRange
from sqlalchemy.orm import Mapped, mapped_column

from cift_core.models.base import Base


class DataRevision(Base):
    """What one ingestion added to a series or changed in it; without an `ingestion_id` it was none.

    Told of before the rows are written, with no `version`; settled once they can be read, as the version
    that the series has since. Times are nanoseconds since 1970, `days` the UTC days of the rows. `chunk` and
    the two after it are of the chunk told of last, which may be told of again.
    """

    __tablename__ = "data_revisions"
    __table_args__ = (
        # those of a symbol, newest first, by cursor
        Index("ix_data_revisions_symbol_id", "symbol", text("id DESC")),
        # those of a series after a version
        Index("ix_data_revisions_symbol_kind_interval_version", "symbol", "kind", "interval", "version"),
        # one for each writer, and those to be settled
        Index(
            "uq_data_revisions_unsettled",
            "symbol",
            "kind",
            "interval",
            "ingestion_id",
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where=text("version IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    symbol: Mapped[str]
    kind: Mapped[str]
    interval: Mapped[str]
    ingestion_id: Mapped[UUID | None]
    version: Mapped[int | None] = mapped_column(BigInteger)
    first_ns: Mapped[int] = mapped_column(BigInteger)
    last_ns: Mapped[int] = mapped_column(BigInteger)
    days: Mapped[MultiRange[date]] = mapped_column(DATEMULTIRANGE)
    rows_added: Mapped[int] = mapped_column(BigInteger)
    rows_changed: Mapped[int] = mapped_column(BigInteger)
    chunk: Mapped[int] = mapped_column(BigInteger)
    chunk_added: Mapped[int] = mapped_column(BigInteger)
    chunk_changed: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    settled_at: Mapped[datetime | None]
