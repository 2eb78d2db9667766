"""Quality: what is known of each UTC day of a series, and what ingestions saw of it."""

from datetime import date
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, text
from sqlalchemy.dialects.postgresql import INT8MULTIRANGE
from sqlalchemy.dialects.postgresql.ranges import MultiRange
from sqlalchemy.orm import Mapped, mapped_column

from cift_core.models.base import Base


class Condition(StrEnum):
    """Missing: rows were expected and there is none. Degraded: there are gaps or outliers."""

    AVAILABLE = "available"
    DEGRADED = "degraded"
    MISSING = "missing"


class DataQuality(Base):
    """One day of a series that has rows or of which some were expected; times are ns since 1970.

    `expected` and `present` count grains of the calendar, `gaps` are spans of time.
    """

    __tablename__ = "data_quality"
    __table_args__ = (
        CheckConstraint(f"condition IN ({', '.join(repr(str(one)) for one in Condition)})", name="condition"),
        CheckConstraint("(rows = 0) = (first_ns IS NULL)", name="rows"),
        # what strict backtests refuse
        Index(
            "ix_data_quality_not_available",
            "symbol",
            "kind",
            "interval",
            "day",
            postgresql_where=text("condition <> 'available'"),
        ),
    )

    symbol: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    interval: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    rows: Mapped[int] = mapped_column(BigInteger)
    first_ns: Mapped[int | None] = mapped_column(BigInteger)
    last_ns: Mapped[int | None] = mapped_column(BigInteger)
    expected: Mapped[int]
    present: Mapped[int]
    gaps: Mapped[MultiRange[int]] = mapped_column(INT8MULTIRANGE)
    duplicates: Mapped[int] = mapped_column(BigInteger)
    rejects: Mapped[int] = mapped_column(BigInteger)
    out_of_order: Mapped[int] = mapped_column(BigInteger)
    outliers: Mapped[int]
    zero_spreads: Mapped[int] = mapped_column(BigInteger)
    negative_spreads: Mapped[int] = mapped_column(BigInteger)
    condition: Mapped[str]


class IngestionDay(Base):
    """What an attempt of an ingestion saw of a day of a series beside new rows, in one chunk of its file."""

    __tablename__ = "ingestion_days"
    __table_args__ = (
        # what all ingestions saw of a day
        Index("ix_ingestion_days_symbol_kind_interval_day", "symbol", "kind", "interval", "day"),
        # what an attempt that did not finish had seen
        Index("ix_ingestion_days_ingestion_id_attempt", "ingestion_id", "attempt"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    ingestion_id: Mapped[UUID]
    attempt: Mapped[int]
    symbol: Mapped[str]
    kind: Mapped[str]
    interval: Mapped[str]
    day: Mapped[date]
    duplicates: Mapped[int] = mapped_column(BigInteger)
    rejects: Mapped[int] = mapped_column(BigInteger)
    out_of_order: Mapped[int] = mapped_column(BigInteger)
