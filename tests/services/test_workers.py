"""Whether beat and the workers do their work, told by what they leave in the broker."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
import redis
from sqlalchemy import func, text, update

from cift_core.models import Backtest, Ingestion, JobStatus
from cift_core.services import jobs, workers
from cift_core.services.health import Health
from cift_core.services.workers import JOBS, QUEUES, Check
from cift_core.settings import Settings
from cift_core.stores import Stores, open_stores
from deploy.native.environment import CHECKOUT
from deploy.native.stack import Stack
from tests.services.conftest import TRACES
from tests.waiting import wait_for

TIMEOUT_S = 1.0


@pytest.fixture
def opened(settings: Settings) -> Iterator[Stores]:
    """Stores whose canaries must be back in a second; none was sent yet, and no job runs."""
    patient = replace(settings, canary_timeout_s=TIMEOUT_S, probe_interval_s=1.0, requeue_interval_s=1.0)
    with closing(open_stores(patient, "worker")) as opened:
        opened.broker.delete(*TRACES, *QUEUES)
        with opened.postgres.transaction() as session:
            for model in JOBS.values():
                session.execute(update(model).values(lease_expires_at=func.now()))
        yield opened
        opened.broker.delete(*TRACES, *QUEUES)


def checks(opened: Stores) -> dict[str, Check]:
    return {check.subject: check for check in workers.checks(opened)}


def healthy(opened: Stores) -> dict[str, bool | None]:
    return {subject: check.healthy for subject, check in checks(opened).items()}


def take(opened: Stores) -> list[str]:
    return [queue for queue, _ in workers.take_due(opened.broker, opened.settings)]


def details(opened: Stores) -> dict[str, Any]:
    found: dict[str, Any] = Health(opened).readiness(verbose=True)["details"]
    return found


def test_before_the_first_canary_nothing_is_known(opened: Stores) -> None:
    assert set(healthy(opened).values()) == {None}
    assert details(opened)["workers"]["status"] == details(opened)["beat"]["status"] == "unknown"


def test_a_canary_that_comes_back_tells_its_round_trip(opened: Stores) -> None:
    due = workers.take_due(opened.broker, opened.settings)
    assert [queue for queue, _ in due] == list(QUEUES)
    for queue, sent in due:
        workers.note_return(opened.broker, queue, sent)
    found = checks(opened)
    assert all(found[queue].healthy and 0 < found[queue].latency_ms < 1_000 for queue in QUEUES)
    detail = details(opened)["workers"]
    assert (detail["status"], detail["reason"]) == ("healthy", None)
    assert detail["latency_ms"] == max(found[queue].latency_ms for queue in QUEUES)
    unhurried = replace(opened.settings, canary_timeout_s=3_600.0)
    assert workers.take_due(opened.broker, unhurried) == [], "there was one just now"
    assert wait_for(lambda: take(opened), TIMEOUT_S) == list(QUEUES)


def test_a_canary_that_stays_away_means_that_nobody_serves_the_queue(opened: Stores) -> None:
    due = dict(workers.take_due(opened.broker, opened.settings))
    workers.note_return(opened.broker, "health", due["health"])
    assert healthy(opened)["backtests"] is None
    wait_for(lambda: healthy(opened)["backtests"] is False, 10 * TIMEOUT_S)
    assert healthy(opened)["health"] is True
    check = checks(opened)["backtests"]
    assert check.reason.startswith("No worker has taken a task from the queue backtests for")
    detail = details(opened)["workers"]
    assert detail["status"] == "unhealthy"
    assert "queue sweeps" in detail["reason"]
    assert "queue health" not in detail["reason"]


def test_a_canary_is_sent_again_only_when_it_must_be_lost(opened: Stores, settings: Settings) -> None:
    take(opened)
    with redis.Redis.from_url(settings.broker_url) as broker:
        broker.rpush("sweeps", "a message that waits")
    wait_for(lambda: healthy(opened)["maintenance"] is False, 10 * TIMEOUT_S)
    assert set(take(opened)) == set(QUEUES) - {"sweeps"}


def test_a_busy_worker_is_not_a_silent_one(opened: Stores, owner_id: UUID) -> None:
    take(opened)
    wait_for(lambda: healthy(opened)["backtests"] is False, 10 * TIMEOUT_S)
    with opened.postgres.transaction() as session:
        job = Backtest(owner_id=owner_id, request={}, strategy="odd", symbols=["T"])
        session.add(job)
        session.flush()
        assert jobs.claim(session, Backtest, job.id, lease_s=60, task_id="t")
    found = healthy(opened)
    assert (found["backtests"], found["sweeps"], found["ingestion"]) == (True, True, True)
    assert (found["health"], found["maintenance"]) == (False, False), "jobs do not run there"
    with opened.postgres.transaction() as session:
        session.execute(update(Backtest).where(Backtest.id == job.id).values(lease_expires_at=func.now()))
    assert healthy(opened)["backtests"] is False


def test_a_flushed_broker_is_no_silent_worker(opened: Stores, settings: Settings) -> None:
    take(opened)
    wait_for(lambda: healthy(opened)["backtests"] is False, 10 * TIMEOUT_S)
    with redis.Redis.from_url(settings.broker_url) as broker:
        broker.flushall()
    assert set(healthy(opened).values()) == {None}
    assert take(opened) == list(QUEUES)


def test_beat_is_silent_when_its_last_tick_is_old(opened: Stores, settings: Settings) -> None:
    workers.note_tick(opened.broker)
    assert checks(opened)["beat"].healthy is True
    assert 0 < checks(opened)["beat"].latency_ms < 1_000
    opened.broker.set("cift:beat", str(time.time() - 6), ttl_s=60)  # its intervals are 1 s here
    check = checks(opened)["beat"]
    assert (check.healthy, check.reason) == (False, "Beat has sent nothing for 6 s.")
    assert details(opened)["beat"]["status"] == "unhealthy"


def test_a_beat_that_never_ticked_is_missed_from_the_first_look_on(opened: Stores) -> None:
    assert checks(opened)["beat"].healthy is None
    take(opened)
    assert checks(opened)["beat"].healthy is True, "and from now on its silence counts"


def test_without_the_broker_beat_and_workers_are_unknown(opened: Stores, stop_server: Any) -> None:
    take(opened)
    stop_server("redis-broker")
    found = details(opened)
    assert found["workers"]["status"] == found["beat"]["status"] == "unknown"
    assert "does not answer" in found["workers"]["reason"]


def test_a_job_that_waits_in_its_queue_for_minutes_is_told(opened: Stores, owner_id: UUID) -> None:
    def slow() -> list[str]:
        with opened.postgres.transaction() as session:
            return [check.reason for check in workers.waiting(session) if not check.healthy]

    with opened.postgres.transaction() as session:
        for model in (Backtest, Ingestion):
            session.execute(update(model).where(model.status == "queued").values(dispatched_at=func.now()))
        session.add(Backtest(owner_id=owner_id, request={}, strategy="odd", symbols=["T"]))  # not sent
    assert slow() == []
    with opened.postgres.transaction() as session:
        old = func.now() - text("interval '301 seconds'")
        session.add(Backtest(owner_id=owner_id, request={}, strategy="odd", symbols=["T"], dispatched_at=old))
    assert slow() == ["A job has waited in the queue backtests for 301 s."]
    with opened.postgres.transaction() as session:
        session.execute(
            update(Backtest).where(Backtest.status == "queued").values(status=JobStatus.CANCELLED)
        )


def test_a_broker_that_fills_up_is_told(opened: Stores, settings: Settings) -> None:
    assert workers.fullness(opened.broker).healthy is None, "it has no limit"
    with redis.Redis.from_url(settings.broker_url) as broker:
        used = int(broker.info("memory")["used_memory"])
        try:
            broker.config_set("maxmemory", used * 4)
            assert workers.fullness(opened.broker).healthy is True
            broker.config_set("maxmemory", int(used * 1.02))
            check = workers.fullness(opened.broker)
        finally:
            broker.config_set("maxmemory", 0)
    assert check.healthy is False
    assert check.reason.startswith("The broker uses ")


def test_the_queues_are_celerys(stack: Stack) -> None:
    show = "import celeryconfig; print(*[queue.name for queue in celeryconfig.task_queues])"
    done = subprocess.run(
        [sys.executable, "-c", show],
        env=stack.env,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == list(QUEUES)
