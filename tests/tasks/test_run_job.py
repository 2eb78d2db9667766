"""The edge around a job's work, in a real worker: every way to go wrong has an end that a user can read."""

from collections.abc import Callable
from uuid import UUID

import pytest
from celery import Celery
from sqlalchemy import select

from cift_core.models import Backtest
from cift_core.services import jobs
from cift_core.stores import Stores
from deploy.native.stack import Stack
from tests.tasks.conftest import once, row, send
from tests.tasks.odd_jobs import SECRET
from tests.waiting import wait_for

Make = Callable[[str], UUID]


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("defect", "internal_error"),
        ("refused", "no_bars"),
        ("memory", "out_of_memory"),
        ("result that does not fit", "internal_error"),
    ],
)
def test_an_error_ends_the_job_failed_with_a_sentence(
    stores: Stores, odd_job: Make, how: str, code: str
) -> None:
    job = once(stores, odd_job(how), "failed")
    assert job.error is not None
    assert job.error["code"] == code
    assert len(job.error["detail"].split()) > 4
    assert SECRET not in str(job.error)
    assert (job.attempt, job.releases, job.lease_token) == (1, 0, None)
    assert job.finished_at is not None


def test_the_traceback_is_in_the_log_under_the_jobs_id(stores: Stores, stack: Stack, odd_job: Make) -> None:
    job_id = odd_job("defect")
    once(stores, job_id, "failed")
    lines = (stack.root / "log" / "odd.log").read_text().splitlines()
    (failed,) = [line for line in lines if '"event": "job.failed"' in line and str(job_id) in line]
    assert "in go_wrong" in failed


def test_a_store_that_is_away_hands_the_job_back_and_counts_no_attempt(stores: Stores, odd_job: Make) -> None:
    job = once(stores, odd_job("store away"), "succeeded")
    assert (job.attempt, job.releases, job.error) == (3, 2, None)


def test_a_worker_told_to_leave_hands_its_job_back(stores: Stores, worker: Celery, odd_job: Make) -> None:
    job_id = odd_job("told to leave")
    wait_for(lambda: row(stores, job_id).releases == 1, what="handed back")
    assert row(stores, job_id).status == "queued"
    send(worker, job_id)
    job = once(stores, job_id, "succeeded")
    assert (job.attempt, job.releases) == (2, 1)


def test_a_job_that_kills_its_worker_is_taken_from_it_when_its_lease_ran_out(
    stores: Stores, odd_job: Make
) -> None:
    job_id = odd_job("killed")
    once(stores, job_id, "running")
    wait_for(lambda: job_id in requeued(stores), what="its lease runs out")
    job = row(stores, job_id)
    assert (job.status, job.attempt, job.releases, job.error) == ("queued", 1, 0, None)


def requeued(stores: Stores) -> set[UUID]:
    """The queued jobs after a turn of requeue_stale."""
    with stores.postgres.transaction() as session:
        jobs.requeue_stale(session, Backtest)
        return set(session.scalars(select(Backtest.id).where(Backtest.status == "queued")))


def test_a_cancel_reaches_a_running_job(stores: Stores, owner_id: UUID, odd_job: Make) -> None:
    job_id = odd_job("until cancelled")
    once(stores, job_id, "running")
    with stores.postgres.transaction() as session:
        jobs.request_cancel(session, Backtest, owner_id, job_id)
    job = once(stores, job_id, "cancelled")
    assert (job.attempt, job.error, job.lease_token) == (1, None, None)


def test_a_running_job_can_be_found_by_its_message(stores: Stores, owner_id: UUID, odd_job: Make) -> None:
    job_id = odd_job("until cancelled")
    job = once(stores, job_id, "running")
    assert UUID(job.task_id)
    with stores.postgres.transaction() as session:
        jobs.request_cancel(session, Backtest, owner_id, job_id)
    once(stores, job_id, "cancelled")


def test_the_same_message_twice_runs_once(stores: Stores, worker: Celery, odd_job: Make) -> None:
    job_id = odd_job("nothing")
    for _ in range(3):
        send(worker, job_id)
    job = once(stores, job_id, "succeeded")
    last = odd_job("nothing")
    once(stores, last, "succeeded")  # sent after them, to a worker of one process
    assert row(stores, job_id).attempt == job.attempt == 1
