"""A real worker beside the test's servers, which knows odd jobs; no beat."""

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from uuid import UUID

import pytest
from celery import Celery
from sqlalchemy import func, select

from cift_core.models import Backtest
from cift_core.stores import Stores
from deploy.native.environment import CHECKOUT, foreign
from deploy.native.stack import Stack
from tests.conftest import QUICK
from tests.waiting import wait_for

QUEUES = "sweeps,maintenance"


@pytest.fixture(scope="module")
def worker(stack: Stack) -> Iterator[Celery]:
    """A Celery app to send to a worker process that is up."""
    argv = [sys.executable, "-m", "celery", "-A", "cift_tasks.app", "worker", "-I", "tests.tasks.odd_jobs"]
    argv += ["-n", "odd@%h", "-Q", QUEUES, "-c", "1", "--without-gossip", "--without-mingle"]
    env = foreign() | stack.env | QUICK | {"CIFT_DATA_DIR": str(CHECKOUT / "data")}
    log = (stack.root / "log" / "odd.log").open("wb")
    with (
        log,
        Celery("sender", broker=env["CIFT_BROKER_URL"], set_as_current=False) as sender,
        subprocess.Popen(argv, env=env, cwd=CHECKOUT, stdout=log, stderr=log) as process,
    ):
        try:
            here = [f"odd@{socket.gethostname()}"]
            wait_for(lambda: sender.control.ping(destination=here, timeout=0.5), what="the worker is up")
            yield sender
        finally:
            process.terminate()


@pytest.fixture
def odd_job(worker: Celery, stores: Stores, owner_id: UUID) -> Callable[[str], UUID]:
    """Makes a job that goes wrong in a given way, and sends it."""

    def make(how: str) -> UUID:
        with stores.postgres.transaction() as session:
            job = Backtest(
                owner_id=owner_id,
                request={"how": how},
                strategy="odd",
                symbols=["T"],
                dispatched_at=func.now(),
            )
            session.add(job)
        send(worker, job.id)
        return job.id

    return make


def send(worker: Celery, job_id: UUID) -> None:
    worker.send_task("cift.test.odd", (str(job_id),), queue="sweeps", ignore_result=True)


def row(stores: Stores, job_id: UUID) -> Backtest:
    with stores.postgres.transaction() as session:
        return session.scalars(select(Backtest).where(Backtest.id == job_id)).one()


def once(stores: Stores, job_id: UUID, *states: str) -> Backtest:
    """The job's row once it is in one of these states."""

    def look() -> Backtest | None:
        found = row(stores, job_id)
        return found if found.status in states else None

    return wait_for(look, what=f"{job_id} is {states}")
