"""Model configurations: what a user noted down about a model; nothing here runs them."""

from typing import Any

from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from cift_core.models.base import Base
from cift_core.models.owned import OwnedColumns


class ModelConfig(OwnedColumns, Base):
    """One named set of parameters of a model of a certain kind."""

    __tablename__ = "model_configs"

    kind: Mapped[str]
    parameters: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
