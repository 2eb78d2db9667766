"""The API under load: submits, a finished backtest, long lists, many clients at once."""

from __future__ import annotations

import json
import statistics
import threading
import time
from dataclasses import dataclass
from typing import Any

import psycopg
import requests

from bench import load
from deploy.native.stack import Stack

LOAD_S = 6.0
ROUNDS = 100
BURST_CLIENTS, BURST_SUBMITS = 40, 20
SHORT_LIST, LONG_LIST = 100, 100_000
_OTHERS = "DELETE FROM backtests WHERE owner_id = %s AND id <> %s"
_COPIES = """
    INSERT INTO backtests (id, owner_id, status, progress, request, attempt, releases, strategy, symbols,
                           tags, metrics, data, created_at, started_at, finished_at)
    SELECT gen_random_uuid(), %s, status, progress, request, attempt, releases, strategy, symbols, %s,
           metrics, data, created_at - n * interval '1 second', started_at, finished_at
    FROM backtests, generate_series(1, %s) AS n WHERE id = %s
"""


@dataclass(frozen=True)
class Api:
    """The API of a stack, its user's key, and a backtest as it is submitted."""

    stack: Stack
    session: requests.Session
    backtest: dict[str, Any]

    @property
    def url(self) -> str:
        """Of the backtests."""
        return f"{self.stack.env['CIFT_URL']}/api/v1/backtests"

    def load(self, path: str = "", *, submit: bool = False) -> load.Load:
        """GET of a path below the backtests, or a submit."""
        headers = (("Authorization", str(self.session.headers["Authorization"])),)
        if submit:
            return load.Load(self.url, "POST", headers, json.dumps(self.backtest), 202)
        return load.Load(self.url + path, headers=headers)


def measure(api: Api, select_one: load.Load, finished_id: str) -> dict[str, float]:
    """Requests a second, and the latencies of lists and of a burst."""
    load.run(select_one, seconds=1)
    bare = load.run(select_one, seconds=LOAD_S)
    reads = load.run(api.load(f"/{finished_id}"), seconds=LOAD_S)
    burst = _burst(api)
    with_worker = load.run(api.load(submit=True), seconds=LOAD_S)
    api.stack.stop("worker")
    submits = load.run(api.load(submit=True), seconds=LOAD_S)
    lists = _lists(api, finished_id)  # last: PostgreSQL clears away 100,000 rows for a while afterwards
    return {
        "select_one_per_s": bare.per_s,
        "reads_per_s": reads.per_s,
        "submits_per_s": submits.per_s,
        "submits_while_running_per_s": with_worker.per_s,
        "submit_p50_ms": submits.p50_ms,
        "submit_p99_ms": submits.p99_ms,
        **burst,
        **lists,
    }


def _burst(api: Api) -> dict[str, float]:
    """40 clients submit 20 backtests each; returns when all have succeeded.

    Raises:
        RuntimeError: a submit was not taken on, or a job did not succeed.
    """
    latencies_ms: list[float] = []
    refused: list[str] = []
    body = api.backtest | {"tags": ["burst"]}

    def client() -> None:
        with requests.Session() as session:
            session.headers.update(api.session.headers)
            for _ in range(BURST_SUBMITS):
                began = time.perf_counter()
                answer = session.post(api.url, json=body, timeout=60)
                latencies_ms.append((time.perf_counter() - began) * 1e3)
                if answer.status_code != 202:
                    refused.append(answer.text)

    clients = [threading.Thread(target=client) for _ in range(BURST_CLIENTS)]
    began = time.perf_counter()
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    expected = BURST_CLIENTS * BURST_SUBMITS
    while (succeeded := _count(api, "burst", "succeeded")) < expected:
        if refused or _count(api, "burst", "failed") or time.perf_counter() - began > 300:
            raise RuntimeError(f"{succeeded} of {expected} succeeded; refused: {refused[:1]}")
        time.sleep(0.5)
    latencies_ms.sort()
    return {
        "burst_submits": float(expected),
        "burst_p50_ms": statistics.median(latencies_ms),
        "burst_p99_ms": latencies_ms[int(len(latencies_ms) * 0.99)],
        "burst_done_s": time.perf_counter() - began,
    }


def _count(api: Api, tag: str, status: str) -> int:
    count, cursor = 0, None
    while True:
        query = {"tag": tag, "status": status, "limit": "500"} | ({"cursor": cursor} if cursor else {})
        page = api.session.get(api.url, params=query, timeout=60).json()
        count, cursor = count + len(page["items"]), page["next"]
        if cursor is None:
            return count


def _lists(api: Api, finished_id: str) -> dict[str, float]:
    """The first page of a list of 100 jobs and of one of 100,000."""
    env = api.stack.env
    owner_id = api.session.get(f"{env['CIFT_URL']}/api/v1/me", timeout=60).json()["id"]
    figures = {}
    with psycopg.connect(env["CIFT_POSTGRES_URL"], autocommit=True) as connection:
        for name, rows in (("short", SHORT_LIST), ("long", LONG_LIST)):
            connection.execute(_OTHERS, (owner_id, finished_id))
            connection.execute(_COPIES, (owner_id, ["copy"], rows - 1, finished_id))
            connection.execute("VACUUM ANALYZE backtests")
            figures[f"list_of_{name}_p50_ms"] = _page_p50_ms(api)
        connection.execute(_OTHERS, (owner_id, finished_id))
    return figures


def _page_p50_ms(api: Api) -> float:
    elapsed_ms = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        page = api.session.get(api.url, params={"limit": "50"}, timeout=60).json()
        elapsed_ms.append((time.perf_counter() - began) * 1e3)
        assert len(page["items"]) == 50
    return statistics.median(elapsed_ms)
