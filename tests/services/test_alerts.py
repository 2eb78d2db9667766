"""Alerts as their readers see them, and those of failed jobs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError

from cift_core.clock import utc_now
from cift_core.errors import InvalidInput, NotFound
from cift_core.models import Alert, Backtest, JobStatus, User
from cift_core.services import alerts, backtests, jobs
from cift_core.services.jobs import Claim
from cift_core.stores import Stores
from cift_core.stores.postgres import transaction

ERROR = {"code": "no_bars", "detail": "There are no bars of T."}


@pytest.fixture
def claim(stores: Stores, owner_id: UUID) -> Claim:
    """A running backtest of the owner."""
    return claimed(stores, owner_id)


def claimed(stores: Stores, owner_id: UUID, **values: Any) -> Claim:
    with stores.postgres.transaction() as session:
        job = Backtest(owner_id=owner_id, request={}, strategy="odd", symbols=["T"], **values)
        session.add(job)
        session.flush()
        claim = jobs.claim(session, Backtest, job.id, lease_s=60, task_id="t")
    assert claim is not None
    return claim


def fail(stores: Stores, claim: Claim, error: dict[str, str] = ERROR) -> None:
    with stores.postgres.transaction() as session:
        assert jobs.finish(session, claim, JobStatus.FAILED, error=error)


def of(stores: Stores, owner_id: UUID | None) -> list[Alert]:
    with stores.postgres.transaction() as session:
        query = select(Alert).where(Alert.owner_id.is_not_distinct_from(owner_id))
        return list(session.scalars(query.order_by(Alert.opened_at, Alert.id)))


def added(stores: Stores, owner_id: UUID | None, **values: Any) -> Alert:
    """An alert of this user, or of the operators."""
    moment = values.pop("opened_at", utc_now())
    made = {"kind": "queue_slow", "subject": uuid4().hex, "severity": "warning", "detail": "Slow."}
    with stores.postgres.transaction() as session:
        alert = Alert(owner_id=owner_id, opened_at=moment, last_seen_at=moment, **made | values)
        session.add(alert)
    return alert


def test_a_failed_job_alerts_its_owner(stores: Stores, owner_id: UUID, claim: Claim) -> None:
    fail(stores, claim)
    (alert,) = of(stores, owner_id)
    assert (alert.kind, alert.subject) == ("job_failed", f"backtests/{claim.job_id}")
    assert (alert.severity, alert.status, alert.detail) == ("warning", "open", ERROR["detail"])
    assert alert.details == {"job": "backtests", "id": str(claim.job_id), "code": "no_bars"}
    assert (alert.occurrences, alert.duration_s) == (1, None)
    with stores.postgres.transaction() as session:
        assert session.get_one(Backtest, claim.job_id).finished_at == alert.opened_at == alert.last_seen_at


@pytest.mark.parametrize("code", ["internal_error", "worker_lost"])
def test_a_failure_of_ours_is_critical(stores: Stores, owner_id: UUID, claim: Claim, code: str) -> None:
    fail(stores, claim, {"code": code, "detail": "An error on our side."})
    assert [alert.severity for alert in of(stores, owner_id)] == ["critical"]


@pytest.mark.parametrize("status", [JobStatus.SUCCEEDED, JobStatus.CANCELLED])
def test_any_other_end_alerts_nobody(stores: Stores, owner_id: UUID, claim: Claim, status: JobStatus) -> None:
    with stores.postgres.transaction() as session:
        assert jobs.finish(session, claim, status)
    assert of(stores, owner_id) == []


def test_the_alert_and_the_end_of_the_job_are_one_unit_of_work(
    stores: Stores, owner_id: UUID, claim: Claim
) -> None:
    with stores.postgres.new_session() as session, transaction(session):
        assert jobs.finish(session, claim, JobStatus.FAILED, error=ERROR)
        session.rollback()
    assert of(stores, owner_id) == []
    fail(stores, claim)
    with stores.postgres.transaction() as session:
        assert jobs.finish(session, claim, JobStatus.FAILED, error=ERROR) is None, "the lease is gone"
    assert len(of(stores, owner_id)) == 1


def test_a_job_that_lost_its_workers_alerts_its_owner_once(stores: Stores, owner_id: UUID) -> None:
    claim = claimed(stores, owner_id, attempt=jobs.MAX_ATTEMPTS - 1)
    spared = claimed(stores, owner_id)
    with stores.postgres.transaction() as session:
        expired = Backtest.id.in_((claim.job_id, spared.job_id))
        session.execute(update(Backtest).where(expired).values(lease_expires_at=func.now()))
    for _ in range(2):
        with stores.postgres.transaction() as session:
            jobs.requeue_stale(session, Backtest)
    (alert,) = of(stores, owner_id)
    assert (alert.subject, alert.details["code"]) == (f"backtests/{claim.job_id}", "worker_lost")
    assert alert.detail == jobs.WORKER_LOST["detail"]


def test_a_removed_job_resolves_its_alert(stores: Stores, owner_id: UUID, claim: Claim) -> None:
    other = claimed(stores, owner_id)
    for each in (claim, other):
        fail(stores, each)
    with stores.postgres.transaction() as session:
        backtests.delete(session, owner_id, claim.job_id)
    states = {
        alert.details["id"]: (alert.status, alert.resolved_at is None) for alert in of(stores, owner_id)
    }
    assert states == {str(claim.job_id): ("resolved", False), str(other.job_id): ("open", True)}


def test_acknowledging_resolves_the_alert_of_a_job(stores: Stores, owner_id: UUID, claim: Claim) -> None:
    fail(stores, claim)
    (alert,) = of(stores, owner_id)
    with stores.postgres.transaction() as session:
        first = alerts.acknowledge(session, owner_id, alert.id, operator=False)
    assert (first.status, first.acknowledged_by) == ("resolved", owner_id)
    assert first.acknowledged_at == first.resolved_at
    assert first.duration_s is not None
    with stores.postgres.transaction() as session:
        again = alerts.acknowledge(session, owner_id, alert.id, operator=False)
    assert (again.acknowledged_at, again.resolved_at) == (first.acknowledged_at, first.resolved_at)


def test_removing_a_job_leaves_an_alert_that_is_over_as_it_is(
    stores: Stores, owner_id: UUID, claim: Claim
) -> None:
    fail(stores, claim)
    (alert,) = of(stores, owner_id)
    with stores.postgres.transaction() as session:
        resolved = alerts.acknowledge(session, owner_id, alert.id, operator=False)
    with stores.postgres.transaction() as session:
        backtests.delete(session, owner_id, claim.job_id)
    assert [alert.resolved_at for alert in of(stores, owner_id)] == [resolved.resolved_at]


def test_acknowledging_a_state_does_not_resolve_it(stores: Stores, owner_id: UUID) -> None:
    alert = added(stores, None)
    with stores.postgres.transaction() as session:
        noted = alerts.acknowledge(session, owner_id, alert.id, operator=True)
    assert (noted.status, noted.acknowledged_by, noted.resolved_at) == ("acknowledged", owner_id, None)


def test_nobody_acknowledges_the_alert_of_another(stores: Stores, owner_id: UUID) -> None:
    another = user(stores)
    for alert in (added(stores, another), added(stores, None)):
        with pytest.raises(NotFound), stores.postgres.transaction() as session:
            alerts.acknowledge(session, owner_id, alert.id, operator=False)
    with pytest.raises(NotFound), stores.postgres.transaction() as session:
        alerts.acknowledge(session, owner_id, added(stores, another).id, operator=True)
    assert {alert.status for alert in of(stores, another)} == {"open"}


def user(stores: Stores) -> UUID:
    with stores.postgres.transaction() as session:
        made = User(email=f"{uuid4()}@example.com", password_hash="-")
        session.add(made)
    return made.id


def test_the_list_is_newest_first_page_by_page_and_an_operator_sees_the_operators(
    stores: Stores, owner_id: UUID
) -> None:
    began = datetime(2300, 1, 1, tzinfo=UTC) + timedelta(seconds=uuid4().int % 10**9)  # none is newer
    mine = [added(stores, owner_id, opened_at=began + timedelta(minutes=n)).id for n in (0, 2, 2, 4)]
    ours = [added(stores, None, opened_at=began + timedelta(minutes=n)).id for n in (1, 2, 5)]
    added(stores, user(stores), opened_at=began)

    def pages(*, operator: bool, stop: int) -> list[UUID]:
        found: list[UUID] = []
        cursor = None
        with stores.postgres.transaction() as session:
            while len(found) < stop:
                page, cursor = alerts.list_alerts(
                    session, owner_id, operator=operator, cursor=cursor, limit=2
                )
                assert len(page) <= 2
                found += [alert.id for alert in page]
                if cursor is None:
                    break
        return found

    assert pages(operator=False, stop=100) == [mine[3], *sorted(mine[1:3], reverse=True), mine[0]]
    twos = sorted([*mine[1:3], ours[1]], reverse=True)
    assert pages(operator=True, stop=7)[:7] == [ours[2], mine[3], *twos, ours[0], mine[0]]
    with stores.postgres.transaction() as session:
        session.execute(delete(Alert).where(Alert.id.in_(ours)))
        with pytest.raises(InvalidInput):
            alerts.list_alerts(session, owner_id, operator=False, cursor="rubbish")


def test_the_list_is_filtered(stores: Stores, owner_id: UUID, claim: Claim) -> None:
    fail(stores, claim)
    resolved = added(
        stores, owner_id, status="resolved", severity="info", resolved_at=utc_now() + timedelta(1)
    )

    def found(**filters: str) -> list[str]:
        with stores.postgres.transaction() as session:
            return [
                alert.kind for alert in alerts.list_alerts(session, owner_id, operator=False, **filters)[0]
            ]

    assert sorted(found()) == ["job_failed", resolved.kind]
    assert found(status="open") == found(severity="warning") == found(kind="job_failed") == ["job_failed"]
    assert found(status="resolved") == found(severity="info") == found(kind=resolved.kind) == [resolved.kind]
    assert found(status="acknowledged") == found(status="open", severity="info") == []


def test_one_trouble_has_one_unresolved_alert(stores: Stores, owner_id: UUID) -> None:
    for owner in (owner_id, None):
        subject = uuid4().hex
        added(stores, owner, subject=subject, status="resolved", resolved_at=utc_now() + timedelta(1))
        added(stores, owner, subject=subject)
        with pytest.raises(IntegrityError, match="uq_alerts_unresolved"):
            added(stores, owner, subject=subject)


@pytest.mark.parametrize(
    ("constraint", "values"),
    [
        ("severity", {"severity": "bad"}),
        ("status", {"status": "lost"}),
        ("resolved_at", {"status": "resolved"}),
        ("resolved_at", {"resolved_at": datetime(2100, 1, 1, tzinfo=UTC)}),
        ("acknowledged_at", {"status": "acknowledged"}),
        ("order", {"status": "resolved", "resolved_at": datetime(2000, 1, 1, tzinfo=UTC)}),
        ("occurrences", {"occurrences": 0}),
    ],
)
def test_the_table_refuses_what_makes_no_sense(
    stores: Stores, owner_id: UUID, constraint: str, values: dict[str, Any]
) -> None:
    with pytest.raises(IntegrityError, match=f"ck_alerts_{constraint}"):
        added(stores, owner_id, **values)


def test_a_removed_user_takes_the_alerts_along_and_leaves_those_noted(stores: Stores, owner_id: UUID) -> None:
    gone = user(stores)
    added(stores, gone)
    noted = added(stores, None)
    with stores.postgres.transaction() as session:
        alerts.acknowledge(session, gone, noted.id, operator=True)
        session.execute(delete(User).where(User.id == gone))
    assert of(stores, gone) == []
    with stores.postgres.transaction() as session:
        kept = alerts.get(session, owner_id, noted.id, operator=True)
    assert (kept.status, kept.acknowledged_by) == ("acknowledged", None)


def test_a_job_whose_owner_is_removed_while_it_runs_ends_without_an_alert(
    stores: Stores, owner_id: UUID, claim: Claim
) -> None:
    with stores.postgres.transaction() as session:
        session.execute(delete(User).where(User.id == owner_id))
    with stores.postgres.transaction() as session:
        assert jobs.finish(session, claim, JobStatus.FAILED, error=ERROR) is None
    assert of(stores, owner_id) == []


def test_what_was_resolved_long_ago_is_forgotten(stores: Stores, owner_id: UUID) -> None:
    def ago(days: int) -> datetime:
        return utc_now() - timedelta(days)

    added(stores, owner_id, opened_at=ago(92), status="resolved", resolved_at=ago(91))
    kept = {
        added(stores, owner_id, opened_at=ago(92), status="resolved", resolved_at=ago(89)).id,
        added(stores, owner_id, opened_at=ago(400)).id,
    }
    with stores.postgres.transaction() as session:
        alerts.forget_resolved(session, before=ago(90))
    assert {alert.id for alert in of(stores, owner_id)} == kept
