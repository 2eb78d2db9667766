"""What every job's task does around its work: send, claim, lease, end."""

import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from celery import Task
from celery.exceptions import SoftTimeLimitExceeded
from kombu.exceptions import OperationalError
from sqlalchemy.orm import Session

from cift_core.errors import CiftError, JobCancelled, LeaseLost, StoreUnavailable
from cift_core.logs import bind_context, clear_context, logger
from cift_core.models import JobColumns, JobStatus
from cift_core.services import dispatch, jobs
from cift_core.services.jobs import Claim
from cift_core.services.leases import Lease
from cift_core.stores import Stores
from cift_core.stores.postgres import after_commit, transaction
from cift_tasks.app import stores

log = logger(__name__)
Work = Callable[[Stores, Lease], dict[str, Any]]
RETRIES = 5
BROKER_PAUSE_S = 5.0
_broker = {"away_until_s": 0.0}  # time.monotonic


def enqueue(session: Session, task: Task, model: type[JobColumns], job_id: UUID) -> None:
    """Send the task once the session's unit of work is committed.

    A broker that does not take the message is no error: the row is queued, and `requeue_stale` sends it.
    """

    def send() -> None:
        if not _sent(task, job_id):
            with transaction(session):
                dispatch.mark_undispatched(session, model, job_id)

    after_commit(session, send)


def _sent(task: Task, job_id: UUID) -> bool:
    """Whether the broker took the message; when it did not, nobody waits for it in the next seconds."""
    if time.monotonic() < _broker["away_until_s"]:
        return False
    try:
        task.apply_async((str(job_id),))
    except OperationalError:
        _broker["away_until_s"] = time.monotonic() + BROKER_PAUSE_S
        log.warning("job.not_sent", job_id=str(job_id), exc_info=True)
        return False
    return True


def run_job(task: Task, model: type[JobColumns], job_id: str, work: Work) -> None:
    """Claim the job, do its work under a lease, and end its row.

    `work` returns the columns to store with the success. This is the edge at which an unforeseen exception
    becomes a failed job; only `StoreUnavailable` is retried.
    """
    bind_context(task_id=task.request.id, job_id=job_id)
    opened = stores()
    lease_s = opened.settings.lease_s
    try:
        with opened.postgres.transaction() as session:
            claim = jobs.claim(session, model, UUID(job_id), lease_s=lease_s, task_id=task.request.id)
        if claim is None:
            log.info("job.walked_away")
            return
        with Lease(opened.postgres, claim, lease_s) as lease:
            _work_and_end(opened, task, claim, lease, work)
    except StoreUnavailable as error:
        log.warning("job.retried", exc_info=True)
        if task.request.retries < RETRIES:
            raise task.retry(exc=error, countdown=min(2**task.request.retries, 30)) from error
        # the row is queued: requeue_stale sends it again when the store may be back
    finally:
        clear_context()


def _work_and_end(opened: Stores, task: Task, claim: Claim, lease: Lease, work: Work) -> None:
    try:
        values: dict[str, Any] = {**work(opened, lease), "progress": 1.0}
        lease.check()
        _finish(opened, task, claim, JobStatus.SUCCEEDED, values)
    except LeaseLost:
        log.warning("job.lease_lost")
    except JobCancelled:
        _finish(opened, task, claim, JobStatus.CANCELLED, {})
    except StoreUnavailable:
        _release(opened, claim)
        raise
    except Exception as error:  # noqa: BLE001  the edge
        _finish(opened, task, claim, JobStatus.FAILED, {"error": _failure(error)})
    except BaseException:
        _release(opened, claim)  # the worker is told to leave
        raise


def _finish(opened: Stores, task: Task, claim: Claim, status: JobStatus, values: dict[str, Any]) -> None:
    with opened.postgres.transaction() as session:
        ended = jobs.finish(session, claim, status, **values)
        if ended and ended.next_id:
            enqueue(session, task, claim.model, ended.next_id)
    if ended:
        log.info("job.ended", status=status, error=values.get("error"))
    else:
        log.warning("job.lease_lost")


def _release(opened: Stores, claim: Claim) -> None:
    with opened.postgres.transaction() as session:
        released = jobs.release(session, claim)
    if not released:
        log.warning("job.lease_lost")


def _failure(error: Exception) -> dict[str, str]:
    """What the job's row says of the error: a code and a sentence; the traceback goes to the log."""
    if isinstance(error, CiftError):
        return {"code": error.code, "detail": error.message}
    log.error("job.failed", exc_info=error)
    if isinstance(error, SoftTimeLimitExceeded):
        return {"code": "time_limit", "detail": "The job took too long; ask for less data at a time."}
    if isinstance(error, MemoryError):
        return {
            "code": "out_of_memory",
            "detail": "The job needs more memory than there is; ask for less data.",
        }
    return {
        "code": "internal_error",
        "detail": "An error on our side; the operators find it in the log under this job's id.",
    }
