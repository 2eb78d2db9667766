"""A closed-loop HTTP load: so many clients, each sending its next request when the last is answered."""

from __future__ import annotations

import http.client
import multiprocessing
import threading
import time
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Load:
    """One request, repeated: `body` is sent as JSON where there is one."""

    url: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: str | None = None
    expected: int = 200


@dataclass(frozen=True)
class Measured:
    """Requests a second over all clients, and the latencies of a request in milliseconds."""

    per_s: float
    p50_ms: float
    p99_ms: float


def run(load: Load, *, seconds: float, processes: int = 2, threads: int = 8) -> Measured:
    """What `processes` × `threads` keep-alive clients got in `seconds`.

    Raises:
        RuntimeError: an answer had another status than expected.
    """
    context = multiprocessing.get_context("fork")
    results: multiprocessing.Queue[list[float] | str] = context.Queue()
    children = [
        context.Process(target=_process, args=(load, seconds, threads, results)) for _ in range(processes)
    ]
    began = time.perf_counter()
    for child in children:
        child.start()
    parts = [results.get() for _ in children]
    elapsed_s = time.perf_counter() - began
    for child in children:
        child.join()
    if wrong := [part for part in parts if isinstance(part, str)]:
        raise RuntimeError(wrong[0])
    latencies = sorted(latency for part in parts if not isinstance(part, str) for latency in part)
    return Measured(
        per_s=len(latencies) / elapsed_s,
        p50_ms=latencies[len(latencies) // 2] * 1e3,
        p99_ms=latencies[int(len(latencies) * 0.99)] * 1e3,
    )


def _process(
    load: Load, seconds: float, threads: int, results: multiprocessing.Queue[list[float] | str]
) -> None:
    latencies: list[float] = []
    wrong: list[str] = []
    clients = [
        threading.Thread(target=_client, args=(load, seconds, latencies, wrong)) for _ in range(threads)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    results.put(wrong[0] if wrong else latencies)


def _client(load: Load, seconds: float, latencies: list[float], wrong: list[str]) -> None:
    parts = urlsplit(load.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    headers = dict(load.headers) | ({"Content-Type": "application/json"} if load.body else {})
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        connection.request(load.method, path, load.body, headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != load.expected:
            wrong.append(f"{load.method} {path}: {answer.status} {content[:500].decode(errors='replace')}")
            return
        latencies.append(time.perf_counter() - began)
    connection.close()
