"""The building blocks of request and answer schemas."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import marshmallow as ma
from marshmallow import fields
from marshmallow.validate import Length, OneOf, Range, Regexp

from cift_core.clock import rfc3339, to_ns
from cift_core.errors import did_you_mean
from cift_core.services.idempotency import KEY
from cift_core.services.paging import MAX_LIMIT

DEFAULT_LIMIT = 100
SYMBOL = r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,31}$"
EARLIEST, LATEST = datetime(1678, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)
_RFC3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,6})?([Zz]|[+-]\d{2}:\d{2})")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_REQUIRED = {"required": "is missing", "null": "must not be null"}


def one_of(choices: tuple[str, ...]) -> OneOf:
    """A validator whose sentence lists the choices."""
    return OneOf(choices, error="must be one of {choices}")


class RequestSchema(ma.Schema):
    """What is sent to us: an unknown field is an error that names the near miss."""

    class Meta:
        unknown = ma.RAISE

    error_messages = {"type": "must be a JSON object", "unknown": "unknown field"}  # noqa: RUF012

    def handle_error(self, error: ma.ValidationError, data: Any, **_: object) -> None:
        """Say of each unknown field what it may have been meant to be."""
        known = [field.data_key or name for name, field in self.load_fields.items()]
        messages = error.messages
        if not isinstance(messages, dict):
            return
        for name, found in messages.items():
            if found == [self.error_messages["unknown"]]:
                near = did_you_mean(str(name), known)
                messages[name] = [f"is not a field here{near or '; these are: ' + ', '.join(known)}"]


class AnswerSchema(ma.Schema):
    """What we answer: clients must expect further fields."""

    class Meta:
        unknown = ma.EXCLUDE


class Text(fields.String):
    """A string; query strings may hold NUL, which can't be stored."""

    default_error_messages = {**_REQUIRED, "invalid": "must be a string"}  # noqa: RUF012

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if "\x00" in text:
            raise ma.ValidationError("must not contain the character NUL")
        return text


class Id(Text):
    """A UUID in its usual form, kept as lower-case text."""

    def __init__(self, **options: Any) -> None:
        metadata = {"format": "uuid", **options.pop("metadata", {})}
        super().__init__(metadata=metadata, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs).lower()
        if not _UUID.fullmatch(text):
            raise ma.ValidationError("must be a UUID, such as 7f1c3c52-2f4e-4d0e-9d26-0f3f7f3f1a11")
        return text


class Pattern(Regexp):
    """The whole string matches (`$` alone would let a line break follow)."""

    def __call__(self, value: str) -> str:  # type: ignore[override]
        """The value.

        Raises:
            ValidationError: it does not match.
        """
        if not cast("re.Pattern[str]", self.regex).fullmatch(value):
            raise ma.ValidationError(self._format_error(value))
        return value


