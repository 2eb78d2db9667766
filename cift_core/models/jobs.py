"""What every kind of job row carries: its state, its lease and its fate."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from cift_core.models.base import Timestamps


class JobStatus(StrEnum):
    """The states of a job; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED)


class JobColumns(Timestamps):
    """The columns of a job.

    `attempt` counts claims and never repeats, so results written under it are never mixed up; `releases`
    counts the claims that were handed back and do not count against the attempt cap. `dispatched_at` is when
    its latest message went to the broker; a queued job without it waits for a free place of its owner.
    """

    __tablename__: str

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    status: Mapped[str] = mapped_column(default=JobStatus.QUEUED)
    progress: Mapped[float] = mapped_column(default=0.0)
    request: Mapped[dict[str, Any]] = mapped_column(JSONB)
    attempt: Mapped[int] = mapped_column(default=0)
    releases: Mapped[int] = mapped_column(default=0)
    lease_token: Mapped[UUID | None]
    lease_expires_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]
    dispatched_at: Mapped[datetime | None]
    task_id: Mapped[str | None]
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    @declared_attr
    def owner_id(cls) -> Mapped[UUID]:  # noqa: N805  a declared_attr gets the class
        """The user whose job it is."""
        return mapped_column(ForeignKey("users.id", ondelete="CASCADE"))

    @declared_attr.directive
    def __table_args__(cls) -> tuple[Any, ...]:  # noqa: N805
        states = ", ".join(f"'{state}'" for state in JobStatus)
        table = cls.__tablename__
        return (
            CheckConstraint(f"status IN ({states})", name="status"),
            CheckConstraint("(status = 'running') = (lease_token IS NOT NULL)", name="lease_while_running"),
            CheckConstraint("progress BETWEEN 0 AND 1", name="progress"),
            # the owner's list, newest first, by cursor
            Index(f"ix_{table}_owner_id_created_at_id", "owner_id", text("created_at DESC"), text("id DESC")),
            # a submit counts its owner's jobs in flight (services/dispatch.py)
            Index(
                f"ix_{table}_in_flight",
                "owner_id",
                postgresql_where=text("status IN ('queued', 'running') AND dispatched_at IS NOT NULL"),
            ),
            # a job that ends looks for its owner's oldest waiting one
            Index(
                f"ix_{table}_waiting",
                "owner_id",
                "created_at",
                "id",
                postgresql_where=text("status = 'queued' AND dispatched_at IS NULL"),
            ),
            # requeue_stale looks only at jobs that are not finished
            Index(
                f"ix_{table}_unfinished",
                "status",
                "dispatched_at",
                postgresql_where=text("status IN ('queued', 'running')"),
            ),
            # how many ended lately, by their end
            Index(
                f"ix_{table}_finished_at",
                "finished_at",
                "status",
                postgresql_where=text("finished_at IS NOT NULL"),
            ),
        )
