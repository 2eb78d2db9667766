"""Versions of saved strategies: never changed (a trigger refuses it), removed only with their strategy."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, UniqueConstraint, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from cift_core.models.base import Base


class TradingStrategyVersion(Base):
    """A saved strategy as it was after one of its changes."""

    __tablename__ = "trading_strategy_versions"
    __table_args__ = (
        # also one version by its number, and a strategy's versions, newest first, by cursor
        UniqueConstraint("strategy_id", "version"),
        CheckConstraint("version >= 1", name="version"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    strategy_id: Mapped[UUID] = mapped_column(ForeignKey("trading_strategies.id", ondelete="CASCADE"))
    version: Mapped[int]
    name: Mapped[str]
    description: Mapped[str]
    definition: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
