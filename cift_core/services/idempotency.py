"""`Idempotency-Key`: the same request again gets the first answer again, also when both come at once."""

import hashlib
import json
import re
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cift_core.errors import Conflict, FieldError, InvalidInput
from cift_core.models import IdempotencyKey

KEPT_FOR = timedelta(hours=24)
KEY = re.compile(r"^[\x21-\x7e]{1,255}$")


def fingerprint(operation: str, request: object, file_sha256: str | None = None) -> str:
    """SHA-256 over what was asked for: the operation, the parsed request and the file's hash.

    `request` holds JSON values; two spellings of one request (key order, a default written out) are the same.
    """
    asked = json.dumps([operation, request, file_sha256], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(asked.encode()).hexdigest()


def begin(session: Session, owner_id: UUID, key: str, asked: str) -> dict[str, Any] | None:
    """None when the request is ours to do, else the answer that it got before.

    A concurrent equal request waits here, on the unique key, for the other's transaction to end. A key older
    than 24 hours is taken over as if it were new.

    Raises:
        InvalidInput: the key came with another request before.
    """
    ours = session.scalar(
        insert(IdempotencyKey)
        .values(owner_id=owner_id, key=key, fingerprint=asked)
        .on_conflict_do_update(
            index_elements=[IdempotencyKey.owner_id, IdempotencyKey.key],
            set_={"fingerprint": asked, "answer": None, "created_at": func.now()},
            where=IdempotencyKey.created_at < func.now() - KEPT_FOR,
        )
        .returning(IdempotencyKey.key)
    )
    if ours is not None:
        return None
    stored = session.execute(
        select(IdempotencyKey.fingerprint, IdempotencyKey.answer).where(
            IdempotencyKey.owner_id == owner_id, IdempotencyKey.key == key
        )
    ).one_or_none()
    if stored is None or stored.answer is None:
        # the clean-up took the row between our two statements
        raise Conflict("idempotency_key_expired", "The Idempotency-Key has just expired; send it again.")
    if stored.fingerprint != asked:
        detail = "was used for another request in the last 24 hours; use a new key, or send the same request"
        raise InvalidInput(
            "idempotency_key_reused",
            f"This Idempotency-Key {detail}.",
            [FieldError("/Idempotency-Key", detail)],
        )
    answer: dict[str, Any] = stored.answer
    return answer


def store_answer(session: Session, owner_id: UUID, key: str, answer: dict[str, Any]) -> None:
    """Keep the answer (JSON values) with the key that `begin` took, in the same unit of work."""
    session.execute(
        update(IdempotencyKey)
        .where(IdempotencyKey.owner_id == owner_id, IdempotencyKey.key == key)
        .values(answer=answer)
        .execution_options(synchronize_session=False)
    )


def forget_expired(session: Session) -> int:
    """How many answers older than 24 hours were removed."""
    forgotten = session.scalars(
        delete(IdempotencyKey)
        .where(IdempotencyKey.created_at < func.now() - KEPT_FOR)
        .returning(IdempotencyKey.key)
        .execution_options(synchronize_session=False)
    )
    return len(forgotten.all())
