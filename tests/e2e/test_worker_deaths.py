"""Workers that die, freeze or are told to leave in mid-job: the job ends once, by its living owner."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from uuid import UUID

import pytest

from cift_core.clock import utc_now
from cift_core.engine import run_backtest
from cift_core.services import backtests
from cift_core.services.jobs import MAX_ATTEMPTS
from cift_core.services.series import wait_readable, write_series
from cift_core.strategies import STRATEGIES
from deploy.native.environment import foreign
from tests.conftest import QUICK
from tests.e2e import market
from tests.e2e.client import Client, backtest
from tests.e2e.service import Service
from tests.processes import frozen
from tests.waiting import wait_for

pytestmark = pytest.mark.usefixtures("imported")


@pytest.fixture
def result_of_aapl() -> list[dict[str, object]]:
    """The equity that the small backtest must have."""
    bars = market.adjusted_bars("AAPL-1d.csv")
    return market.equity_items(run_backtest(bars, STRATEGIES["sma_cross"], {}, cash=10_000))


@contextmanager
def second_worker(service: Service) -> Iterator[subprocess.Popen[bytes]]:
    """Another worker for backtests beside the stack's own."""
    argv = [sys.executable, "-m", "celery", "-A", "cift_tasks.app", "worker", "-n", "second@%h"]
    env = foreign() | service.stack.env | QUICK
    log = (service.stack.root / "log" / "second.log").open("wb")
    with (
        log,
        subprocess.Popen([*argv, "-Q", "backtests", "-c", "1"], env=env, stdout=log, stderr=log) as worker,
    ):
        try:
            yield worker
        finally:
            worker.terminate()


def test_kill_9_of_the_worker_in_mid_job(
    service: Service, alice: Client, result_of_aapl: list[dict[str, object]]
) -> None:
    with service.frozen("questdb"):
        job_id = alice.submit()
        first = service.running(job_id)
        service.kill("worker")
    # what the dead attempt had recorded before it died: another result than the job's
    bars = market.adjusted_bars("AAPL-1d.csv")
    other = run_backtest(bars, STRATEGIES["buy_and_hold"], {}, cash=1.0)
    questdb = service.stores.questdb
    write_series(questdb, first.id, first.attempt, utc_now(), ["AAPL"], other)
    wait_readable(questdb)

    job = alice.succeeded(job_id)
    row = service.backtest(job_id)
    assert (job["attempt"], row.result_attempt, row.releases) == (2, 2, 0)
    assert alice.items(f"/backtests/{job_id}/equity") == result_of_aapl
    assert len(alice.items(f"/backtests/{job_id}/trades")) == job["metrics"]["trades"]
    chunks = questdb.fetch("SELECT attempt, equity FROM backtest_equity_chunks WHERE job_id = %s", (job_id,))
    written = {attempt: sum(len(equity) for a, equity in chunks if a == attempt) for attempt in (1, 2)}
    assert written == {1: len(bars), 2: len(bars)}


def test_a_frozen_worker_cannot_overwrite_its_successor(
    service: Service, alice: Client, result_of_aapl: list[dict[str, object]]
) -> None:
    with ExitStack() as ending, ExitStack() as freezing:
        with service.frozen("questdb"):
            job_id = alice.submit()
            service.running(job_id)
            first = freezing.enter_context(ExitStack())
            first.enter_context(service.frozen("worker"))
            second = ending.enter_context(second_worker(service))
            service.running(job_id, attempt=2)
            freezing.enter_context(frozen(second.pid))
        first.close()
        wait_for(lambda: service.leases_lost(job_id), what="the first worker notices")
        assert service.backtest(job_id).result_attempt != 1
        freezing.close()
        job = alice.succeeded(job_id)
    assert service.backtest(job_id).result_attempt == job["attempt"] >= 2
    assert alice.items(f"/backtests/{job_id}/equity") == result_of_aapl


def test_a_job_that_kills_its_worker_each_time_ends_failed(service: Service, alice: Client) -> None:
    with service.frozen("questdb"):
        job_id = alice.submit()
        for attempt in range(1, MAX_ATTEMPTS + 1):
            service.running(job_id, attempt)
            service.kill_children("worker")
        job = alice.ended(job_id)
    assert (job["status"], job["error"]["code"]) == ("failed", "worker_lost")
    assert job["attempt"] == MAX_ATTEMPTS
    assert job["finished_at"] is not None
    assert alice.succeeded(alice.submit())["attempt"] == 1


def test_a_worker_told_to_leave_hands_its_job_back(service: Service, alice: Client) -> None:
    with service.frozen("questdb"):
        job_id = alice.submit()
        service.running(job_id)
        with service.stopped("worker"):
            row = service.backtest(job_id)
            assert (row.status, row.attempt, row.releases) == ("queued", 1, 1)
            assert row.error is None
    job = alice.succeeded(job_id)
    row = service.backtest(job_id)
    assert (job["attempt"], row.result_attempt, row.releases) == (2, 2, 1)


def test_a_worker_told_to_leave_lets_a_short_job_finish(service: Service, alice: Client) -> None:
    with service.frozen("questdb"):
        job_id = alice.submit()
        service.running(job_id)
        os.kill(service.stack.pid("worker"), signal.SIGTERM)
        wait_for(lambda: "Initiating Soft Shutdown" in service.log("worker"), what="soft shutdown")
    assert alice.succeeded(job_id)["attempt"] == 1
    service.stack.wait_until_ready("worker")


def test_a_job_that_takes_too_long_ends_failed(service: Service, alice: Client) -> None:
    with service.stores.postgres.transaction() as session:
        # queued, and dispatched by nobody but us: its message carries a limit of its own
        job_id = str(backtests.submit(session, UUID(alice.user_id), backtest(), max_in_flight=100).id)
    with service.frozen("questdb"):
        service.tasks.send_task(
            "cift.backtests.run", (job_id,), queue="backtests", soft_time_limit=1, ignore_result=True
        )
        job = alice.ended(job_id)
    assert (job["status"], job["error"]["code"], job["attempt"]) == ("failed", "time_limit", 1)
