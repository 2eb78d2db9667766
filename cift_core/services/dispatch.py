"""Which queued jobs have a message at the broker: of one owner at most so many at a time, the rest wait.

`dispatched_at` says it: a job that has one and is not finished is in flight; a queued job without one waits
in its row. A submit takes a free place; a job that ends passes its place on to the oldest waiting job of its
owner; `requeue_stale` fills what was left over. So however much one owner submits, the job of another stands
behind `max_in_flight` of its jobs and no more.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import CTE, ColumnElement, Function, Text, and_, func, literal, select, text, update
from sqlalchemy.orm import Session

from cift_core.models import JobColumns, JobStatus

SEND_BATCH = 1_000
# a literal: with a parameter a prepared statement could not use the index of the waiting jobs
_QUEUED = literal(JobStatus.QUEUED.value, Text, literal_execute=True)
_LOCK_OWNERS = text(
    "SELECT pg_advisory_xact_lock(hashtextextended('dispatch ' || :table || ' ' || owner, 0))"
    " FROM unnest(CAST(:owners AS uuid[])) AS owner"
)
_FILL_PLACES = """
    WITH chosen AS (
        SELECT waiting.id, waiting.place, waiting.created_at
        FROM unnest(CAST(:owners AS uuid[])) AS owner,
        LATERAL (
            SELECT id, created_at, row_number() OVER (ORDER BY created_at, id) AS place
            FROM {table} WHERE owner_id = owner AND status = 'queued' AND dispatched_at IS NULL
            ORDER BY created_at, id
            LIMIT greatest(0, :max_in_flight - (
                SELECT count(*) FROM {table}
                WHERE owner_id = owner AND status IN ('queued', 'running') AND dispatched_at IS NOT NULL))
        ) AS waiting
        ORDER BY place, created_at LIMIT :batch
    ), dispatched AS (
        UPDATE {table} AS job SET dispatched_at = now(), updated_at = now() FROM chosen
        WHERE job.id = chosen.id AND job.status = 'queued' AND job.dispatched_at IS NULL
        RETURNING job.id
    )
    SELECT id FROM dispatched JOIN chosen USING (id) ORDER BY place, created_at
"""


def moment_of_dispatch(
    model: type[JobColumns], owner_id: Any, max_in_flight: Any
) -> Function[datetime | None]:
    """What to insert as `dispatched_at`: now when the owner has a free place, else NULL.

    PostgreSQL evaluates it. Submits of one owner who has free places decide one after another, so that no
    two take the same one; those of an owner who has none do not wait for each other.
    """
    function: Function[datetime | None] = getattr(func, f"{model.__tablename__}_dispatched_at")(
        owner_id, max_in_flight
    )
    return function


def passed_on(model: type[JobColumns], ended: CTE) -> CTE:
    """The id of the oldest waiting job of the owner whose job `ended`, dispatched in its place; or no row.

    `ended` has the owner_id of the ended job, or no row.
    """
    next_id = (
        select(model.id)
        .where(model.owner_id == select(ended.c.owner_id).scalar_subquery(), _waits(model))
        .order_by(model.created_at, model.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    dispatched = update(model).where(model.id == next_id.scalar_subquery()).values(dispatched_at=func.now())
    return dispatched.returning(model.id).cte("passed_on")


def take_undispatched(
    session: Session,
    model: type[JobColumns],
    *,
    queued_too_long_s: float,
    waiting_messages: int,
    max_in_flight: int,
) -> list[UUID]:
    """Ids of the queued jobs to send now, marked as dispatched: lost messages, and those with a free place.

    The latter in fair order: the first of every owner, then the second of every owner, and so on.
    """
    lost = _lost_messages(session, model, queued_too_long_s, waiting_messages)
    return [*lost, *_fill_places(session, model, max_in_flight)]


def mark_undispatched(session: Session, model: type[JobColumns], job_id: UUID) -> None:
    """Note that the broker did not take the message, so that the next `requeue_stale` sends it."""
    session.execute(
        update(model)
        .where(model.id == job_id, model.status == JobStatus.QUEUED)
        .values(dispatched_at=None)
        .execution_options(synchronize_session=False)
    )


def _lost_messages(
    session: Session, model: type[JobColumns], queued_too_long_s: float, waiting_messages: int
) -> list[UUID]:
    """Jobs in flight that are queued for so long that their message may be lost, dispatched again.

    None as long as the broker holds at least as many messages as there are such jobs: then they only wait
    their turn.
    """
    old = (model.status == _QUEUED, model.dispatched_at < func.now() - timedelta(seconds=queued_too_long_s))
    waiting = session.scalar(select(func.count()).select_from(model).where(*old)) or 0
    if waiting <= waiting_messages:
        return []
    ids = select(model.id).where(*old).order_by(model.created_at).limit(SEND_BATCH)
    return list(
        session.scalars(
            update(model)
            .where(model.id.in_(ids.with_for_update(skip_locked=True).scalar_subquery()))
            .values(dispatched_at=func.now())
            .returning(model.id)
            .execution_options(synchronize_session=False)
        )
    )


def _fill_places(session: Session, model: type[JobColumns], max_in_flight: int) -> list[UUID]:
    table = model.__tablename__
    longest_waiting = (
        select(model.owner_id)
        .where(_waits(model))
        .group_by(model.owner_id)
        .order_by(func.min(model.created_at))
        .limit(SEND_BATCH)
    )
    # sorted, so that two of these do not wait for each other
    owners = sorted(session.scalars(longest_waiting))
    if not owners:
        return []
    session.execute(_LOCK_OWNERS, {"table": table, "owners": owners})  # as a submit does
    places = {"owners": owners, "max_in_flight": max_in_flight, "batch": SEND_BATCH}
    return list(session.scalars(text(_FILL_PLACES.format(table=table)), places))


def _waits(model: type[JobColumns]) -> ColumnElement[bool]:
    return and_(model.status == _QUEUED, model.dispatched_at.is_(None))
