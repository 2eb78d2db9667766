"""The ingestion's task."""

from uuid import UUID

from celery import Task
from sqlalchemy.orm import Session

from cift_core.errors import StoreUnavailable
from cift_core.models import Ingestion
from cift_core.services import ingestion_runs, watched_folders
from cift_tasks.app import app, stores
from cift_tasks.jobs import enqueue, run_job


@app.task(name="cift.ingestions.run", bind=True)  # type: ignore[untyped-decorator]
def run_ingestion(self: Task, ingestion_id: str) -> None:
    """Run one ingestion."""
    run_job(self, Ingestion, ingestion_id, ingestion_runs.run)


@app.task(name="cift.maintenance.watch_folders", throws=StoreUnavailable)  # type: ignore[untyped-decorator]
def watch_folders() -> None:
    """Submit what is new in the watched folders."""
    opened = stores()
    for new in watched_folders.new_files(opened):
        with opened.postgres.transaction() as session:
            ingestion = watched_folders.submit(session, opened.settings, new)
            if ingestion is not None and ingestion.dispatched_at is not None:
                enqueue_ingestion(session, ingestion.id)


def enqueue_ingestion(session: Session, ingestion_id: UUID) -> None:
    """Send the ingestion to a worker once the session's unit of work is committed."""
    enqueue(session, run_ingestion, Ingestion, ingestion_id)
