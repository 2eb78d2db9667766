"""What the resources that users make and keep have in common: fields, answers, 201 and 304."""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import marshmallow as ma
from flask import Response, current_app
from marshmallow import fields
from marshmallow.validate import Length

from cift_core.models import OwnedColumns
from cift_web.etags import ETAG_HEADER, row_headers
from cift_web.schemas import AnswerSchema, Page, RequestSchema, Text, UTCTime

MAX_NAME_CHARS, MAX_DESCRIPTION_CHARS = 100, 2_000
MADE_HEADERS = {
    "Location": {"description": "Where the thing is.", "required": True, "schema": {"type": "string"}},
    **ETAG_HEADER,
}


def printable(text: str) -> None:
    """Pass text that a list can show in one line.

    Raises:
        ValidationError: it is blank or has line breaks or control characters.
    """
    if not text.strip() or not text.isprintable():
        raise ma.ValidationError("must have printable characters only, and not only spaces")


def name_field(**options: Any) -> Text:
    """The name of a thing."""
    length = Length(1, MAX_NAME_CHARS, error="must have {min} to {max} characters")
    return Text(validate=[length, printable], **options)


def description_field(**options: Any) -> Text:
    """What the thing is for."""
    return Text(
        validate=Length(0, MAX_DESCRIPTION_CHARS, error="must have at most {max} characters"), **options
    )


class JSONObject(fields.Dict):
    """A JSON object of any members, up to so many bytes in its compact form."""

    default_error_messages = {  # noqa: RUF012
        "required": "is missing",
        "null": "must not be null",
        "invalid": "must be a JSON object",
    }

    def __init__(self, *, max_bytes: int, **options: Any) -> None:
        super().__init__(**options)
        self._max_bytes = max_bytes

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.make_error("invalid")
        size = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
        if size > self._max_bytes:
            raise ma.ValidationError(f"must have at most {self._max_bytes:,} bytes, has {size:,}")
        return value


class ChangeSchema(RequestSchema):
    """What to change; fields left out stay as they are."""

    @ma.validates_schema
    def _check_any(self, data: dict[str, Any], **_: Any) -> None:
        if not data:
            names = [field.data_key or name for name, field in self.load_fields.items()]
            raise ma.ValidationError(f"must change at least one of {', '.join(names)}")


class OwnedQuery(Page):
    """Which things to list."""

    name = Text(validate=Length(1, MAX_NAME_CHARS), metadata={"description": "Exactly this name."})
    created_after = UTCTime()


class OwnedAnswer(AnswerSchema):
    """What every thing that a user keeps answers."""

    id = fields.UUID(required=True)
    name = fields.String(required=True)
    description = fields.String(required=True)
    version = fields.Integer(required=True, metadata={"description": "One higher with each change."})
    created_at = UTCTime(required=True)
    updated_at = UTCTime(required=True)


def tagged(row: OwnedColumns) -> tuple[OwnedColumns, dict[str, str]]:
    """The row, to be answered with its ETag."""
    return row, row_headers(row)


def made(
    row: OwnedColumns, links_of: Callable[[UUID], dict[str, str]]
) -> tuple[OwnedColumns, dict[str, str]]:
    """The new row, to be answered with its place and its ETag."""
    return row, {**row_headers(row), "Location": links_of(row.id)["self"]}


def removed() -> Response:
    """204."""
    return current_app.response_class(status=204)
