"""The service measured over its own limits, on a stack of its own: readiness, submits, turnaround."""

from __future__ import annotations

import json
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import requests
from backtesting.test import GOOG
from celery import Celery
from tenacity import retry, stop_after_delay, wait_fixed

from bench import load
from bench.api import Api
from bench.api import measure as measure_api
from deploy.native import environment
from deploy.native.apps import GUNICORN_POOL
from deploy.native.stack import Stack

ROUNDS = 200
POLL_S = 0.002  # asking without a pause would take the worker's processor
# counted, but never too often: the load comes from one key
UNLIMITED = {f"CIFT_{what}_PER_MINUTE": "1000000000" for what in ("REQUESTS", "SUBMITS")}
STORES = ("postgres", "questdb", "broker", "cache", "kafka")
SCOPES = ("backtests:read", "backtests:write", "data:read", "data:write")
BACKTEST = {
    "strategy": {"name": "sma_cross", "params": {"fast": 10, "slow": 20}},
    "symbols": ["GOOG"],
    "interval": "1d",
    "cash": 10_000,
    "execution": {"commission_rate": 0.002},
}


def measure() -> dict[str, float]:
    """The figures of `bench/RESULTS.md` that need the running service."""
    folder = Path(tempfile.mkdtemp(prefix="cift-bench-"))
    data = folder / "data"
    data.mkdir(mode=0o755)
    GOOG.to_csv(data / "GOOG-1d.csv", index_label="Date")
    stack = Stack(folder / "stack", {"CIFT_DATA_DIR": str(data), **UNLIMITED})
    stack.up()
    try:
        return _measure(stack)
    finally:
        stack.delete()


def _measure(stack: Stack) -> dict[str, float]:
    env = stack.env
    url = env["CIFT_URL"]
    api = requests.Session()
    api.headers["Authorization"] = f"Bearer {api_key(env)}"
    _ingest(api, url)
    with _bare(env) as (bare_url, noop_ms):
        figures = {"noop_round_trip_p50_ms": noop_ms} | _turnaround(api, url) | _readiness(url)
        finished = _finished(api, url, api.post(f"{url}/api/v1/backtests", json=BACKTEST, timeout=30))
        loaded = Api(stack, api, BACKTEST)
        return figures | measure_api(loaded, load.Load(bare_url), str(finished["id"]))


def api_key(env: dict[str, str]) -> str:
    """A key of a new user of a running stack, with all that a bench needs."""

    def cift(*arguments: str, stdin: str | None = None) -> str:
        command = [str(Path(sys.executable).with_name("cift")), *arguments]
        return subprocess.run(
            command, env=environment.foreign() | env, input=stdin, capture_output=True, text=True, check=True
        ).stdout

    cift("users", "create", "bench@example.com", "--password-stdin", stdin=secrets.token_urlsafe(24))
    scopes = [argument for scope in SCOPES for argument in ("--scope", scope)]
    key: str = json.loads(cift("keys", "create", "bench@example.com", "--name", "b", *scopes, "--json"))[
        "key"
    ]
    return key


def _ingest(api: requests.Session, url: str) -> None:
    body = {
        "source": {"type": "file", "path": "GOOG-1d.csv"},
        "kind": "bars",
        "symbol": "GOOG",
        "interval": "1d",
    }
    job = _finished(api, url, api.post(f"{url}/api/v1/ingestions", json=body, timeout=30))
    assert job["rows_written"] == len(GOOG), job


def _finished(api: requests.Session, url: str, answer: requests.Response) -> dict[str, Any]:
    answer.raise_for_status()
    location = urljoin(url, answer.headers["Location"])
    while True:
        job: dict[str, Any] = api.get(location, timeout=30).json()
        if job["status"] not in ("queued", "running"):
            assert job["status"] == "succeeded", job
            return job
        time.sleep(POLL_S)


def _turnaround(api: requests.Session, url: str) -> dict[str, float]:
    """From the POST to the first GET that says succeeded, one at a time."""
    elapsed_ms = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        _finished(api, url, api.post(f"{url}/api/v1/backtests", json=BACKTEST, timeout=30))
        elapsed_ms.append((time.perf_counter() - began) * 1e3)
    warm = sorted(elapsed_ms[ROUNDS // 4 :])
    return {"turnaround_p50_ms": statistics.median(warm), "turnaround_p99_ms": warm[int(len(warm) * 0.99)]}


def _readiness(url: str) -> dict[str, float]:
    ready_ms, slowest_ms = [], []
    with requests.Session() as client:
        for _ in range(ROUNDS):
            began = time.perf_counter()
            details = client.get(f"{url}/ready?verbose", timeout=10).json()["details"]
            ready_ms.append((time.perf_counter() - began) * 1e3)
            slowest_ms.append(max(details[store]["latency_ms"] for store in STORES))
    return {
        "ready_p50_ms": statistics.median(ready_ms),
        "slowest_probe_p50_ms": statistics.median(slowest_ms),
    }


@contextmanager
def _bare(env: dict[str, str]) -> Iterator[tuple[str, float]]:
    """The URL of the bare endpoint, and the p50 of a no-op task's round trip in ms, while both run."""
    port = environment.free_port()
    python, bare_env = sys.executable, environment.foreign() | env
    gunicorn = [python, "-m", "gunicorn", "bench.bare:create_app()", "--no-control-socket", *GUNICORN_POOL]
    worker = [python, "-m", "celery", "-A", "bench.bare:noop_app", "worker", "-c", "2", "-l", "warning"]
    processes = [
        subprocess.Popen(argv, env=bare_env, cwd=environment.CHECKOUT, stderr=subprocess.DEVNULL)
        for argv in ([*gunicorn, "--bind", f"127.0.0.1:{port}"], [*worker, "-Q", "bench-noop"])
    ]
    try:
        url = f"http://127.0.0.1:{port}/"
        retry(stop=stop_after_delay(30), wait=wait_fixed(0.1), reraise=True)(requests.get)(url, timeout=5)
        yield url, _noop_round_trip_ms(env)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def _noop_round_trip_ms(env: dict[str, str]) -> float:
    client = Celery("bench", broker=env["CIFT_BROKER_URL"], backend=env["CIFT_CACHE_URL"])
    elapsed_ms = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        client.send_task("bench.noop", queue="bench-noop").get(timeout=30)
        elapsed_ms.append((time.perf_counter() - began) * 1e3)
    return statistics.median(elapsed_ms[ROUNDS // 4 :])
