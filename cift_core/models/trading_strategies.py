"""Saved strategies, and the versions that each of their changes left."""

from typing import Any

from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from cift_core.models.base import Base
from cift_core.models.owned import OwnedColumns
from cift_core.models.trading_strategy_versions import TradingStrategyVersion


class TradingStrategy(OwnedColumns, Base):
    """A user's strategy as it stands; `definition` is what `strategy` of `POST /backtests` takes."""

    __tablename__ = "trading_strategies"

    definition: Mapped[dict[str, Any]] = mapped_column(JSONB)

    versions: Mapped[list[TradingStrategyVersion]] = relationship(
        lazy="raise", order_by=TradingStrategyVersion.version, passive_deletes=True
    )
