"""Instruments: what market data is stored of each symbol, kept so that a list need not look at the data."""

from datetime import date

from sqlalchemy import BigInteger, CheckConstraint, Index, text
from sqlalchemy.dialects.postgresql import DATEMULTIRANGE
from sqlalchemy.dialects.postgresql.ranges import MultiRange
from sqlalchemy.orm import Mapped, mapped_column

from cift_core.models.base import Base, Timestamps


class InstrumentSeries(Timestamps, Base):
    """One series: the rows of a symbol in QuestDB of one kind, and of one interval (empty but for bars).

    Times are nanoseconds since 1970. While an ingestion writes the series, or after one that died, `settled`
    is false and the figures are those of before. `revision` is the catalog's when they were last found;
    `version` counts how often rows were added or changed (`DataRevision`). `unchecked` are the UTC days that
    were touched since their quality was found, `checking` those of which it is being found.
    """

    __tablename__ = "instrument_series"
    __table_args__ = (
        CheckConstraint("rows >= 0 AND (rows = 0) = (first_ns IS NULL)", name="rows"),
        CheckConstraint("(first_ns IS NULL) = (last_ns IS NULL) AND first_ns <= last_ns", name="range"),
        # a list of one kind (and interval), by symbol
        Index("ix_instrument_series_kind_interval_symbol", "kind", "interval", "symbol"),
        # what is to be settled
        Index("ix_instrument_series_unsettled", "symbol", postgresql_where=text("NOT settled")),
        # of which the quality is to be found
        Index(
            "ix_instrument_series_unchecked",
            "symbol",
            postgresql_where=text("unchecked <> '{}' OR checking <> '{}'"),
        ),
    )

    symbol: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    interval: Mapped[str] = mapped_column(primary_key=True)
    rows: Mapped[int] = mapped_column(BigInteger, default=0)
    first_ns: Mapped[int | None] = mapped_column(BigInteger)
    last_ns: Mapped[int | None] = mapped_column(BigInteger)
    revision: Mapped[int] = mapped_column(BigInteger, default=0)
    version: Mapped[int] = mapped_column(BigInteger, default=0, server_default=text("0"))
    unchecked: Mapped[MultiRange[date]] = mapped_column(
        DATEMULTIRANGE, default=MultiRange, server_default=text("'{}'")
    )
    checking: Mapped[MultiRange[date]] = mapped_column(
        DATEMULTIRANGE, default=MultiRange, server_default=text("'{}'")
    )
    settled: Mapped[bool] = mapped_column(default=False)


class InstrumentCatalog(Base):
    """The one row that every change of the catalog raises, in the change's own transaction."""

    __tablename__ = "instrument_catalog"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    revision: Mapped[int] = mapped_column(BigInteger)
