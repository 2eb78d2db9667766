"""Backtests: the job and its result; the long series are in QuestDB under (job id, attempt)."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, declared_attr, mapped_column, relationship

from cift_core.models.base import Base
from cift_core.models.jobs import JobColumns
from cift_core.models.trading_strategies import TradingStrategy


class Backtest(JobColumns, Base):
    """One backtest. Its rows in QuestDB carry `id`, `result_attempt` and the timestamp `recorded_at`.

    `strategy_id` and `strategy_version` name the saved strategy it ran, if it was one; `request` holds all of
    that version, and outlives it.
    """

    __tablename__ = "backtests"

    strategy: Mapped[str]
    symbols: Mapped[list[str]] = mapped_column(ARRAY(Text))
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list)
    metrics: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    data: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    engine_version: Mapped[str | None]
    result_digest: Mapped[str | None]
    result_attempt: Mapped[int | None]
    recorded_at: Mapped[datetime | None]
    strategy_id: Mapped[UUID | None] = mapped_column(ForeignKey("trading_strategies.id", ondelete="SET NULL"))
    strategy_version: Mapped[int | None]

    trading_strategy: Mapped[TradingStrategy | None] = relationship(lazy="raise")

    @declared_attr.directive
    def __table_args__(cls) -> tuple[Any, ...]:  # noqa: N805  a declared_attr gets the class
        return (
            *super().__table_args__,
            # the backtests that a strategy leaves behind when it is removed
            Index(
                "ix_backtests_strategy_id",
                "strategy_id",
                postgresql_where=text("strategy_id IS NOT NULL"),
            ),
        )


class BacktestRead(Base):
    """What an attempt of a backtest read of a symbol: the series, its version before, and the range.

    The range is [begin, end) in nanoseconds since 1970: what was asked for, or where nothing was, what there
    was. The backtest's row names the attempt that counts.
    """

    __tablename__ = "backtest_reads"
    __table_args__ = (
        CheckConstraint("begin_ns < end_ns", name="range"),
        # who of an owner stood on an older version of a series
        Index("ix_backtest_reads_owner_id_symbol", "owner_id", "symbol", "kind", "interval"),
    )

    backtest_id: Mapped[UUID] = mapped_column(
        ForeignKey("backtests.id", ondelete="CASCADE"), primary_key=True
    )
    attempt: Mapped[int] = mapped_column(primary_key=True)
    symbol: Mapped[str] = mapped_column(primary_key=True)
    owner_id: Mapped[UUID]
    kind: Mapped[str]
    interval: Mapped[str]
    version: Mapped[int] = mapped_column(BigInteger)
    begin_ns: Mapped[int] = mapped_column(BigInteger)
    end_ns: Mapped[int] = mapped_column(BigInteger)
