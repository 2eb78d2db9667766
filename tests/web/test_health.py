"""GET /live and GET /ready."""

import time
from collections.abc import Callable
from dataclasses import replace

from flask import Flask

from cift_core.settings import Settings
from cift_web.app import create_app
from tests.web.conftest import Client, close


def test_live_touches_no_store(settings: Settings) -> None:
    nowhere = "127.0.0.1:1"
    app = create_app(
        replace(
            settings,
            postgres_url=f"postgresql://u:p@{nowhere}/d",
            questdb_pg_url=f"postgresql://u:p@{nowhere}/d",
            broker_url=f"redis://{nowhere}/0",
            cache_url=f"redis://{nowhere}/0",
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
    assert set(details) >= {"postgres", "questdb", "broker", "cache"}
    assert all(check["latency_ms"] > 0 and check["reason"] is None for check in details.values())


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
