"""Files into QuestDB: rows a second over the raw client, by the file's size, and a worker's peak memory.

`python -m bench.ingest` prints the figures. `CIFT_BENCH_DATA` names a folder with the two real files that
are measured; without it two smaller ones of the sample data are, and the rows of the table say so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

from bench import ingest_files
from bench.ingest_files import Case
from bench.memory import peak_mib
from cift_core.models import Ingestion, JobStatus, User
from cift_core.services import ingestion_runs, ingestions, jobs
from cift_core.services.leases import Lease
from cift_core.settings import load_settings
from cift_core.stores import Stores, open_stores
from deploy.native import environment
from deploy.native.stack import Stack

ROUNDS = 5
SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
LARGE_BYTES = 10**9
LEASE_S = 60.0


@dataclass(frozen=True)
class Desk:
    """Where one user's files are brought in, in this process, as a worker does it."""

    stores: Stores
    owner_id: Any

    def ingest(self, case: Case) -> Ingestion:
        """The ingestion of the case's file, run to its end."""
        with self.stores.postgres.transaction() as session:
            request = case.request()
            job = ingestions.submit(session, self.stores.settings, self.owner_id, request)
        with self.stores.postgres.transaction() as session:
            claim = jobs.claim(session, Ingestion, job.id, lease_s=LEASE_S, task_id="bench")
        assert claim is not None
        with Lease(self.stores.postgres, claim, LEASE_S) as lease:
            values = ingestion_runs.run(self.stores, lease)
        with self.stores.postgres.transaction() as session:
            assert jobs.finish(session, claim, JobStatus.SUCCEEDED, **values)
            return ingestions.get(session, self.owner_id, job.id)

    def empty(self, table: str) -> None:
        """Remove all rows of a table."""
        self.stores.questdb.execute(f"TRUNCATE TABLE {table}")
        self.stores.questdb.wait_visible(table)


def measure() -> dict[str, float]:
    """Rows a second and MiB, on servers of their own; `ingest_real` is 0 without the real files."""
    folder = Path(tempfile.mkdtemp(prefix="cift-bench-"))
    data = folder / "data"
    data.mkdir(mode=0o755)
    quotes, bars = ingest_files.prepare(data)
    stack = Stack(folder / "stack", {"CIFT_DATA_DIR": str(data)})
    stack.up(stores_only=True)
    try:
        os.environ.update(stack.env)
        desk = open_desk()
        figures = {"ingest_real": float(ingest_files.are_real())}
        for name, case in (("quotes", quotes), ("bars", bars)):
            figures |= _over_raw(desk, name, case)
        figures |= _by_size(desk, quotes)
        figures |= _large(desk, quotes)
        desk.stores.close()
        return figures
    finally:
        stack.delete()


def open_desk() -> Desk:
    """A new user's desk, on the stores that the environment names."""
    stores = open_stores(load_settings(), "worker")
    with stores.postgres.transaction() as session:
        user = User(email=f"{uuid4()}@example.com", password_hash="-")  # noqa: S106  none
        session.add(user)
    return Desk(stores, user.id)


def _over_raw(desk: Desk, name: str, case: Case) -> dict[str, float]:
    """Of the same file: the raw client with its rows in memory, its ingestion, and its ingestion again."""
    raw, whole, again = list[float](), list[float](), list[float]()
    frame = ingest_files.frame(case)
    for _ in range(ROUNDS):
        raw.append(len(frame) / ingest_files.send_raw(desk.stores, case, frame))
        desk.empty(case.kind)
        for rates in (whole, again):
            began = time.perf_counter()
            job = desk.ingest(case)
            rates.append(len(frame) / (time.perf_counter() - began))
            assert job.rows_read == len(frame), job.rows_read
        assert job.rows_duplicate == len(frame) - job.rows_rejected
        desk.empty(case.kind)
    figures = {"raw": median(raw), "file": median(whole), "again": median(again)}
    return {f"ingest_{name}_{what}_per_s": rate for what, rate in figures.items()} | {
        f"ingest_{name}_rows": float(len(frame))
    }


