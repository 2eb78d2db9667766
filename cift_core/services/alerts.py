"""Alerts as their readers see them, and those of jobs.

An alert about a state (a store is down) resolves by itself when the state is over: `watch` sees to that. One
about an event (a job failed, market data has a gap) resolves when who it is for acknowledges it; also when
its owner removes the job, or the gaps are filled.
"""

import heapq
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, case, delete, func, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cift_core.errors import NotFound
from cift_core.models import Alert, AlertKind, AlertSeverity, AlertStatus
from cift_core.models.alerts import EVENTS
from cift_core.services.paging import decode_cursor, encode_cursor

OUR_FAULT = ("internal_error", "worker_lost")


def get(session: Session, owner_id: UUID, alert_id: UUID, *, operator: bool) -> Alert:
    """The user's alert, or one of the operators' for an `operator`.

    Raises:
        NotFound: no such alert for this user.
    """
    found = session.scalar(
        select(Alert)
        .where(Alert.id == alert_id, _readable(owner_id, operator))
        .execution_options(populate_existing=True)
    )
    if found is None:
        raise NotFound("alert_not_found", f"You have no alert with the id {alert_id}.")
    return found


def list_alerts(
    session: Session,
    owner_id: UUID,
    *,
    operator: bool,
    status: str | None = None,
    severity: str | None = None,
    kind: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> tuple[list[Alert], str | None]:
    """A page of the user's alerts, and the operators' for an `operator`: newest first, and the next cursor.

    Raises:
        InvalidInput: the cursor is none of this list.
    """
    query = select(Alert)
    for column, value in ((Alert.status, status), (Alert.severity, severity), (Alert.kind, kind)):
        if value is not None:
            query = query.where(column == value)
    if cursor is not None:
        opened_at, alert_id = decode_cursor(cursor, datetime.fromisoformat, UUID)
        query = query.where(tuple_(Alert.opened_at, Alert.id) < (opened_at, alert_id))
    query = query.order_by(Alert.opened_at.desc(), Alert.id.desc()).limit(limit + 1)
    # each list in the order of its index; one query for both would have to sort them
    lists = [session.scalars(query.where(Alert.owner_id == owner_id))]
    if operator:
        lists.append(session.scalars(query.where(Alert.owner_id.is_(None))))
    found = list(heapq.merge(*lists, key=lambda alert: (alert.opened_at, alert.id), reverse=True))
    if len(found) <= limit:
        return found, None
    last = found[limit - 1]
    return found[:limit], encode_cursor(last.opened_at, last.id)


def acknowledge(session: Session, owner_id: UUID, alert_id: UUID, *, operator: bool) -> Alert:
    """The alert, of which a person has taken note; that of an event is resolved by that. Idempotent.

    Raises:
        NotFound: no such alert for this user.
    """
    event = Alert.kind.in_(EVENTS)
    session.execute(
        update(Alert)
        .where(Alert.id == alert_id, _readable(owner_id, operator), Alert.status == AlertStatus.OPEN)
        .values(
            status=case((event, AlertStatus.RESOLVED), else_=AlertStatus.ACKNOWLEDGED),
            acknowledged_at=func.now(),
            acknowledged_by=owner_id,
            resolved_at=case((event, func.greatest(func.now(), Alert.last_seen_at)), else_=None),
        )
        .execution_options(synchronize_session=False)
    )
    return get(session, owner_id, alert_id, operator=operator)


def alert_owners(session: Session, table: str, failed: Iterable[tuple[UUID, UUID, dict[str, Any]]]) -> None:
    """Open an alert for the owner of each failed job (job id, owner id, error), in this unit of work."""
    rows = [
        {
            "owner_id": owner_id,
            "kind": AlertKind.JOB_FAILED,
            "subject": subject_of(table, job_id),
            "severity": AlertSeverity.CRITICAL if error["code"] in OUR_FAULT else AlertSeverity.WARNING,
            "detail": error["detail"],
            "details": {"job": table, "id": str(job_id), "code": error["code"]},
        }
        for job_id, owner_id, error in failed
    ]
    if rows:
        opened = insert(Alert).values(opened_at=func.now(), last_seen_at=func.now())
        session.execute(opened.on_conflict_do_nothing(), rows)


def resolve_job(session: Session, table: str, job_id: UUID) -> None:
    """Resolve the alert of a job that is removed, if there is one."""
    session.execute(
        update(Alert)
        .where(
            Alert.kind == AlertKind.JOB_FAILED,
            Alert.subject == subject_of(table, job_id),
            Alert.resolved_at.is_(None),
        )
        .values(status=AlertStatus.RESOLVED, resolved_at=func.greatest(func.now(), Alert.last_seen_at))
        .execution_options(synchronize_session=False)
    )


def forget_resolved(session: Session, *, before: datetime) -> int:
    """Remove the alerts that were resolved before a moment; how many there were."""
    removed = session.execute(
        delete(Alert).where(Alert.resolved_at < before).execution_options(synchronize_session=False)
    )
    return int(removed.rowcount)  # type: ignore[attr-defined]  # a DELETE's result has one


def subject_of(table: str, job_id: UUID) -> str:
    """What the alert of a job is about: `backtests/<id>`."""
    return f"{table}/{job_id}"


def _readable(owner_id: UUID, operator: bool) -> ColumnElement[bool]:
    own = Alert.owner_id == owner_id
    return or_(own, Alert.owner_id.is_(None)) if operator else own
