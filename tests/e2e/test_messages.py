"""The row is the truth, a message only a hint: doubled, senseless, flushed or not sent, nothing is lost."""

import time
from uuid import uuid4

import pytest

from tests.e2e.client import Client
from tests.e2e.service import Service
from tests.waiting import wait_for

pytestmark = pytest.mark.usefixtures("imported")
RUN = "cift.backtests.run"
QUEUES = ("backtests", "ingestion")


def assert_each_ran_once(service: Service, client: Client, job_ids: list[str]) -> None:
    for job_id in job_ids:
        job = client.succeeded(job_id)
        row = service.backtest(job_id)
        assert (job["attempt"], row.result_attempt, row.releases) == (1, 1, 0)


def unacknowledged(service: Service) -> set[bytes]:
    """The messages that some worker has, or had when it or the broker was ended."""
    return set(service.broker.hkeys("unacked"))


def drained(service: Service, left: set[bytes]) -> bool:
    """Whether the workers have taken and acknowledged every message for jobs, but those `left` before."""
    return not any(service.broker.llen(queue) for queue in QUEUES) and unacknowledged(service) <= left


def test_the_same_message_many_times_and_senseless_ones(service: Service, alice: Client) -> None:
    left, deleted = unacknowledged(service), alice.submit()
    alice.succeeded(deleted)
    assert alice.send("DELETE", f"/api/v1/backtests/{deleted}").status_code == 204
    with service.stopped("worker"):
        job_id, task_id = alice.submit(), str(uuid4())
        for _ in range(5):
            service.send(RUN, job_id)
            service.send(RUN, job_id, task_id=task_id)
        for arguments in ([deleted], [str(uuid4())], ["no id"], [None], [17], [job_id, job_id], []):
            service.send(RUN, *arguments)
        service.send("cift.backtests.unheard_of", job_id)
        service.send("cift.ingestions.run", job_id, queue="ingestion")
        last = alice.submit()
    worker = service.stack.pid("worker")
    assert_each_ran_once(service, alice, [job_id, last])
    wait_for(lambda: drained(service, left), what="all messages are taken")
    assert service.stack.pid("worker") == worker
    assert service.backtest(job_id).attempt == 1
    chunks = service.stores.questdb.fetch(
        "SELECT equity FROM backtest_equity_chunks WHERE job_id = %s", (job_id,)
    )
    assert sum(len(equity) for (equity,) in chunks) == alice.job(job_id)["data"]["rows"]


def test_a_message_for_a_finished_job_changes_nothing(service: Service, alice: Client) -> None:
    left, job_id = unacknowledged(service), alice.submit()
    before = alice.succeeded(job_id)
    service.send(RUN, job_id)
    assert_each_ran_once(service, alice, [alice.submit()])
    wait_for(lambda: drained(service, left), what="all messages are taken")
    assert alice.job(job_id) == before


def test_redis_flushed_with_jobs_queued(service: Service, alice: Client) -> None:
    with service.stopped("worker"):
        job_ids = [alice.submit() for _ in range(30)]
        service.broker.flushall()
    assert_each_ran_once(service, alice, job_ids)
    assert_each_ran_once(service, alice, [alice.submit()])


def test_redis_flushed_under_a_running_worker(service: Service, alice: Client) -> None:
    service.broker.flushall()
    assert_each_ran_once(service, alice, [alice.submit() for _ in range(5)])


def test_redis_stopped_while_submitting(service: Service, alice: Client) -> None:
    with service.stopped("redis-broker"):
        began = time.monotonic()
        job_ids = [alice.submit() for _ in range(3)]
        elapsed_s = time.monotonic() - began
        assert {alice.job(job_id)["status"] for job_id in job_ids} == {"queued"}
    assert_each_ran_once(service, alice, job_ids)
    assert elapsed_s < 10


def test_redis_hanging_while_submitting(service: Service, alice: Client) -> None:
    with service.frozen("redis-broker"):
        began = time.monotonic()
        job_ids = [alice.submit() for _ in range(10)]
        elapsed_s = time.monotonic() - began
    for job_id in job_ids:
        assert alice.succeeded(job_id)["metrics"]
    assert elapsed_s < 15, "not each of them waits for the broker"


def test_redis_killed_with_jobs_queued(service: Service, alice: Client) -> None:
    with service.stopped("worker", "beat"):
        job_ids = [alice.submit() for _ in range(10)]
        assert service.broker.llen("backtests") >= len(job_ids)
        queued = service.broker.lrange("backtests", 0, -1)
        service.kill("redis-broker")
        assert service.broker.lrange("backtests", 0, -1) == queued
    assert_each_ran_once(service, alice, job_ids)


def test_redis_restarted_while_a_job_runs(service: Service, alice: Client) -> None:
    with service.frozen("questdb"):
        job_id = alice.submit()
        service.running(job_id)
        with service.stopped("redis-broker"):
            pass
    job = alice.succeeded(job_id)
    row = service.backtest(job_id)
    assert row.result_attempt == job["attempt"]
    assert_each_ran_once(service, alice, [alice.submit()])
    for name in ("worker", "worker-health", "beat"):
        service.stack.wait_until_ready(name)
