"""GET /live and GET /ready."""

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from urllib.parse import urlsplit

import requests
from flask import Flask

from cift_core.settings import Settings
from cift_web.app import create_app
from deploy.native.stack import Stack
from tests.processes import frozen
from tests.waiting import wait_for
from tests.web.conftest import Client, close

CLIENTS = 64  # on 2 × 8 threads
NEEDS_NO_STORE = "/api/v1/openapi.json"


def test_live_touches_no_store(settings: Settings) -> None:
    nowhere = "127.0.0.1:1"
    app = create_app(
        replace(
            settings,
            postgres_url=f"postgresql://u:p@{nowhere}/d",
            questdb_pg_url=f"postgresql://u:p@{nowhere}/d",
            broker_url=f"redis://{nowhere}/0",
            cache_url=f"redis://{nowhere}/0",
            kafka_bootstrap_servers=nowhere,
        )
    )
    try:
        assert app.test_client().get("/live").json == {"live": True}
        assert app.test_client().get("/ready").json == {
            "ready": False,
            "checks": {"postgres": "unhealthy", "questdb": "unhealthy", "redis": "unhealthy"},
        }
    finally:
        close(app)


def test_ready_names_every_store(charlie: Client) -> None:
    response = charlie.get("/ready")
    assert response.status_code == 200
    assert response.json == {
        "ready": True,
        "checks": {"postgres": "healthy", "questdb": "healthy", "redis": "healthy"},
    }


def test_ready_verbose_tells_latency_and_reason(charlie: Client) -> None:
    details = charlie.get("/ready?verbose").json["details"]
    assert set(details) == {"postgres", "questdb", "broker", "cache", "kafka", "consumer", "workers", "beat"}
    for name in ("postgres", "questdb", "broker", "cache"):
        assert details[name]["latency_ms"] > 0
        assert details[name]["reason"] is None
    assert {details[name]["status"] for name in ("workers", "beat")} <= {"healthy", "unhealthy", "unknown"}


def test_ready_tells_the_truth_within_three_seconds(
    app: Flask, charlie: Client, stop_server: Callable[[str], None]
) -> None:
    stop_server("redis-cache")
    began = time.monotonic()
    response = charlie.get("/ready")
    assert time.monotonic() - began < 3
    assert response.status_code == 503
    assert response.json["checks"] == {"postgres": "healthy", "questdb": "healthy", "redis": "unhealthy"}
    assert charlie.get("/live").status_code == 200


def test_ready_and_live_wait_for_no_request_that_waits_for_a_frozen_postgres(
    gunicorn: str, alice: Client, stack: Stack
) -> None:
    headers = {"Authorization": f"Bearer {alice.token}"}

    def status(path: str) -> int:
        return requests.get(f"{gunicorn}{path}", headers=headers, timeout=60).status_code

    def elapsed_s(path: str, expected: int) -> float:
        began = time.monotonic()
        assert status(path) == expected
        return time.monotonic() - began

    def held() -> bool:
        try:
            requests.get(f"{gunicorn}{NEEDS_NO_STORE}", timeout=0.5)
        except requests.ReadTimeout:
            return True
        return False

    with ThreadPoolExecutor(CLIENTS + 16) as clients:
        with frozen(stack.pid("postgres")):
            waiting = [clients.submit(status, "/api/v1/me") for _ in range(CLIENTS)]
            wait_for(lambda: held() and held(), what="the threads of both processes are held")
            # connections of their own, so that both processes get some
            lives = [clients.submit(elapsed_s, "/live", 200) for _ in range(8)]
            readies = [clients.submit(elapsed_s, "/ready", 503) for _ in range(8)]
            assert max(live.result() for live in lives) < 2
            assert max(ready.result() for ready in readies) < 3
        assert {answer.result() for answer in waiting} <= {200, 503}
    assert elapsed_s(NEEDS_NO_STORE, 200) < 5


def test_ready_waits_for_no_client_that_says_nothing(gunicorn: str) -> None:
    address = urlsplit(gunicorn)
    with ExitStack() as open_sockets:
        silent = [
            open_sockets.enter_context(socket.create_connection((address.hostname, address.port), timeout=10))
            for _ in range(CLIENTS)
        ]
        began = time.monotonic()
        assert requests.get(f"{gunicorn}/ready", timeout=10).status_code == 200
        assert requests.get(f"{gunicorn}{NEEDS_NO_STORE}", timeout=10).status_code == 200
        assert time.monotonic() - began < 3
        silent[0].sendall(b"GET /live HTTP/1.1\r\nHost: late\r\n\r\n")
        assert silent[0].recv(100).startswith(b"HTTP/1.1 200 OK")
