"""Ingestions as their owners see them: submitted, listed, read, cancelled, their rejects shown."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from cift_core.clock import utc_now
from cift_core.errors import CiftError
from cift_core.models import FINAL, Ingestion, IngestionFile, IngestionReject
from cift_core.services import jobs
from cift_core.services.dispatch import moment_of_dispatch
from cift_core.services.ingestion_files import page_of_files
from cift_core.services.ingestion_requests import full_request
from cift_core.services.paging import decode_cursor, encode_cursor
from cift_core.settings import Settings
from cift_core.stores.files import Upload, list_uploads, remove_upload

UPLOAD_GRACE = timedelta(hours=1)  # a submit that has stored its file but not yet its row


def submit(
    session: Session, settings: Settings, owner_id: UUID, request: object, upload: Upload | None = None
) -> Ingestion:
    """The queued ingestion; its stored request has every default filled in, the columns found included.

    When its owner has as many in flight as may be it waits, with no `dispatched_at`.

    `request` has the shape of `POST /ingestions` and is checked against the first lines of the file. An
    upload is the ingestion's from here on; when the request is refused, it is removed.

    Raises:
        InvalidInput: with every wrong field, as a JSON pointer into the request (/file is the upload).
        StoreUnavailable: the disk does not answer.
    """
    try:
        filled = full_request(settings, request, upload)
    except CiftError:
        if upload is not None:
            remove_upload(settings, upload.id)
        raise
    ingestion = Ingestion(
        owner_id=owner_id,
        request=filled,
        upload_sha256=None if upload is None else upload.sha256,
        dispatched_at=moment_of_dispatch(Ingestion, owner_id, settings.max_jobs_in_flight),
    )
    if upload is not None:
        ingestion.id = upload.id
    session.add(ingestion)
    session.flush()
    return ingestion


def get(session: Session, owner_id: UUID, ingestion_id: UUID) -> Ingestion:
    """The owner's ingestion.

    Raises:
        NotFound: no such ingestion of this owner.
    """
    return jobs.get(session, Ingestion, owner_id, ingestion_id)


def list_ingestions(
    session: Session,
    owner_id: UUID,
    *,
    status: str | None = None,
    created_after: datetime | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> tuple[list[Ingestion], str | None]:
    """A page of the owner's ingestions, newest first, and the cursor of the next page or None."""
    query = select(Ingestion).where(Ingestion.owner_id == owner_id)
    if status is not None:
        query = query.where(Ingestion.status == status)
    if created_after is not None:
        query = query.where(Ingestion.created_at > created_after)
    return jobs.page(session, Ingestion, query, cursor, limit)


def cancel(session: Session, owner_id: UUID, ingestion_id: UUID) -> Ingestion:
    """The ingestion, cancelled or about to be; bars already written stay. Idempotent.

    Raises:
        NotFound: no such ingestion of this owner.
    """
    return jobs.request_cancel(session, Ingestion, owner_id, ingestion_id)


def list_files(
    session: Session, owner_id: UUID, ingestion_id: UUID, *, cursor: str | None = None, limit: int = 50
) -> tuple[list[IngestionFile], str | None]:
    """A page of the ingestion's files with the balance of each, and the cursor of the next page.

    Raises:
        NotFound: no such ingestion of this owner.
        InvalidInput: the cursor is none of this list.
    """
    return page_of_files(session, get(session, owner_id, ingestion_id).id, cursor=cursor, limit=limit)


def list_rejects(
    session: Session, owner_id: UUID, ingestion_id: UUID, *, cursor: str | None = None, limit: int = 50
) -> tuple[list[IngestionReject], str | None]:
    """A page of what the latest attempt refused, in the order of the file, and the cursor of the next page.

    Raises:
        NotFound: no such ingestion of this owner.
        InvalidInput: the cursor is none of this list.
    """
    ingestion = get(session, owner_id, ingestion_id)
    query = select(IngestionReject).where(
        IngestionReject.ingestion_id == ingestion_id, IngestionReject.attempt == ingestion.attempt
    )
    if cursor is not None:
        (last_id,) = decode_cursor(cursor, int)
        query = query.where(IngestionReject.id > last_id)
    found = list(session.scalars(query.order_by(IngestionReject.id).limit(limit + 1)))
    return found[:limit], encode_cursor(found[limit - 1].id) if len(found) > limit else None


def remove_ended_uploads(session: Session, settings: Settings) -> int:
    """How many uploaded files were removed: those of jobs that ended, and old ones that never got a job."""
    written_at = list_uploads(settings)
    rows = session.execute(select(Ingestion.id, Ingestion.status).where(Ingestion.id.in_(written_at)))
    status = {row.id: row.status for row in rows}
    abandoned = utc_now() - UPLOAD_GRACE
    removed = 0
    for upload_id, moment in written_at.items():
        if status[upload_id] in FINAL if upload_id in status else moment < abandoned:
            remove_upload(settings, upload_id)
            removed += 1
    return removed
