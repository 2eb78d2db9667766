"""The whole service under test, and what may happen to its parts."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import redis
from celery import Celery
from sqlalchemy import select

from cift_core.models import Backtest, Ingestion
from cift_core.stores import Stores
from deploy.native.errors import StackError
from deploy.native.stack import Stack
from tests.processes import family, frozen, send_signal
from tests.waiting import wait_for


@dataclass(frozen=True)
class Service:
    """A running stack, and the way behind its API: its rows, its messages, its processes."""

    stack: Stack
    stores: Stores
    broker: redis.Redis
    tasks: Celery

    def backtest(self, job_id: str) -> Backtest:
        with self.stores.postgres.transaction() as session:
            return session.scalars(select(Backtest).where(Backtest.id == UUID(job_id))).one()

    def ingestion(self, job_id: str) -> Ingestion:
        with self.stores.postgres.transaction() as session:
            return session.scalars(select(Ingestion).where(Ingestion.id == UUID(job_id))).one()

    def running(self, job_id: str, attempt: int = 1) -> Backtest:
        """The backtest's row once a worker runs this attempt of it."""

        def look() -> Backtest | None:
            row = self.backtest(job_id)
            return row if row.status == "running" and row.attempt == attempt else None

        return wait_for(look, what=f"{job_id} runs its attempt {attempt}")

    def ingesting(self, job_id: str) -> None:
        """Return when a worker runs the ingestion."""
        wait_for(lambda: self.ingestion(job_id).status == "running", what=f"{job_id} runs")

    def send(self, name: str, *args: Any, queue: str = "backtests", task_id: str | None = None) -> None:
        """One message to the workers, as Celery sends it."""
        self.tasks.send_task(name, args, queue=queue, task_id=task_id, ignore_result=True)

    def log(self, name: str) -> str:
        return (self.stack.root / "log" / f"{name}.log").read_text(errors="replace")

    def leases_lost(self, job_id: str) -> int:
        """How many attempts at the job the worker gave up because another had its lease by then."""
        lines = self.log("worker").splitlines()
        return sum('"event": "job.lease_lost"' in line and job_id in line for line in lines)

    def assert_no_attempt_is_unexplained(self, job_id: str) -> None:
        """Each attempt but the last was handed back, or lost its lease (to a machine that is too busy)."""
        row = self.backtest(job_id)
        assert row.result_attempt == row.attempt
        wait_for(lambda: row.attempt == 1 + row.releases + self.leases_lost(job_id), timeout_s=10)

    @contextmanager
    def stopped(self, *names: str) -> Iterator[None]:
        """Without these programs, which answer again afterwards."""
        with ExitStack() as undo:
            for name in names:
                undo.callback(self.stack.start, name)
                self.stack.stop(name)
            yield

    @contextmanager
    def frozen(self, *names: str) -> Iterator[None]:
        """With these programs alive and mute (SIGSTOP); they answer again afterwards."""
        with frozen(*(self.stack.pid(name) for name in names)):
            yield
        for name in names:
            self.stack.wait_until_ready(name)

    def kill(self, name: str) -> None:
        """kill -9 of a program and all its processes; returns when the supervisor has started it again."""
        before = self.stack.pid(name)
        processes = family(before)
        for pid in processes:
            send_signal(pid, signal.SIGKILL)
        wait_for(lambda: self._new_pid(name, before), what=f"{name} is started again")
        self.stack.wait_until_ready(name)

    def kill_children(self, name: str) -> None:
        """kill -9 of the processes that a worker runs its tasks in."""
        parent = self.stack.pid(name)
        children = [pid for pid in family(parent) if pid != parent]
        assert children
        for pid in children:
            send_signal(pid, signal.SIGKILL)

    def _new_pid(self, name: str, before: int) -> bool:
        try:
            return self.stack.pid(name) != before
        except StackError:
            return False
