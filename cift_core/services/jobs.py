"""The life of a job row: claimed by one, kept alive, finished once, never lost.

The row is the truth and a Celery message only a hint; each function below is one conditional UPDATE, and what
it returns says whether this caller was the one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Select, Update, and_, bindparam, case, func, inspect, select, update
from sqlalchemy.orm import Session

from cift_core.errors import NotFound
from cift_core.models import FINAL, JobColumns, JobStatus
from cift_core.services import alerts
from cift_core.services.dispatch import passed_on
from cift_core.services.paging import newest_first

MAX_ATTEMPTS = 3
WORKER_LOST = {
    "code": "worker_lost",
    "detail": f"The job ended its worker {MAX_ATTEMPTS} times without a result. Try it with less data, "
    "and tell the operators its id.",
}
Job = TypeVar("Job", bound=JobColumns)


@dataclass(frozen=True)
class Claim:
    """This worker's right to a job: what was asked for, the fencing token, and the attempt of its results."""

    model: type[JobColumns]
    job_id: UUID
    request: dict[str, Any]
    lease_token: UUID
    attempt: int


@dataclass(frozen=True)
class Ended:
    """A job ended, and its place went on to another job of its owner, now to be sent; None: to no one."""

    next_id: UUID | None


def claim(session: Session, model: type[Job], job_id: UUID, *, lease_s: float, task_id: str) -> Claim | None:
    """A claim on a job that is queued, or whose worker let its lease run out; None: walk away."""
    lease_token = uuid4()
    row = session.execute(
        update(model)
        .where(
            model.id == job_id,
            _attempts_left(model),
            model.cancel_requested_at.is_(None),
            (model.status == JobStatus.QUEUED) | _lease_expired(model),
        )
        .values(
            status=JobStatus.RUNNING,
            attempt=model.attempt + 1,
            progress=0.0,
            lease_token=lease_token,
            lease_expires_at=func.now() + timedelta(seconds=lease_s),
            started_at=func.coalesce(model.started_at, func.now()),
            task_id=task_id,
            dispatched_at=func.coalesce(model.dispatched_at, func.now()),
        )
        .returning(model.request, model.attempt)
        .execution_options(synchronize_session=False)
    ).first()
    return None if row is None else Claim(model, job_id, row.request, lease_token, row.attempt)


def heartbeat(session: Session, claim: Claim, *, lease_s: float, progress: float) -> bool | None:
    """Renew the lease: whether the owner asked to cancel, or None when the lease is lost."""
    row = session.execute(
        update(claim.model)
        .where(*_held(claim))
        .values(lease_expires_at=func.now() + timedelta(seconds=lease_s), progress=progress)
        .returning(claim.model.cancel_requested_at)
        .execution_options(synchronize_session=False)
    ).first()
    return None if row is None else row[0] is not None


def finish(session: Session, claim: Claim, status: JobStatus, **values: Any) -> Ended | None:
    """The end of the job by this claim; None: the lease is lost and nothing was written.

    Who owns a failed job is alerted, in the same unit of work.
    """
    model = claim.model
    ended = (
        _end_of(claim, status=status, finished_at=func.now(), **values).returning(model.owner_id).cte("ended")
    )
    row = session.execute(
        select(ended.c.owner_id, select(passed_on(model, ended).c.id).scalar_subquery())
    ).first()
    if row is None:
        return None
    if status == JobStatus.FAILED:
        alerts.alert_owners(session, model.__tablename__, [(claim.job_id, row[0], values["error"])])
    return Ended(next_id=row[1])


def release(session: Session, claim: Claim) -> bool:
    """Hand the job back to the queue; this attempt does not count against the cap."""
    released = _end_of(
        claim,
        status=JobStatus.QUEUED,
        releases=claim.model.releases + 1,
        dispatched_at=func.now(),
        progress=0.0,
    )
    return session.execute(released.returning(claim.model.id)).first() is not None


def requeue(session: Session, model: type[Job], job_id: UUID) -> bool:
    """Whether a queued or running job was taken from whatever holds it, to be sent again by `requeue_stale`.

    A worker that holds it loses its lease; that attempt does not count against the cap.
    """
    running = model.status == JobStatus.RUNNING
    return (
        session.execute(
            update(model)
            .where(model.id == job_id, model.status.not_in(FINAL))
            .values(
                status=JobStatus.QUEUED,
                releases=case((running, model.releases + 1), else_=model.releases),
                lease_token=None,
                lease_expires_at=None,
                dispatched_at=None,
                progress=0.0,
            )
            .returning(model.id)
            .execution_options(synchronize_session=False)
        ).first()
        is not None
    )


