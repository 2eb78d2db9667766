"""What every kind of job answers: that it was taken on, and where its parts are."""

from collections.abc import Callable
from uuid import UUID

from flask import Response, g, jsonify
from sqlalchemy.orm import Session

from cift_core.models import JobColumns
from cift_core.services import idempotency
from cift_web.audit import audit_change


def accept(
    session: Session,
    key: str | None,
    asked: Callable[[], str],
    submit: Callable[[], JobColumns],
    links: Callable[[UUID], dict[str, str]],
) -> Response:
    """202 for the job that `submit` makes, or the answer that this Idempotency-Key got before.

    `asked` is the fingerprint of the request. The job, its audit record and the key's answer are one unit
    of work, the session's.
    """
    owner_id = g.principal.user_id
    if key is not None:
        answer = idempotency.begin(session, owner_id, key, asked())
        if answer is not None:
            audit_change(session, UUID(answer["id"]), "reused")
            return _accepted(UUID(answer["id"]), answer["status"], True, links)
    job = submit()
    audit_change(session, job.id)
    if key is not None:
        idempotency.store_answer(session, owner_id, key, {"id": str(job.id), "status": job.status})
    return _accepted(job.id, job.status, False, links)


def _accepted(job_id: UUID, status: str, reused: bool, links: Callable[[UUID], dict[str, str]]) -> Response:
    response = jsonify(id=job_id, status=status, reused=reused, links=links(job_id))
    response.status_code = 202
    response.location = links(job_id)["self"]
    return response
