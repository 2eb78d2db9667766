"""Work that goes wrong in every way a backtest could, run by a real worker in place of the real work."""

import os
import signal
import time
from typing import Any

from celery import Task

from cift_core.errors import InvalidInput, StoreUnavailable
from cift_core.models import Backtest
from cift_core.services.leases import Lease
from cift_core.stores import Stores
from cift_tasks.app import app
from cift_tasks.jobs import run_job

SECRET = "postgresql://cift:hunter2@127.0.0.1"


ERRORS: dict[str, Exception] = {
    "defect": ValueError(SECRET),
    "refused": InvalidInput("no_bars", "no bars for T 1d; available: AAPL."),
    "memory": MemoryError(),
}


def go_wrong(stores: Stores, lease: Lease) -> dict[str, Any]:
    """What the row's request asks for."""
    how, attempt = lease.claim.request["how"], lease.claim.attempt
    if how in ERRORS:
        raise ERRORS[how]
    if how == "store away" and attempt < 3:
        raise StoreUnavailable("questdb_unavailable", SECRET)
    if how == "told to leave" and attempt == 1:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    while how == "until cancelled":
        lease.check()
        time.sleep(0.01)
    return {"result_attempt": 2**40} if how == "result that does not fit" else {}


@app.task(name="cift.test.odd", bind=True)  # type: ignore[untyped-decorator]
def odd(self: Task, job_id: str) -> None:
    """Run an odd job."""
    run_job(self, Backtest, job_id, go_wrong)
