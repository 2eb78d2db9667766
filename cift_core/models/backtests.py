"""Backtests: the job and its result; the long series are in QuestDB under (job id, attempt)."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, Text, text
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
