"""The upkeep that beat asks for: nothing accepted is lost, nothing is kept for ever."""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from cift_core.clock import utc_now
from cift_core.errors import StoreUnavailable
from cift_core.logs import logger
from cift_core.models import Backtest, Ingestion, JobColumns
from cift_core.services import (
    alerts,
    audit_seals,
    dispatch,
    idempotency,
    ingestions,
    instrument_catalog,
    jobs,
    retention,
)
from cift_core.stores.questdb_imports import remove_left_files
from cift_tasks.app import app, stores
from cift_tasks.backtests import enqueue_backtest
from cift_tasks.ingestions import enqueue_ingestion

log = logger(__name__)
SEALS_PER_RUN = 20  # the next run goes on; this one ends well before its time limit
ALERTS_KEPT = timedelta(days=90)  # as long as the probes in QuestDB
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
            ids = dispatch.take_undispatched(
                session,
                model,
                queued_too_long_s=opened.settings.queued_too_long_s,
                waiting_messages=opened.broker.queue_length(queue),
                max_in_flight=opened.settings.max_jobs_in_flight,
            )
            for job_id in ids:
                enqueue(session, job_id)


@app.task(name="cift.maintenance.remove_uploads", throws=StoreUnavailable)  # type: ignore[untyped-decorator]
def remove_uploads() -> None:
    """Remove the uploaded files whose ingestion ended, or never came to be, and what dead workers left."""
    opened = stores()
    if opened.settings.questdb_import_dir is not None:
        remove_left_files(opened.settings.questdb_import_dir)
    with opened.postgres.transaction() as session:
        ingestions.remove_ended_uploads(session, opened.settings)


@app.task(name="cift.maintenance.forget_alerts", throws=StoreUnavailable)  # type: ignore[untyped-decorator]
def forget_alerts() -> None:
    """Remove the alerts that were resolved more than 90 days ago."""
    with stores().postgres.transaction() as session:
        alerts.forget_resolved(session, before=utc_now() - ALERTS_KEPT)


@app.task(name="cift.maintenance.forget_answers", throws=StoreUnavailable)  # type: ignore[untyped-decorator]
def forget_answers() -> None:
    """Remove the answers kept for an `Idempotency-Key` once they are older than a day."""
    with stores().postgres.transaction() as session:
        idempotency.forget_expired(session)


@app.task(name="cift.maintenance.seal_audit_trail", throws=StoreUnavailable)  # type: ignore[untyped-decorator]
def seal_audit_trail() -> None:
    """Seal what the audit trail has grown by, and log each seal: a copy outside of the database."""
    opened = stores()
    for _ in range(SEALS_PER_RUN):
        with opened.postgres.transaction() as session:
            seal = audit_seals.seal_next(session)
        if seal is None:
            return
        log.info("audit.sealed", seal_id=seal.id, rows=seal.rows, hash=seal.hash.hex())


@app.task(name="cift.maintenance.drop_old_series", throws=StoreUnavailable)  # type: ignore[untyped-decorator]
def drop_old_series() -> None:
    """Drop the trades and equity curves that are older than they are kept."""
    opened = stores()
    retention.drop_old_series(opened.questdb, utc_now(), opened.settings.series_kept_days)


@app.task(name="cift.maintenance.settle_instruments", throws=StoreUnavailable)  # type: ignore[untyped-decorator]
def settle_instruments() -> None:
    """Count again the instruments that a lost ingestion left uncounted."""
    instrument_catalog.settle_left(stores())
