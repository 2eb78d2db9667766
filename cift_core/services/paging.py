"""Opaque cursors: the place in an ordered list where the next page begins."""

import base64
import json
from collections.abc import Callable
from typing import Any

from cift_core.errors import FieldError, InvalidInput

MAX_LIMIT = 500


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
