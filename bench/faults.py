"""What a kill in the middle of a large ingestion leaves: `python -m bench.faults` prints the counts.

A file of 5,000,000 rows (of `CIFT_BENCH_DATA`, else of the sample) is brought in by the whole service, and at
a third of it QuestDB, or the worker, is killed with SIGKILL. Whatever is killed is started again.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import requests

from bench import ingest_files, service
from cift_core.settings import load_settings
from cift_core.stores import open_stores
from cift_core.stores.questdb import QuestDBPool
from deploy.native.stack import Stack

ROWS = 5_000_000
KILLED = ("nothing", "questdb", "worker")
SOON = {"CIFT_LEASE_S": "5", "CIFT_REQUEUE_INTERVAL_S": "1", "CIFT_QUEUED_TOO_LONG_S": "5"}
POLL_S = 0.05


def main() -> None:
    """Run each fault once on a service of its own, and print what its ingestion counted and QuestDB holds."""
    folder = Path(tempfile.mkdtemp(prefix="cift-faults-"))
    data = folder / "data"
    data.mkdir(mode=0o755)
    case = ingest_files.longer(ingest_files.prepare(data)[0], rows=ROWS)
    stack = Stack(folder / "stack", {"CIFT_DATA_DIR": str(data), **SOON, **service.UNLIMITED})
    stack.up()
    try:
        os.environ.update(stack.env)
        stores = open_stores(load_settings(), "cli")
        api = requests.Session()
        api.headers["Authorization"] = f"Bearer {service.api_key(stack.env)}"
        for name in KILLED:
            began = time.perf_counter()
            job = _ingest(stack, api, case.request(), name)
            seconds = round(time.perf_counter() - began, 1)
            print(json.dumps({"killed": name, "seconds": seconds, **job, **_held(stores.questdb, case.kind)}))
            stores.questdb.execute(f"TRUNCATE TABLE {case.kind}")
            stores.questdb.wait_visible(case.kind)
        stores.close()
    finally:
        stack.delete()


def _ingest(stack: Stack, api: requests.Session, request: dict[str, Any], killed: str) -> dict[str, Any]:
    url = stack.env["CIFT_URL"]
    answer = api.post(f"{url}/api/v1/ingestions", json=request, timeout=60)
    answer.raise_for_status()
    location, done = urljoin(url, answer.headers["Location"]), killed == "nothing"
    while True:
        job: dict[str, Any] = api.get(location, timeout=60).json()
        if job["status"] not in ("queued", "running"):
            names = ("status", "attempt", "rows_read", "rows_written", "rows_duplicate", "rows_rejected")
            return {name: job[name] for name in names}
        if not done and job["rows_read"] > ROWS / 3:
            stack.kill(killed)
            done = True
        time.sleep(POLL_S)


def _held(questdb: QuestDBPool, table: str) -> dict[str, int]:
    number = {"quotes": "ordinal", "ticks": "trade_id"}[table]
    ((rows, keys),) = questdb.fetch(
        f"SELECT sum(n), count() FROM (SELECT timestamp, symbol, {number}, count() n FROM {table}"  # noqa: S608
        f" GROUP BY timestamp, symbol, {number})"
    )
    return {"questdb_rows": int(rows), "questdb_different_keys": int(keys)}


if __name__ == "__main__":
    main()
