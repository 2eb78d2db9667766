"""Too often is 429 with the time to come again: a key's requests and submits, an address's failed log-ins."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
import redis
from flask import Flask
from werkzeug.test import TestResponse

from cift_core.models import AuditLog
from cift_core.settings import Settings
from cift_web.app import create_app
from deploy.native.stack import Stack
from tests.waiting import freeze, wait_for
from tests.web.conftest import BACKTEST, Client, close

ME, BACKTESTS = "/api/v1/me", "/api/v1/backtests"
Trail = Callable[..., list[AuditLog]]


@pytest.fixture
def strict(settings: Settings) -> Iterator[Flask]:
    """An app that lets a key send 5 requests, 2 submits among them, and an address fail 3 log-ins."""
    app = create_app(strictly(settings))
    yield app
    close(app)


def strictly(settings: Settings) -> Settings:
    return replace(settings, requests_per_minute=5, submits_per_minute=2, failed_logins_per_minute=3)


@pytest.fixture
def alice(alice: Client, strict: Flask) -> Client:
    """The owner, at the strict app."""
    return replace(alice, app=strict)


@pytest.fixture
def cache(settings: Settings) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(settings.cache_url) as client:
        yield client


@pytest.fixture
def address() -> str:
    """An IPv6 address whose network no other test has used."""
    number = uuid4().hex
    return f"2001:{number[:4]}:{number[4:8]}:{number[8:12]}::1"


def assert_limited(response: TestResponse, *says: str) -> None:
    assert (response.status_code, response.json["code"]) == (429, "rate_limited")
    assert 1 <= int(response.headers["Retry-After"]) <= 60
    for part in (*says, f"in {response.headers['Retry-After']} s"):
        assert part in response.json["detail"]


def fail(app: Flask, address: str, token: str | None = None) -> TestResponse:
    return Client(app, token or "cift_x_y").get(ME, environ_overrides={"REMOTE_ADDR": address})


def test_a_key_that_asks_too_often_is_told_when_to_come_again(
    alice: Client, bob: Client, strict: Flask, cache: redis.Redis
) -> None:
    for _ in range(5):
        assert alice.get(ME).status_code == 200
    assert_limited(alice.get(ME), "5 requests a minute", "the API key")
    assert replace(bob, app=strict).get(ME).status_code == 200, "the limit is each key's own"
    prefix = str(alice.token).split("_")[1]
    (counter,) = cache.scan_iter(f"rate*{prefix}*")
    cache.pexpire(counter, 1)
    wait_for(lambda: not cache.exists(counter))
    assert alice.get(ME).status_code == 200


def test_processes_count_together(alice: Client, settings: Settings) -> None:
    other = create_app(strictly(settings))
    statuses = [client.get(ME).status_code for _ in range(3) for client in (alice, replace(alice, app=other))]
    close(other)
    assert statuses == [200] * 5 + [429]


def test_submits_have_a_limit_of_their_own(alice: Client, trail: Trail) -> None:
    answers = [alice.post(BACKTESTS, json=BACKTEST) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [202, 202, 429, 429]
    assert_limited(answers[3], "2 jobs a minute")
    assert len(alice.get(BACKTESTS).json["items"]) == 2
    results = [row.result for row in trail(user_id=alice.user_id, resource="backtests")]
    assert results == ["done", "done", "refused"], "a flood does not fill the trail"


def test_failed_logins_from_one_address(
    strict: Flask, alice: Client, address: str, trail: Trail, settings: Settings
) -> None:
    tokens = ("cift_x_y", "nonsense", "cift_abcdefghijkl_" + "a" * 49)
    assert [fail(strict, address, token).status_code for token in tokens] == [401] * 3
    for neighbour in (address, address[:-1] + "2:3:4"):
        assert_limited(fail(strict, neighbour), "3 failed log-ins a minute")
    assert len(trail(ip=address)) == 4, "each failure, and the first that was turned away"
    assert fail(strict, "9" + address[1:]).status_code == 401
    assert alice.get(ME, environ_overrides={"REMOTE_ADDR": address}).status_code == 200, "a right key gets in"


@pytest.mark.parametrize("address", ["no address", "203.0.113.9", "::ffff:203.0.113.10"])
def test_any_address_is_counted(strict: Flask, address: str) -> None:
    for _ in range(3):
        fail(strict, address)
    assert_limited(fail(strict, address))


def test_probes_and_documents_are_not_limited(strict: Flask, charlie: Client) -> None:
    for path in ("/live", "/ready", "/api/v1/openapi.json"):
        assert {replace(charlie, app=strict).get(path).status_code for _ in range(8)} == {200}


def test_without_the_cache_each_process_counts_for_itself(
    alice: Client, stop_server: Callable[[str], None], stack: Stack
) -> None:
    stop_server("redis-cache")
    statuses = [alice.get(ME).status_code for _ in range(6)]
    assert statuses == [200] * 5 + [429]
    assert_limited(alice.get(ME))
    stack.start("redis-cache")
    assert alice.get(ME).status_code == 429, "the cache that failed is left alone for a while"
    alice.app.extensions["stores"].rates._try_at = time.monotonic()
    assert [alice.get(ME).status_code for _ in range(5)] == [200] * 5


def test_a_cache_that_hangs_costs_one_request_half_a_second(alice: Client, stack: Stack) -> None:
    pid = stack.pid("redis-cache")
    freeze(pid)
    try:
        times: list[Any] = []
        for _ in range(4):
            began = time.perf_counter()
            assert alice.get(ME).status_code == 200
            times.append(time.perf_counter() - began)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert max(times) < 1.5, times
    assert sorted(times)[-2] < 0.5, times
