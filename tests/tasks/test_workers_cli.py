"""`cift workers`, against a real worker that has a job in hand."""

import json
import socket
import subprocess
from collections.abc import Callable
from uuid import UUID

import pytest
from celery import Celery

from cift_core.models import Backtest
from cift_core.services import jobs
from cift_core.stores import Stores
from deploy.native.stack import Stack
from tests.tasks.conftest import once, row
from tests.web.test_cli import cift as run_cift

NAME = f"odd@{socket.gethostname()}"
Cift = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def cift(stack: Stack) -> Cift:
    def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return run_cift("workers", *arguments, env=stack.env | changes)

    return run


def test_a_drained_worker_ends_what_it_has_and_takes_no_more(
    cift: Cift, worker: Celery, stores: Stores, owner_id: UUID, odd_job: Callable[[str], UUID]
) -> None:
    running = odd_job("until cancelled")
    once(stores, running, "running")
    (shown,) = [one for one in json.loads(cift("ls", "--json").stdout) if one["name"] == NAME]
    assert (len(shown["in_hand"]), "sweeps" in shown["queues"]) == (1, True)
    busy = cift("drain", NAME, "--timeout", "0")
    assert (busy.returncode, "still run" in busy.stderr) == (1, True)
    later = odd_job("nothing")
    with stores.postgres.transaction() as session:
        jobs.request_cancel(session, Backtest, owner_id, running)
    drained = cift("drain", NAME, "--timeout", "30")
    assert drained.returncode == 0, drained.stderr
    assert row(stores, running).status == "cancelled"
    assert row(stores, later).status == "queued"
    assert cift("resume", NAME).returncode == 0
    once(stores, later, "succeeded")


def test_workers_that_are_not_there(cift: Cift, worker: Celery) -> None:
    unknown = cift("drain", "nobody@here")
    assert (unknown.returncode, NAME in unknown.stderr) == (1, True)
    unserved = cift("ls", CIFT_BROKER_URL="redis://127.0.0.1:9/0")
    assert (unserved.returncode, "broker does not answer" in unserved.stderr) == (3, True)
