"""The backtest's task."""

from uuid import UUID

from celery import Task
from sqlalchemy.orm import Session

from cift_core.models import Backtest
from cift_core.services import backtest_runs
from cift_tasks.app import app
from cift_tasks.jobs import enqueue, run_job


@app.task(name="cift.backtests.run", bind=True)  # type: ignore[untyped-decorator]
def run_backtest(self: Task, backtest_id: str) -> None:
    """Run one backtest."""
    run_job(self, Backtest, backtest_id, backtest_runs.run)


def enqueue_backtest(session: Session, backtest_id: UUID) -> None:
    """Send the backtest to a worker once the session's unit of work is committed."""
    enqueue(session, run_backtest, Backtest, backtest_id)
