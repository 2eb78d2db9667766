"""Watched folders: which files were looked at, and which contents were submitted."""

from uuid import UUID

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from cift_core.models.base import Base, Timestamps


class WatchedFile(Timestamps, Base):
    """A file as it was when last looked at; `handled` when that state of it was submitted, or known."""

    __tablename__ = "watched_files"

    path: Mapped[str] = mapped_column(primary_key=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    mtime_ns: Mapped[int] = mapped_column(BigInteger)
    handled: Mapped[bool] = mapped_column(default=False)


class WatchedContent(Timestamps, Base):
    """A content that was submitted from a folder, whatever its file is called."""

    __tablename__ = "watched_contents"

    folder: Mapped[str] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(primary_key=True)
    path: Mapped[str]
    ingestion_id: Mapped[UUID]