class Number(fields.Float):
    """A JSON number: no string, no boolean."""

    default_error_messages = {**_REQUIRED, "invalid": "must be a number"}  # noqa: RUF012

    def _validated(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.make_error("invalid")
        return float(value)


class Whole(fields.Integer):
    """A whole JSON number."""

    default_error_messages = {**_REQUIRED, "invalid": "must be a whole number"}  # noqa: RUF012

    def _validated(self, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
            raise self.make_error("invalid")
        return int(value)


class QueryInteger(fields.Integer):
    """A whole number in a query string."""

    default_error_messages = {"invalid": "must be a whole number"}  # noqa: RUF012

    def _validated(self, value: Any) -> int:
        if not re.fullmatch(r"-?[0-9]{1,18}", str(value)):
            raise self.make_error("invalid")
        return int(value)


class Flag(fields.Boolean):
    """true or false, and nothing like them."""

    default_error_messages = {**_REQUIRED, "invalid": "must be true or false"}  # noqa: RUF012

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class Items(fields.List[Any]):
    """A JSON array."""

    default_error_messages = {**_REQUIRED, "invalid": "must be an array"}  # noqa: RUF012


class Part(fields.Nested):
    """A JSON object inside another."""

    default_error_messages = {**_REQUIRED, "type": "must be a JSON object"}  # noqa: RUF012


class UTCTime(fields.AwareDateTime):
    """An RFC 3339 time with a zone, read into UTC and written with `Z`."""

    default_error_messages = {  # noqa: RUF012
        **_REQUIRED,
        "invalid": "must be an RFC 3339 time with a zone and at most 6 digits of a second, "
        "such as 2004-08-19T00:00:00Z",
        "range": f"must lie between {EARLIEST.year} and {LATEST.year - 1}",
    }

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> datetime:
        if not isinstance(value, str) or not _RFC3339.fullmatch(value):
            raise self.make_error("invalid")
        try:
            moment = datetime.fromisoformat(value.upper()).astimezone(UTC)
        except ValueError as error:
            raise self.make_error("invalid") from error
        except OverflowError as error:
            raise self.make_error("range") from error
        if not EARLIEST <= moment < LATEST:
            raise self.make_error("range")
        return moment

    def _serialize(self, value: datetime | None, attr: str | None, obj: Any, **_: Any) -> str | None:
        return None if value is None else utc_text(value)


def utc_text(moment: datetime) -> str:
    """`2024-08-08T23:54:15.342Z`."""
    return rfc3339(to_ns(moment))


class Page(RequestSchema):
    """Where a page of a list begins and how long it is."""

    cursor = Text(
        validate=Length(min=1, max=512),
        metadata={"description": "`next` of the page before; left out for the first page."},
    )
    limit = QueryInteger(
        load_default=DEFAULT_LIMIT,
        validate=Range(1, MAX_LIMIT, error="must lie between {min} and {max}"),
        metadata={"description": "The most items to answer."},
    )


class Idempotency(ma.Schema):
    """The header that makes a submit safe to repeat."""

    class Meta:
        unknown = ma.EXCLUDE

    idempotency_key = Text(
        data_key="Idempotency-Key",
        validate=Pattern(KEY, error="must have 1 to 255 visible ASCII characters"),
        metadata={
            "description": "Per owner, kept 24 hours: the same request again gets the first answer again, "
            "another request under the same key 422."
        },
    )


class Links(AnswerSchema):
    """Paths of what belongs to the thing."""

    self_ = fields.String(data_key="self", required=True)
    cancel = fields.String()
    trades = fields.String()
    equity = fields.String()
    versions = fields.String()
    revoke = fields.String()
    rejects = fields.String()


class StoredPart(fields.Nested):
    """An object that is kept as JSON values: answered as it is, and documented by its schema."""

    def _serialize(self, nested_obj: Any, attr: str, obj: Any, **_: Any) -> dict[str, Any] | None:  # type: ignore[override]
        if nested_obj is None:
            return None
        return {name: nested_obj[name] for name in self.schema.fields if name in nested_obj}


class LinksPart(fields.Nested):
    """The links of the thing, made from its id."""

    _CHECK_ATTRIBUTE = False

    def __init__(self, links_of: Callable[[UUID], dict[str, str]]) -> None:
        super().__init__(Links, required=True)
        self._links_of = links_of

    def _serialize(self, nested_obj: Any, attr: str, obj: Any, **_: Any) -> dict[str, str]:  # type: ignore[override]
        return self._links_of(obj.id)


class Accepted(AnswerSchema):
    """A job that was taken on."""

    id = fields.UUID(required=True)
    status = fields.String(required=True)
    reused = fields.Boolean(
        required=True, metadata={"description": "An earlier request with this Idempotency-Key made it."}
    )
    links = fields.Nested(Links, required=True)


class Failure(AnswerSchema):
    """Why a job failed: a stable code and a sentence to act on."""

    code = fields.String(required=True)
    detail = fields.String(required=True)


class ProblemField(AnswerSchema):
    """One wrong field."""

    pointer = fields.String(
        required=True,
        metadata={"description": "A JSON pointer into what was sent; for a query or header, its name."},
    )
    detail = fields.String(required=True)


class Problem(AnswerSchema):
    """RFC 9457 problem details."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    instance = fields.String(required=True)
    code = fields.String(required=True, metadata={"description": "Stable; for programs."})
    errors = fields.List(fields.Nested(ProblemField), required=True)
    request_id = fields.String(required=True)