def request_cancel(session: Session, model: type[Job], owner_id: UUID, job_id: UUID) -> Job:
    """The job, cancelled at once when queued and at its next heartbeat when running. Idempotent.

    Raises:
        NotFound: no such job of this owner.
    """
    queued = model.status == JobStatus.QUEUED
    session.execute(
        update(model)
        .where(model.id == job_id, model.owner_id == owner_id, model.status.not_in(FINAL))
        .values(
            cancel_requested_at=func.coalesce(model.cancel_requested_at, func.now()),
            status=case((queued, JobStatus.CANCELLED), else_=model.status),
            finished_at=case((queued, func.now()), else_=model.finished_at),
        )
        .execution_options(synchronize_session=False)
    )
    return get(session, model, owner_id, job_id)


def get(session: Session, model: type[Job], owner_id: UUID, job_id: UUID) -> Job:
    """The owner's job, as it stands in the database: a copy of its row, in no session.

    Raises:
        NotFound: no such job of this owner.
    """
    statement = _of_owner(model)  # type: ignore[arg-type]  # mypy takes a generic class for unhashable
    row = session.connection().execute(statement, {"job_id": job_id, "owner": owner_id}).one_or_none()
    if row is None:
        noun = model.__name__.lower()
        raise NotFound(f"{noun}_not_found", f"You have no {noun} with the id {job_id}.")
    return copy_of(model, row._asdict())


def copy_of(model: type[Job], values: Mapping[str, Any]) -> Job:
    """A job with these columns, to be read; it is in no session and is not stored."""
    job = model()
    vars(job).update(values)  # as the ORM's loader does; through the attributes it takes ten times as long
    return job


@cache
def _of_owner(model: type[JobColumns]) -> Select[Any]:
    # built once, on the table and not the class: every read of a job runs it
    table = inspect(model).local_table
    return select(table).where(table.c.id == bindparam("job_id"), table.c.owner_id == bindparam("owner"))


def page(
    session: Session, model: type[Job], query: Select[Job], cursor: str | None, limit: int
) -> tuple[list[Job], str | None]:
    """A page of the query's jobs, newest first, and the cursor of the next page or None.

    Raises:
        InvalidInput: the cursor is none of this list.
    """
    return newest_first(session, model, query, cursor, limit)


def requeue_stale(session: Session, model: type[Job]) -> None:
    """End or re-queue the running jobs whose lease ran out; who owns one that failed is alerted."""
    expired = _lease_expired(model)
    cancelled = model.cancel_requested_at.is_not(None)
    ended = {"lease_token": None, "lease_expires_at": None, "finished_at": func.now()}
    _update(session, model, and_(expired, cancelled), {**ended, "status": JobStatus.CANCELLED})
    lost = {**ended, "status": JobStatus.FAILED, "error": WORKER_LOST}
    failed = _update(session, model, and_(expired, ~_attempts_left(model)), lost)
    alerts.alert_owners(session, model.__tablename__, [(*row, WORKER_LOST) for row in failed])
    # dispatched_at NULL: to be sent at the owner's next free place
    freed = {**ended, "finished_at": None, "status": JobStatus.QUEUED, "dispatched_at": None}
    _update(session, model, expired, freed)


def _update(
    session: Session, model: type[Job], condition: ColumnElement[bool], values: dict[str, Any]
) -> list[tuple[UUID, UUID]]:
    """The ids of the jobs that met the condition and were changed, each with its owner's."""
    changed = session.execute(
        update(model)
        .where(condition)
        .values(**values)
        .returning(model.id, model.owner_id)
        .execution_options(synchronize_session=False)
    )
    return [(job_id, owner_id) for job_id, owner_id in changed]


def _end_of(claim: Claim, **values: Any) -> Update:
    return (
        update(claim.model)
        .where(*_held(claim))
        .values(lease_token=None, lease_expires_at=None, **values)
        .execution_options(synchronize_session=False)
    )


def _held(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    model = claim.model
    return (
        model.id == claim.job_id,
        model.status == JobStatus.RUNNING,
        model.lease_token == claim.lease_token,
    )


def _attempts_left(model: type[JobColumns]) -> ColumnElement[bool]:
    return model.attempt - model.releases < MAX_ATTEMPTS


def _lease_expired(model: type[JobColumns]) -> ColumnElement[bool]:
    return and_(model.status == JobStatus.RUNNING, model.lease_expires_at < func.now())
