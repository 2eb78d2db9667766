"""Accounts with brokers: the credentials are kept encrypted and never leave."""

from datetime import datetime

from sqlalchemy import LargeBinary
from sqlalchemy.orm import Mapped, deferred, mapped_column

from cift_core.models.base import Base
from cift_core.models.owned import OwnedColumns


class TradingAccount(OwnedColumns, Base):
    """One account; `sealed_credentials` can be opened only as this row's and this owner's."""

    __tablename__ = "trading_accounts"

    broker: Mapped[str]
    sealed_credentials: Mapped[bytes] = deferred(mapped_column(LargeBinary, nullable=False), raiseload=True)
    credentials_changed_at: Mapped[datetime]
