"""API keys: only an HMAC of the secret is stored."""

from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import ForeignKey, Index, LargeBinary, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column, relationship

from cift_core.models.base import Base, Timestamps
from cift_core.models.users import User


class APIKey(Timestamps, Base):
    """One key of a user; `prefix` is the public `<key id>` of `cift_<key id>_<secret>`."""

    __tablename__ = "api_keys"
    __table_args__ = (
        # the user's list, newest first, by cursor
        Index("ix_api_keys_user_id_created_at_id", "user_id", text("created_at DESC"), text("id DESC")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    prefix: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    secret_hmac: Mapped[bytes] = mapped_column(LargeBinary)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]

    user: Mapped[User] = relationship(lazy="raise")
