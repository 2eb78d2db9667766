"""Backtests: the job and its result; the long series are in QuestDB under (job id, attempt)."""

from datetime import datetime
from typing import Any

from sqlalchemy import Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from cift_core.models.base import Base
from cift_core.models.jobs import JobColumns


class Backtest(JobColumns, Base):
    """One backtest. Its rows in QuestDB carry `id`, `result_attempt` and the timestamp `recorded_at`."""

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
