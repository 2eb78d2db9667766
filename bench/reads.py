"""A million bars into the engine's arrays: from QuestDB, and from the files where they are kept.

`python -m bench.reads` prints the figures. The bars are those of `bench.ingest`, again and again in time.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import requests
from requests.auth import HTTPBasicAuth

from bench import ingest_files
from cift_core.engine import Bars
from cift_core.services.bar_cache import read_kept_bars
from cift_core.services.bars import read_bars
from cift_core.settings import load_settings
from cift_core.stores import Stores, open_stores
from cift_core.stores.array_files import ArrayFiles
from cift_core.stores.questdb_batches import Columns
from deploy.native.stack import Stack

BARS = 1_000_000
ROUNDS = 7
KEPT_BYTES = 2**30
SYMBOL = "MILLION"
_EXPORT = (
    "SELECT cast(timestamp AS long) AS time, open, high, low, close, volume, adjusted_close FROM bars"
    " WHERE symbol = 'MILLION' AND interval = '1m' ORDER BY timestamp"
)

_SAMPLED = (
    "SELECT cast(opened AS long) AS time, open, high, low, close, volume FROM (SELECT timestamp AS opened,"
    " first(open) AS open, max(high) AS high, min(low) AS low, last(close) AS close, nsum(volume) AS volume"
    " FROM bars WHERE symbol = 'MILLION' AND interval = '1m' SAMPLE BY 1h ALIGN TO CALENDAR)"
)


def measure() -> dict[str, float]:
    """Milliseconds (median) for a million bars, on servers of their own."""
    folder = Path(tempfile.mkdtemp(prefix="cift-bench-"))
    _, bars = ingest_files.prepare(folder)
    stack = Stack(folder / "stack", {"CIFT_DATA_DIR": str(folder)})
    stack.up(stores_only=True)
    try:
        os.environ.update(stack.env)
        stores = open_stores(load_settings(), "worker")
        stores = replace(stores, arrays=ArrayFiles(folder / "arrays", KEPT_BYTES))
        _store(stores, ingest_files.frame(bars))
        asked: tuple[Any, ...] = (SYMBOL, "1m", None, None, "raw")

        def bare() -> int:
            return len(_bare_export(stores.settings.questdb_http_url)[0])

        def read() -> int:
            return len(read_bars(stores.questdb, *asked, max_bars=BARS).bars)

        def kept() -> int:
            return len(read_kept_bars(stores, *asked, max_bars=BARS).bars)

        assert kept() == BARS, "read, and kept"
        names = {"bare_export_ms": bare, "bars_read_ms": read, "bars_kept_ms": kept}
        figures = {"reads_real": float(ingest_files.are_real())} | _medians(names) | _candles(stores)
        stores.close()
        return figures
    finally:
        stack.delete()


def rows(f: dict[str, float]) -> list[tuple[str, str, str, str]]:
    """The rows of the table of results."""
    names = (
        ("read from QuestDB", "bars_read_ms", 1.3),
        ("from the files where they are kept", "bars_kept_ms", 0.1),
    )
    others = f"{f['days_differing']:.0f} of {f['days']:.0f} days"
    hours = (
        f"hours of 1,000,000 minutes, over QuestDB's `SAMPLE BY` (with another volume on {others})",
        f"{f['hours_built_ms']:.1f} ms / {f['hours_sampled_ms']:.1f} ms",
        f"{f['hours_built_ms'] / f['hours_sampled_ms']:.1f}×",
        "equal volumes",
    )
    return [hours] + [
        (
            f"1,000,000 bars into the engine's arrays, {what}, over the bare Parquet export"
            + ("" if f["reads_real"] else " (bars of the sample)"),
            f"{f[name]:.1f} ms / {f['bare_export_ms']:.1f} ms",
            f"{f[name] / f['bare_export_ms']:.2f}×",
            f"≤ {goal}×",
        )
        for what, name, goal in names
    ]


def _medians(reads: dict[str, Callable[[], int]]) -> dict[str, float]:
    """The median of each, taken in turns so that all of them meet the same machine."""
    times: dict[str, list[float]] = {name: [] for name in reads}
    for _ in range(ROUNDS):
        for name, read in reads.items():
            began = time.perf_counter()
            assert read() == BARS
            times[name].append((time.perf_counter() - began) * 1_000)
    return {name: median(found[1:]) for name, found in times.items()}


def _candles(stores: Stores) -> dict[str, float]:
    """Milliseconds (median) for hours of the million bars, ours and QuestDB's; which days differ."""

    def built(interval: str) -> Bars:
        return read_bars(stores.questdb, SYMBOL, interval, None, None, "raw", max_bars=BARS).bars

    def sampled(interval: str) -> list[np.ndarray]:
        columns = stores.questdb.export(_SAMPLED.replace("1h", interval)).columns
        return [column.to_numpy() for column in columns]

    times: dict[str, list[float]] = {"hours_built_ms": [], "hours_sampled_ms": []}
    for _ in range(ROUNDS):
        for name, read in (("hours_built_ms", built), ("hours_sampled_ms", sampled)):
            began = time.perf_counter()
            read("1h")
            times[name].append((time.perf_counter() - began) * 1_000)
    ours, theirs = built("1d"), sampled("1d")
    assert len(ours) == len(theirs[0])
    return {name: median(found[1:]) for name, found in times.items()} | {
        "days": float(len(ours)),
        "days_differing": float(np.sum(np.asarray(ours.volume) != theirs[-1])),
    }


def _bare_export(http_url: str) -> list[np.ndarray]:
    """QuestDB's answer as NumPy columns, with nothing of ours."""
    parts = urlsplit(http_url)
    auth = HTTPBasicAuth(unquote(parts.username or ""), unquote(parts.password or ""))
    address = f"{parts.scheme}://{parts.hostname}:{parts.port}/exp"
    answer = requests.get(address, params={"query": _EXPORT, "fmt": "parquet"}, auth=auth, timeout=60)
    answer.raise_for_status()
    return [column.to_numpy() for column in pq.read_table(pa.BufferReader(answer.content)).columns]


def _store(stores: Stores, frame: Any) -> None:
    """The frame's bars, one a minute from 2000 on, so often that they are a million."""
    times = np.datetime64("2000-01-01", "us") + np.arange(BARS) * np.timedelta64(1, "m")
    names = ("open", "high", "low", "close", "volume")
    columns = {name: pa.array(np.resize(frame[name].to_numpy(np.float64), BARS)) for name in names}
    stores.questdb.insert(Columns("bars", times, columns, {"symbol": SYMBOL, "interval": "1m"}))
    stores.questdb.wait_visible("bars")


if __name__ == "__main__":
    for name, value in measure().items():
        print(f"{name}: {value:.1f}")