def _by_size(desk: Desk, case: Case) -> dict[str, float]:
    figures = {}
    for count in SIZES:
        made = ingest_files.longer(case, rows=count)
        began = time.perf_counter()
        job = desk.ingest(made)
        figures[f"ingest_{count}_per_s"] = job.rows_read / (time.perf_counter() - began)
        desk.empty(case.kind)
    return figures


def _large(desk: Desk, case: Case) -> dict[str, float]:
    """A file of 1 GB in a process of its own: its peak memory, and the same after a file of 10,000 rows."""
    small = _in_new_process(ingest_files.longer(case, rows=SIZES[0]))
    desk.empty(case.kind)
    large = _in_new_process(ingest_files.longer(case, size_bytes=LARGE_BYTES))
    desk.empty(case.kind)
    return {
        "ingest_small_peak_mib": small["peak_mib"],
        "ingest_large_peak_mib": large["peak_mib"],
        "ingest_large_rows": large["rows"],
        "ingest_large_per_s": large["rows"] / large["seconds"],
    }


def _in_new_process(case: Case) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.ingest", json.dumps(vars(case), default=str)]
    output = subprocess.run(command, cwd=environment.CHECKOUT, stdout=subprocess.PIPE, check=True).stdout
    figures: dict[str, float] = json.loads(output)
    return figures


def _here(case: Case) -> dict[str, float]:
    """The ingestion in this process, which has imported what a worker does."""
    import cift_tasks.app  # noqa: F401, PLC0415  measured: what it takes

    desk = open_desk()
    began = time.perf_counter()
    job = desk.ingest(case)
    seconds = time.perf_counter() - began
    desk.stores.close()
    return {"rows": job.rows_read, "seconds": seconds, "peak_mib": peak_mib()}


def rows(f: dict[str, float]) -> list[tuple[str, str, str, str]]:
    """The figures as rows of the table."""
    found = [_row_over_raw(f, name) for name in ("quotes", "bars")]
    by_size = [f[f"ingest_{count}_per_s"] / 1e3 for count in SIZES]
    small_mb, large_mb = (f[f"ingest_{name}_peak_mib"] * 1.048576 for name in ("small", "large"))
    return [
        *found,
        (
            "file → visible rows by rows in the file (10⁴, 10⁵, 10⁶, 10⁷: the same rows, shifted in time)",
            " / ".join(f"{rate:,.0f}" for rate in by_size) + " thousand a second",
            f"{by_size[-1] / by_size[-2]:.2f}× from 10⁶ to 10⁷",
            "1×",
        ),
        (
            f"peak memory of a worker with a CSV file of 1 GB ({f['ingest_large_rows']:,.0f} rows)",
            f"{large_mb:.0f} MB, {f['ingest_large_per_s'] / 1e3:,.0f} thousand rows a second",
            f"{large_mb - small_mb:.0f} MB above a file of 10⁴ rows",
            "< 400 MB",
        ),
    ]


def _row_over_raw(f: dict[str, float], name: str) -> tuple[str, str, str, str]:
    raw, whole, again = (f[f"ingest_{name}_{what}_per_s"] for what in ("raw", "file", "again"))
    what = {"quotes": "quotes", "bars": "minute bars"}[name] if f["ingest_real"] else f"sample rows ({name})"
    return (
        f"{f[f'ingest_{name}_rows']:,.0f} {what}: gzipped CSV → visible, over `dataframe` of them in memory",
        f"{whole / 1e3:,.0f} / {raw / 1e3:,.0f} thousand a second; the file again: {again / 1e3:,.0f}",
        f"{whole / raw:.2f}×",
        "≥ 0.9×",
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(_here(Case(**json.loads(sys.argv[1])))))
    else:
        measured = measure()
        print(json.dumps(measured, indent=2))
        for row in rows(measured):
            print(f"| {' | '.join(row)} |")
