"""The life of a job row, on a real PostgreSQL, with real commits."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text, update

from cift_core.errors import JobCancelled, LeaseLost, NotFound
from cift_core.models import Backtest, JobStatus
from cift_core.services import dispatch, jobs
from cift_core.services.jobs import Claim
from cift_core.services.leases import Lease
from cift_core.stores import Stores
from tests.waiting import Deadline


@pytest.fixture
def job_id(stores: Stores, owner_id: UUID) -> Iterator[UUID]:
    """A queued job that was dispatched just now; gone after the test."""
    with stores.postgres.transaction() as session:
        job = Backtest(
            owner_id=owner_id, request={}, strategy="sma_cross", symbols=["AAPL"], dispatched_at=func.now()
        )
        session.add(job)
    yield job.id
    with stores.postgres.transaction() as session:
        session.execute(text("DELETE FROM backtests WHERE id = :id"), {"id": job.id})


def claimed(stores: Stores, job_id: UUID, *, lease_s: float = 60) -> Claim | None:
    with stores.postgres.transaction() as session:
        return jobs.claim(session, Backtest, job_id, lease_s=lease_s, task_id=str(uuid4()))


def row(stores: Stores, job_id: UUID) -> Backtest:
    with stores.postgres.transaction() as session:
        return session.scalars(select(Backtest).where(Backtest.id == job_id)).one()


def change(stores: Stores, job_id: UUID, **values: Any) -> None:
    with stores.postgres.transaction() as session:
        session.execute(update(Backtest).where(Backtest.id == job_id).values(**values))


def let_lease_run_out(stores: Stores, job_id: UUID) -> None:
    change(stores, job_id, lease_expires_at=func.now() - text("interval '1 second'"))


def requeue(stores: Stores, *, waiting_messages: int = 0, queued_too_long_s: float = 30) -> list[UUID]:
    with stores.postgres.transaction() as session:
        jobs.requeue_stale(session, Backtest)
        return list(
            dispatch.take_undispatched(
                session,
                Backtest,
                queued_too_long_s=queued_too_long_s,
                waiting_messages=waiting_messages,
                max_in_flight=100,
            )
        )


def held(claim: Claim | None) -> Claim:
    assert claim is not None
    return claim


def finished(stores: Stores, claim: Claim, status: JobStatus = JobStatus.SUCCEEDED) -> bool:
    with stores.postgres.transaction() as session:
        return jobs.finish(session, claim, status, progress=1.0) is not None


def test_a_job_is_claimed_once(stores: Stores, job_id: UUID) -> None:
    first = held(claimed(stores, job_id))
    assert claimed(stores, job_id) is None
    job = row(stores, job_id)
    assert (job.status, job.attempt, job.lease_token) == ("running", 1, first.lease_token)
    assert job.started_at is not None


def test_a_finished_job_is_not_claimed_again(stores: Stores, job_id: UUID) -> None:
    assert finished(stores, held(claimed(stores, job_id)))
    assert claimed(stores, job_id) is None
    job = row(stores, job_id)
    assert (job.status, job.lease_token, job.progress) == ("succeeded", None, 1.0)
    assert job.finished_at is not None


def test_a_worker_that_lost_its_lease_cannot_overwrite_its_successor(stores: Stores, job_id: UUID) -> None:
    loser = held(claimed(stores, job_id))
    let_lease_run_out(stores, job_id)
    winner = held(claimed(stores, job_id))
    assert winner.attempt == loser.attempt + 1
    assert not finished(stores, loser, JobStatus.FAILED)
    with stores.postgres.transaction() as session:
        assert jobs.heartbeat(session, loser, lease_s=60, progress=0.9) is None
        assert not jobs.release(session, loser)
    assert finished(stores, winner)
    assert row(stores, job_id).status == "succeeded"


def test_a_release_does_not_count_as_an_attempt(stores: Stores, job_id: UUID) -> None:
    attempts = []
    for _ in range(jobs.MAX_ATTEMPTS + 2):
        claim = held(claimed(stores, job_id))
        attempts.append(claim.attempt)
        with stores.postgres.transaction() as session:
            assert jobs.release(session, claim)
    assert attempts == [1, 2, 3, 4, 5], "an attempt's number is never used twice"
    assert row(stores, job_id).status == "queued"


def test_a_job_that_kills_its_worker_each_time_fails_as_worker_lost(stores: Stores, job_id: UUID) -> None:
    for _ in range(jobs.MAX_ATTEMPTS):
        held(claimed(stores, job_id))
        let_lease_run_out(stores, job_id)
    assert claimed(stores, job_id) is None
    assert job_id not in requeue(stores)
    job = row(stores, job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["code"] == "worker_lost"


def test_a_lost_job_with_attempts_left_is_sent_again_at_once(stores: Stores, job_id: UUID) -> None:
    held(claimed(stores, job_id))
    assert job_id not in requeue(stores), "its lease holds"
    let_lease_run_out(stores, job_id)
    assert job_id in requeue(stores)
    assert job_id not in requeue(stores), "it was dispatched just now"
    assert row(stores, job_id).status == "queued"
    assert held(claimed(stores, job_id)).attempt == 2


def test_an_old_queued_job_is_sent_again_only_when_its_message_is_missing(
    stores: Stores, job_id: UUID
) -> None:
    change(stores, job_id, dispatched_at=func.now() - text("interval '1 minute'"))
    assert job_id not in requeue(stores, waiting_messages=10_000)
    assert job_id in requeue(stores, waiting_messages=0)


def test_a_job_the_broker_did_not_take_is_sent_at_the_next_turn(stores: Stores, job_id: UUID) -> None:
    with stores.postgres.transaction() as session:
        dispatch.mark_undispatched(session, Backtest, job_id)
    assert job_id in requeue(stores, waiting_messages=10_000)


def test_a_queued_job_is_cancelled_at_once_and_again(stores: Stores, owner_id: UUID, job_id: UUID) -> None:
    for _ in range(2):
        with stores.postgres.transaction() as session:
            job = jobs.request_cancel(session, Backtest, owner_id, job_id)
        assert job.status == "cancelled"
        assert job.finished_at is not None
    assert claimed(stores, job_id) is None


def test_cancelling_a_finished_job_changes_nothing(stores: Stores, owner_id: UUID, job_id: UUID) -> None:
    assert finished(stores, held(claimed(stores, job_id)))
    with stores.postgres.transaction() as session:
        job = jobs.request_cancel(session, Backtest, owner_id, job_id)
    assert (job.status, job.cancel_requested_at) == ("succeeded", None)


def test_a_stranger_cannot_cancel(stores: Stores, job_id: UUID) -> None:
    with stores.postgres.transaction() as session, pytest.raises(NotFound):
        jobs.request_cancel(session, Backtest, uuid4(), job_id)
    assert row(stores, job_id).status == "queued"


def test_a_cancel_reaches_the_running_job_by_its_heartbeat(
    stores: Stores, owner_id: UUID, job_id: UUID
) -> None:
    claim = held(claimed(stores, job_id, lease_s=1))
    with Lease(stores.postgres, claim, 1) as lease:
        lease.check()
        with stores.postgres.transaction() as session:
            assert jobs.request_cancel(session, Backtest, owner_id, job_id).status == "running"
        with pytest.raises(JobCancelled):
            wait_for_check(lease)


def test_a_cancelled_job_of_a_lost_worker_ends_cancelled(
    stores: Stores, owner_id: UUID, job_id: UUID
) -> None:
    held(claimed(stores, job_id))
    with stores.postgres.transaction() as session:
        jobs.request_cancel(session, Backtest, owner_id, job_id)
    let_lease_run_out(stores, job_id)
    assert claimed(stores, job_id) is None
    assert job_id not in requeue(stores)
    assert row(stores, job_id).status == "cancelled"


def test_the_heartbeat_keeps_the_lease_beyond_its_length_and_carries_progress(
    stores: Stores, job_id: UUID
) -> None:
    claim = held(claimed(stores, job_id, lease_s=1))
    before = row(stores, job_id).lease_expires_at
    assert before is not None
    with Lease(stores.postgres, claim, 1) as lease:
        lease.progress = 0.5
        deadline = Deadline(10)
        while True:
            now = row(stores, job_id)
            if now.progress == 0.5 and now.lease_expires_at is not None and now.lease_expires_at > before:
                break
            deadline.check()
        lease.check()


def test_a_lease_taken_over_is_noticed(stores: Stores, job_id: UUID) -> None:
    claim = held(claimed(stores, job_id, lease_s=60))
    change(stores, job_id, lease_token=uuid4())
    with Lease(stores.postgres, claim, 1) as lease, pytest.raises(LeaseLost):
        wait_for_check(lease)


def wait_for_check(lease: Lease) -> None:
    deadline = Deadline(10)
    while True:
        lease.check()
        deadline.check()
