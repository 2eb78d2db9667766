"""The life of a job row: claimed by one, kept alive, finished once, never lost.

The row is the truth and a Celery message only a hint; each function below is one conditional UPDATE, and what
it returns says whether this caller was the one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Select, and_, case, func, select, tuple_, update
from sqlalchemy.orm import Session

from cift_core.errors import NotFound
from cift_core.models import FINAL, JobColumns, JobStatus
from cift_core.services.paging import decode_cursor, encode_cursor

MAX_ATTEMPTS = 3
REQUEUE_BATCH = 1_000
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


def finish(session: Session, claim: Claim, status: JobStatus, **values: Any) -> bool:
    """Whether the job was ended by this claim; False: the lease is lost and nothing was written."""
    return _end_claim(session, claim, status=status, finished_at=func.now(), **values)


def release(session: Session, claim: Claim) -> bool:
    """Hand the job back to the queue; this attempt does not count against the cap."""
    return _end_claim(
        session,
        claim,
        status=JobStatus.QUEUED,
        releases=claim.model.releases + 1,
        dispatched_at=func.now(),
        progress=0.0,
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
    """The owner's job, as it stands in the database.

    Raises:
        NotFound: no such job of this owner.
    """
    found = session.scalar(
        select(model)
        .where(model.id == job_id, model.owner_id == owner_id)
        .execution_options(populate_existing=True)
    )
    if found is None:
        noun = model.__name__.lower()
        raise NotFound(f"{noun}_not_found", f"You have no {noun} with the id {job_id}.")
    return found


def page(
    session: Session, model: type[Job], query: Select[Job], cursor: str | None, limit: int
) -> tuple[list[Job], str | None]:
    """A page of the query's jobs, newest first, and the cursor of the next page or None.

    Raises:
        InvalidInput: the cursor is none of this list.
    """
    if cursor is not None:
        created_at, job_id = decode_cursor(cursor, datetime.fromisoformat, UUID)
        query = query.where(tuple_(model.created_at, model.id) < (created_at, job_id))
    newest_first = query.order_by(model.created_at.desc(), model.id.desc()).limit(limit + 1)
    found = list(session.scalars(newest_first))
    if len(found) <= limit:
        return found, None
    last = found[limit - 1]
    return found[:limit], encode_cursor(last.created_at, last.id)


def requeue_stale(session: Session, model: type[Job]) -> None:
    """End or re-queue the running jobs whose lease ran out."""
    expired = _lease_expired(model)
    cancelled = model.cancel_requested_at.is_not(None)
    ended = {"lease_token": None, "lease_expires_at": None, "finished_at": func.now()}
    for condition, values in (
        (and_(expired, cancelled), {**ended, "status": JobStatus.CANCELLED}),
        (and_(expired, ~_attempts_left(model)), {**ended, "status": JobStatus.FAILED, "error": WORKER_LOST}),
        # dispatched_at NULL: to be sent now
        (expired, {**ended, "finished_at": None, "status": JobStatus.QUEUED, "dispatched_at": None}),
    ):
        session.execute(
            update(model).where(condition).values(**values).execution_options(synchronize_session=False)
        )


def take_undispatched(
    session: Session, model: type[Job], *, queued_too_long_s: float, waiting_messages: int
) -> Sequence[UUID]:
    """Ids of queued jobs whose message is missing, marked as dispatched now: the caller sends them.

    A job that only waits its turn is not sent again: as long as the broker holds at least as many messages
    as there are old queued jobs, none of them is missing.
    """
    never = model.dispatched_at.is_(None)
    old = model.dispatched_at < func.now() - timedelta(seconds=queued_too_long_s)
    queued = model.status == JobStatus.QUEUED
    waiting = session.scalar(select(func.count()).select_from(model).where(queued, old)) or 0
    missing = never | old if waiting > waiting_messages else never
    ids = select(model.id).where(queued, missing).order_by(model.created_at).limit(REQUEUE_BATCH)
    return session.scalars(
        update(model)
        .where(model.id.in_(ids.with_for_update(skip_locked=True).scalar_subquery()))
        .values(dispatched_at=func.now())
        .returning(model.id)
        .execution_options(synchronize_session=False)
    ).all()


def mark_undispatched(session: Session, model: type[Job], job_id: UUID) -> None:
    """Note that the broker did not take the message, so that the next `requeue_stale` sends it."""
    session.execute(
        update(model)
        .where(model.id == job_id, model.status == JobStatus.QUEUED)
        .values(dispatched_at=None)
        .execution_options(synchronize_session=False)
    )


def _end_claim(session: Session, claim: Claim, **values: Any) -> bool:
    ended = session.execute(
        update(claim.model)
        .where(*_held(claim))
        .values(lease_token=None, lease_expires_at=None, **values)
        .returning(claim.model.id)
        .execution_options(synchronize_session=False)
    ).first()
    return ended is not None


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
