"""/ingestions: bring market data in, see how it went and what was refused."""

from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar, cast
from uuid import UUID

from flask import Response, g, request
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import UnsupportedMediaType

from cift_core.errors import FieldError, InvalidInput, did_you_mean
from cift_core.models import Ingestion
from cift_core.services import idempotency
from cift_core.services import ingestions as service
from cift_core.services.ingestion_requests import as_asked
from cift_core.stores.files import Upload, remove_upload, store_upload
from cift_core.stores.postgres import transaction
from cift_tasks.ingestions import enqueue_ingestion
from cift_web.audit import audit_change
from cift_web.bodies import parse_json, read_body
from cift_web.database import db, stores
from cift_web.ingestion_schemas import (
    PREFIX,
    FilePage,
    IngestionAnswer,
    IngestionPage,
    IngestionQuery,
    RejectPage,
    links_of,
    request_body,
)
from cift_web.jobs import accept
from cift_web.requests import MAX_JSON_BYTES
from cift_web.resources import ACCEPTED_HEADERS, Resource
from cift_web.schemas import Accepted, Idempotency, Page

Part = TypeVar("Part", FileStorage, str)
READ, WRITE = "data:read", "data:write"
ingestions = Resource("ingestions", url_prefix=PREFIX, description="Market data brought in.")


@dataclass(frozen=True)
class Sent:
    """What came with a submit: the decoded request and, when one was sent along, the stored file."""

    request: Any
    upload: Upload | None


@ingestions.operation(
    "POST",
    "",
    access=WRITE,
    headers=Idempotency(),
    answer=Accepted(),
    status=202,
    answer_headers=ACCEPTED_HEADERS,
    problems=(400, 409, 413, 415),
    own_transactions=True,
    doc={"requestBody": request_body()},
)
def submit_ingestion(headers: dict[str, Any]) -> Response:
    """Submit an ingestion

    A file below CIFT_DATA_DIR named as `source.path`, or one sent along in a multipart body (part `file`,
    and the request as the part `request`). Its first lines are checked now; a worker reads it.
    """
    settings, sent, made = stores().settings, _read_body(), list[Ingestion]()
    session = db.session()

    def submit() -> Ingestion:
        ingestion = service.submit(session, settings, g.principal.user_id, sent.request, sent.upload)
        made.append(ingestion)
        if ingestion.dispatched_at is not None:
            enqueue_ingestion(session, ingestion.id)
        return ingestion

    def fingerprint() -> str:
        file_sha256 = sent.upload.sha256 if sent.upload else None
        return idempotency.fingerprint("POST /ingestions", as_asked(sent.request), file_sha256)

    try:
        with transaction(session):
            return accept(session, headers.get("idempotency_key"), fingerprint, submit, links_of)
    finally:
        # with a row made the commit may have happened, also when it seems to have failed: keep the file
        if sent.upload and not made:
            remove_upload(settings, sent.upload.id)


@ingestions.operation("GET", "", access=READ, query=IngestionQuery(), answer=IngestionPage())
def list_ingestions(query: dict[str, Any]) -> dict[str, Any]:
    """List ingestions

    Your own, newest first.
    """
    found, following = service.list_ingestions(db.session(), g.principal.user_id, **query)
    return {"items": found, "next": following}


@ingestions.operation("GET", "/<uuid:ingestion_id>", access=READ, answer=IngestionAnswer(), problems=(404,))
def get_ingestion(ingestion_id: UUID) -> Ingestion:
    """Read an ingestion

    How far it is and the balance of its rows.
    """
    return service.get(db.session(), g.principal.user_id, ingestion_id)


@ingestions.operation(
    "GET", "/<uuid:ingestion_id>/files", access=READ, query=Page(), answer=FilePage(), problems=(404,)
)
def list_ingestion_files(query: dict[str, Any], ingestion_id: UUID) -> dict[str, Any]:
    """List the files of an ingestion

    In the order they are read, each with its balance so far; none before a worker has begun.
    """
    found, following = service.list_files(db.session(), g.principal.user_id, ingestion_id, **query)
    return {"items": found, "next": following}


@ingestions.operation(
    "GET", "/<uuid:ingestion_id>/rejects", access=READ, query=Page(), answer=RejectPage(), problems=(404,)
)
def list_ingestion_rejects(query: dict[str, Any], ingestion_id: UUID) -> dict[str, Any]:
    """List the records that were refused

    In the order of the files, each with its line, the reason and its text.
    """
    found, following = service.list_rejects(db.session(), g.principal.user_id, ingestion_id, **query)
    return {"items": found, "next": following}


@ingestions.operation(
    "POST", "/<uuid:ingestion_id>/cancel", access=WRITE, answer=IngestionAnswer(), problems=(404,)
)
def cancel_ingestion(ingestion_id: UUID) -> Ingestion:
    """Cancel an ingestion

    A queued one ends at once, a running one at its next heartbeat; what it wrote stays.
    """
    session = db.session()
    ingestion = service.cancel(session, g.principal.user_id, ingestion_id)
    audit_change(session, ingestion_id)
    return ingestion


def _read_body() -> Sent:
    if request.mimetype == "multipart/form-data":
        return _read_form()
    if not request.is_json:
        sent = request.mimetype or "no content type"
        raise UnsupportedMediaType(
            f"The body must be sent as application/json or multipart/form-data, not as {sent}."
        )
    return Sent(parse_json(read_body(request)), None)


def _read_form() -> Sent:
    settings = stores().settings
    request.max_content_length = settings.max_upload_bytes + MAX_JSON_BYTES
    files, texts = request.files, request.form
    errors = [
        FieldError(f"/{name}", f"is not a part here{did_you_mean(name, ('file', 'request'))}")
        for name in {*files, *texts} - {"file", "request"}
    ]
    file = _only(errors, "file", files.getlist("file"), "the file to read, with its file name")
    text = _only(errors, "request", texts.getlist("request"), "the request as JSON")
    if errors or file is None or text is None:
        raise InvalidInput("invalid_form", "The multipart body can't be read as sent: see errors.", errors)
    decoded = parse_json(text.encode(), what="The part `request`")
    return Sent(decoded, store_upload(settings, cast("BinaryIO", file.stream)))


def _only(errors: list[FieldError], name: str, parts: list[Part], what: str) -> Part | None:
    if len(parts) != 1:
        given = "is missing" if not parts else "is given more than once"
        errors.append(FieldError(f"/{name}", f"{given}: send one part `{name}`, {what}"))
        return None
    return parts[0]
