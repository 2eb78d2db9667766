"""The ingestion's task."""

from uuid import UUID

from celery import Task
from sqlalchemy.orm import Session

from cift_core.models import Ingestion
from cift_core.services import ingestion_runs
from cift_tasks.app import app
from cift_tasks.jobs import enqueue, run_job


@app.task(name="cift.ingestions.run", bind=True)  # type: ignore[untyped-decorator]
def run_ingestion(self: Task, ingestion_id: str) -> None:
    """Run one ingestion."""
    run_job(self, Ingestion, ingestion_id, ingestion_runs.run)


def enqueue_ingestion(session: Session, ingestion_id: UUID) -> None:
    """Send the ingestion to a worker once the session's unit of work is committed."""
    enqueue(session, run_ingestion, Ingestion, ingestion_id)
