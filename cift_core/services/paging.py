"""Opaque cursors: the place in an ordered list where the next page begins."""

import base64
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Select, tuple_
from sqlalchemy.orm import Session

from cift_core.errors import FieldError, InvalidInput

MAX_LIMIT = 500
Row = TypeVar("Row")


def newest_first(
    session: Session, model: Any, query: Select[Row], cursor: str | None, limit: int
) -> tuple[list[Row], str | None]:
    """A page of the query's rows by `created_at` and `id`, and the cursor of the next page or None.

    Raises:
        InvalidInput: the cursor is none of this list.
    """
    if cursor is not None:
        created_at, row_id = decode_cursor(cursor, datetime.fromisoformat, UUID)
        query = query.where(tuple_(model.created_at, model.id) < (created_at, row_id))
    ordered = query.order_by(model.created_at.desc(), model.id.desc()).limit(limit + 1)
    found: list[Any] = list(session.scalars(ordered))
    if len(found) <= limit:
        return found, None
    last = found[limit - 1]
    return found[:limit], encode_cursor(last.created_at, last.id)


def encode_cursor(*values: object) -> str:
    """The sort key of the last item of a page, as URL-safe text."""
    return base64.urlsafe_b64encode(json.dumps(values, default=str).encode()).decode().rstrip("=")


def decode_cursor(text: str, *kinds: Callable[[Any], Any]) -> list[Any]:
    """The values behind a cursor, each made by its kind (`int`, `UUID`, …).

    Raises:
        InvalidInput: the text is no cursor that this service gave out.
    """
    try:
        values = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        return [_stored(kind(value)) for kind, value in zip(kinds, values, strict=True)]
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        detail = "not a cursor of this list; use the value of `next`, or leave it out for the first page"
        raise InvalidInput(
            "invalid_cursor", f"cursor is {detail}", [FieldError("/cursor", detail)]
        ) from error


def _stored(value: Any) -> Any:
    if isinstance(value, int) and value.bit_length() > 63:
        raise OverflowError("no column holds more than 64 bits")
    return value
