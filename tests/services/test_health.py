"""Readiness: the truth about every store, in time, however a server fails."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from sqlalchemy import text

from cift_core.clock import utc_now
from cift_core.models import AlertKind
from cift_core.services.health import Health, record
from cift_core.services.workers import Check
from cift_core.settings import Settings
from cift_core.stores import Stores, open_stores
from cift_core.stores.kafka import Kafka
from deploy.native.stack import STORES, Stack
from tests.processes import frozen
from tests.services.conftest import TRACES
from tests.waiting import wait_for
from tests.wire import Wire

CHECKS = {"postgres": "postgres", "questdb": "questdb", "redis-broker": "redis", "redis-cache": "redis"}
DETAILS = {"postgres": "postgres", "questdb": "questdb", "redis-broker": "broker", "redis-cache": "cache"}
HEALTHY = {"postgres": "healthy", "questdb": "healthy", "redis": "healthy"}


@pytest.fixture(autouse=True)
def _nothing_known_of_workers(stores: Stores, kafka: Kafka) -> None:
    stores.broker.delete(*TRACES)


@pytest.fixture
def health(stores: Stores) -> Health:
    return Health(stores)


@pytest.fixture
def impatient(settings: Settings) -> Iterator[Health]:
    """The probes of a process that waits half a second for an answer; they have run once."""
    with closing(open_stores(replace(settings, probe_timeout_s=0.5), "worker")) as opened:
        health = Health(opened)
        wait_for(lambda: health.readiness()["ready"], 20)
        yield health


@pytest.fixture
def hang(stack: Stack) -> Iterator[Callable[[str], Callable[[], None]]]:
    """Freezes a server by name, with its sockets open; what it returns lets it go on."""
    with ExitStack() as hanging:

        def hang(name: str) -> Callable[[], None]:
            one = hanging.enter_context(ExitStack())
            one.enter_context(frozen(stack.pid(name)))
            return one.close

        yield hang


def probe_threads() -> Counter[str]:
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("probe-")]
    assert all(thread.daemon for thread in threads), "a hung probe must not keep the process from ending"
    return Counter(thread.name for thread in threads)


def timed(ask: Callable[[], dict[str, Any]]) -> tuple[dict[str, Any], float]:
    began = time.monotonic()
    answer = ask()
    return answer, time.monotonic() - began


def test_every_store_is_probed(health: Health) -> None:
    outcomes = health.probe()
    assert [outcome.store for outcome in outcomes] == ["postgres", "questdb", "broker", "cache", "kafka"]
    assert all(outcome.healthy and outcome.reason == "" for outcome in outcomes)
    assert all(0 < outcome.latency_ms < 2_000 for outcome in outcomes)


def test_readiness_is_brief_unless_asked_for_more(health: Health) -> None:
    assert health.readiness() == {"ready": True, "checks": HEALTHY}
    verbose = health.readiness(verbose=True)
    assert verbose.keys() == {"ready", "checks", "details"}
    assert verbose["details"].keys() == {*DETAILS.values(), "kafka", "consumer", "workers", "beat"}
    for name, detail in verbose["details"].items():
        assert detail.keys() == {"status", "latency_ms", "reason"}
        if name in {*DETAILS.values(), "kafka"}:
            assert (detail["status"], detail["reason"]) == ("healthy", None)


@pytest.mark.parametrize("name", ["postgres", "redis-broker", "redis-cache"])
def test_a_server_that_is_down_is_unhealthy_until_it_is_back(
    name: str, health: Health, stack: Stack, stop_server: Callable[[str], None]
) -> None:
    assert health.readiness()["ready"]
    stop_server(name)
    for _ in range(2):
        answer, took_s = timed(lambda: health.readiness(verbose=True))
        assert took_s < 3
        assert not answer["ready"]
        assert answer["checks"] == HEALTHY | {CHECKS[name]: "unhealthy"}
        unhealthy = [store for store, detail in answer["details"].items() if detail["status"] == "unhealthy"]
        assert unhealthy == [DETAILS[name]]
        assert "does not answer" in answer["details"][DETAILS[name]]["reason"]
    stack.start(name)
    assert health.readiness() == {"ready": True, "checks": HEALTHY}


@pytest.mark.parametrize("name", STORES)
def test_a_server_that_hangs_holds_one_thread_and_is_seen_to_recover(
    name: str, impatient: Health, hang: Callable[[str], Callable[[], None]]
) -> None:
    go_on = hang(name)
    with ThreadPoolExecutor(20) as callers:
        answers = list(callers.map(lambda _: impatient.readiness(verbose=True), range(60)))
    assert all(count == 1 for count in probe_threads().values())
    for answer in answers:
        assert answer["checks"] == HEALTHY | {CHECKS[name]: "unhealthy"}
        assert "answer" in answer["details"][DETAILS[name]]["reason"]
    go_on()
    wait_for(lambda: impatient.readiness()["ready"], 20)
    wait_for(lambda: not probe_threads(), 20)


def test_without_kafka_the_service_is_ready_and_says_so(
    health: Health, stack: Stack, stop_server: Callable[[str], None]
) -> None:
    stop_server("kafka")
    for _ in range(2):
        answer, took_s = timed(lambda: health.readiness(verbose=True))
        assert took_s < 3
        assert {name: answer[name] for name in ("ready", "checks")} == {"ready": True, "checks": HEALTHY}
        assert answer["details"]["kafka"]["status"] == "unhealthy"
        assert "answer" in answer["details"]["kafka"]["reason"]
        assert answer["details"]["consumer"]["status"] == "unknown"
    stack.start("kafka")
    wait_for(lambda: health.readiness(verbose=True)["details"]["kafka"]["status"] == "healthy", 20)


def test_when_all_servers_hang_the_answer_comes_within_three_seconds(
    health: Health, hang: Callable[[str], Callable[[], None]]
) -> None:
    assert health.readiness()["ready"]
    let_go = [hang(name) for name in STORES]
    answer, took_s = timed(lambda: health.readiness(verbose=True))
    assert took_s < 3
    assert answer["checks"] == dict.fromkeys(HEALTHY, "unhealthy")
    for go_on in let_go:
        go_on()
    wait_for(lambda: health.readiness()["ready"], 20)


def test_a_server_that_takes_connections_and_no_more_is_unhealthy_to_a_new_process(
    settings: Settings, hang: Callable[[str], Callable[[], None]]
) -> None:
    go_on = hang("postgres")
    with closing(open_stores(settings, "worker")) as opened:
        health = Health(opened)
        answer, took_s = timed(health.readiness)
        assert took_s < 3
        assert answer["checks"]["postgres"] == "unhealthy"
        go_on()
        wait_for(lambda: health.readiness()["ready"], 20)


def test_the_answer_takes_as_long_as_the_slowest_store_and_each_tells_its_own_time(
    settings: Settings,
) -> None:
    urls = ("postgres_url", "questdb_pg_url", "broker_url", "cache_url")
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(getattr(settings, url))) for url in urls]
        slow = replace(settings, **{url: wire.url for url, wire in zip(urls, wires, strict=True)})
        opened = stack.enter_context(closing(open_stores(slow, "worker")))
        health = Health(opened)
        wait_for(lambda: health.readiness()["ready"], 20)
        for wire in wires:
            wire.latency_s = 0.25
        answer, took_s = timed(lambda: health.readiness(verbose=True))
    assert answer["ready"]
    took_ms = [answer["details"][store]["latency_ms"] for store in DETAILS.values()]
    assert all(each >= 250 for each in took_ms)
    assert answer["details"]["postgres"]["latency_ms"] >= 500, "a transaction is more than one question"
    assert answer["details"]["cache"]["latency_ms"] < answer["details"]["postgres"]["latency_ms"] - 150
    assert took_s * 1000 < max(took_ms) + 250
    assert took_s * 1000 < sum(took_ms) - 250


def test_a_broker_that_evicts_is_unhealthy(health: Health, settings: Settings) -> None:
    with redis.Redis.from_url(settings.broker_url) as broker:
        broker.config_set("maxmemory-policy", "allkeys-lru")
        try:
            answer = health.readiness(verbose=True)
        finally:
            broker.config_set("maxmemory-policy", "noeviction")
    assert answer["checks"] == HEALTHY | {"redis": "unhealthy"}
    assert "noeviction" in answer["details"]["broker"]["reason"]
    assert answer["details"]["cache"]["status"] == "healthy"


def test_a_busy_pool_is_no_unhealthy_store(health: Health, stores: Stores) -> None:
    with ExitStack() as units:
        for _ in range(4):  # all a worker has
            session = units.enter_context(stores.postgres.transaction())
            session.execute(text("SELECT 1"))
        assert health.readiness()["ready"]


def test_what_is_known_is_recorded_one_row_a_check(stores: Stores) -> None:
    began = utc_now()
    found = [
        Check(AlertKind.STORE_UNHEALTHY, "postgres", True, 1.25),
        Check(AlertKind.STORE_UNHEALTHY, "cache", False, 2000.0, "no answer"),
        Check(AlertKind.QUEUE_UNSERVED, "sweeps", True, 3.5),
        Check(AlertKind.QUEUE_UNSERVED, "health", None),
    ]
    record(stores, found)
    stores.questdb.wait_visible("health_probes")
    rows = stores.questdb.fetch(
        "SELECT recorded_at, store, healthy, latency_ms, reason FROM health_probes WHERE recorded_at >= %s",
        (began.replace(tzinfo=None),),
    )
    assert [row[1:] for row in rows] == [
        ("postgres", True, 1.25, ""),
        ("cache", False, 2000.0, "no answer"),
        ("queue_unserved:sweeps", True, 3.5, ""),
    ]
    (moment,) = {row[0] for row in rows}
    assert began <= moment.replace(tzinfo=UTC) <= datetime.now(UTC)
