"""What every row that a user makes and keeps carries."""

from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, declared_attr, mapped_column, relationship

from cift_core.models.base import Timestamps
from cift_core.models.users import User


class OwnedColumns(Timestamps):
    """The columns of a named thing of one user; `version` counts its changes, from 1."""

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    name: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    version: Mapped[int] = mapped_column(default=1)

    @declared_attr
    def owner_id(cls) -> Mapped[UUID]:  # noqa: N805  a declared_attr gets the class
        """The user whose it is."""
        return mapped_column(ForeignKey("users.id", ondelete="CASCADE"))

    @declared_attr
    def owner(cls) -> Mapped[User]:  # noqa: N805  a declared_attr gets the class
        """The user whose it is."""
        return relationship(User, lazy="raise")

    @declared_attr.directive
    def __table_args__(cls) -> tuple[Any, ...]:  # noqa: N805  a declared_attr gets the class
        table: str = cls.__tablename__  # type: ignore[attr-defined]  # set by each table
        return (
            # also the owner's thing by its name
            UniqueConstraint("owner_id", "name"),
            CheckConstraint("name <> ''", name="name"),
            CheckConstraint("version >= 1", name="version"),
            # the owner's list, newest first, by cursor
            Index(f"ix_{table}_owner_id_created_at_id", "owner_id", text("created_at DESC"), text("id DESC")),
        )
