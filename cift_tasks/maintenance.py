"""The upkeep that beat asks for: nothing accepted is lost, nothing is kept for ever."""

from collections.abc import Callable
from uuid import UUID

from sqlalchemy.orm import Session

from cift_core.errors import StoreUnavailable
from cift_core.models import Backtest, Ingestion, JobColumns
from cift_core.services import idempotency, ingestions, jobs
from cift_tasks.app import app, stores
from cift_tasks.backtests import enqueue_backtest
from cift_tasks.ingestions import enqueue_ingestion

Enqueue = Callable[[Session, UUID], None]
KINDS: tuple[tuple[type[JobColumns], str, Enqueue], ...] = (
    (Backtest, "backtests", enqueue_backtest),
    (Ingestion, "ingestion", enqueue_ingestion),
)


@app.task(name="cift.maintenance.requeue_stale", throws=StoreUnavailable)  # type: ignore[untyped-decorator]
def requeue_stale() -> None:
    """Free what a lost worker held, end what is out of attempts, send what the broker lost."""
    opened = stores()
    for model, queue, enqueue in KINDS:
        with opened.postgres.transaction() as session:
            jobs.requeue_stale(session, model)
            ids = jobs.take_undispatched(
                session,
                model,
                queued_too_long_s=opened.settings.queued_too_long_s,
                waiting_messages=opened.broker.queue_length(queue),
            )
            for job_id in ids:
                enqueue(session, job_id)


@app.task(name="cift.maintenance.remove_uploads", throws=StoreUnavailable)  # type: ignore[untyped-decorator]
def remove_uploads() -> None:
    """Remove the uploaded files whose ingestion has ended, or never came to be."""
    opened = stores()
    with opened.postgres.transaction() as session:
        ingestions.remove_ended_uploads(session, opened.settings)


@app.task(name="cift.maintenance.forget_answers", throws=StoreUnavailable)  # type: ignore[untyped-decorator]
def forget_answers() -> None:
    """Remove the answers kept for an `Idempotency-Key` once they are older than a day."""
    with stores().postgres.transaction() as session:
        idempotency.forget_expired(session)
