"""Strict reading of JSON bodies and query strings, and errors that point at the field."""

import json
from collections.abc import Iterator
from math import isfinite
from typing import Any, NoReturn, cast

import marshmallow as ma
from flask import Request
from webargs.flaskparser import FlaskParser, is_json_request
from webargs.multidictproxy import MultiDictProxy
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from cift_core.errors import FieldError, InvalidInput, pointer_to

MAX_EXACT_INTEGER = 2**53 - 1
MAX_DEPTH = 32
_FLAW_CODE = "invalid_request"


class Parser(FlaskParser):
    """Reads the parts of a request; every wrong field ends in one InvalidInput with a JSON pointer each."""

    DEFAULT_UNKNOWN_BY_LOCATION = {**FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION, "query": ma.RAISE}  # noqa: RUF012

    def load_json(self, req: Request, schema: ma.Schema) -> Any:
        """The decoded body."""
        if not is_json_request(req):
            sent = req.mimetype or "no content type"
            raise UnsupportedMediaType(f"The body must be sent as application/json, not as {sent}.")
        return parse_json(read_body(req))

    def load_querystring(self, req: Request, schema: ma.Schema) -> MultiDictProxy:
        """The query's parameters, each given once."""
        twice = [name for name, values in req.args.lists() if len(values) > 1]
        if twice:
            raise ma.ValidationError({name: ["is given more than once"] for name in twice})
        return self._makeproxy(req.args, schema)

    def handle_error(
        self, error: ma.ValidationError, req: Request, schema: ma.Schema, **_: object
    ) -> NoReturn:
        """Raise what marshmallow found as InvalidInput."""
        (messages,) = cast("dict[str, Any]", error.messages).values()  # under the one location that was read
        raise invalid(messages) from error


def read_body(request: Request) -> bytes:
    """The whole body.

    Raises:
        RequestEntityTooLarge: there is more of it than is taken.
    """
    body = request.get_data()
    if request.content_length is None:
        request.stream.read(1)  # a chunked body is cut at the limit: only reading on tells, by raising
    return body


def parse_json(text: bytes, *, what: str = "The body") -> Any:
    """The decoded JSON value; `what` it was sent as begins the sentence of an error.

    Raises:
        BadRequest: it is not JSON.
        InvalidInput: it is JSON that can't be kept exactly: NaN, an integer beyond 2^53 - 1, a repeated name,
            half of a surrogate pair, the character NUL, or more than 32 levels.
    """
    if not text:
        raise BadRequest(f"{what} is empty; send a JSON object.")
    try:
        value = json.loads(text.decode(), object_pairs_hook=_unrepeated)
    except UnicodeDecodeError as error:
        raise BadRequest(f"{what} is not UTF-8: the byte at offset {error.start} is wrong.") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise BadRequest(f"{what} is not JSON: {error.msg} ({place}).") from error
    except RecursionError as error:
        raise _too_deep("") from error
    except ValueError as error:  # more digits than Python turns into an integer
        raise BadRequest(f"{what} holds a number with thousands of digits.") from error
    flaws = list(_flaws(value, "", 0))
    if flaws:
        raise InvalidInput(_FLAW_CODE, _sentence(flaws), flaws)
    return value


def invalid(messages: dict[Any, Any]) -> InvalidInput:
    """marshmallow's messages as one error with a JSON pointer for each."""
    fields = list(_field_errors(messages, ""))
    return InvalidInput(_FLAW_CODE, _sentence(fields), fields)


def nested_messages(fields: tuple[FieldError, ...], below: str) -> dict[str, Any]:
    """Errors of the core in marshmallow's shape, their pointers taken relative to `below`."""
    messages: dict[str, Any] = {}
    for field in fields:
        *path, last = [part.replace("~1", "/").replace("~0", "~") for part in field.pointer.split("/")[1:]]
        place = messages
        for part in path[below.count("/") :]:
            place = place.setdefault(part, {})
        key = last if field.pointer != below else ma.exceptions.SCHEMA
        place.setdefault(key, []).append(field.detail)
    return messages


def _sentence(fields: list[FieldError]) -> str:
    first = fields[0]
    place = first.pointer or "the body"
    more = f" (and {len(fields) - 1} more)" if len(fields) > 1 else ""
    return f"{place} {first.detail}{more}."


def _field_errors(messages: Any, pointer: str) -> Iterator[FieldError]:
    if isinstance(messages, dict):
        for name, below in messages.items():
            yield from _field_errors(
                below, pointer if name == ma.exceptions.SCHEMA else pointer_to(pointer, name)
            )
    elif isinstance(messages, list):
        for message in messages:
            yield from _field_errors(message, pointer)
    else:
        yield FieldError(pointer, str(messages))


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        field = FieldError(pointer_to("", repeated), "is given more than once in one object")
        raise InvalidInput(_FLAW_CODE, _sentence([field]), [field])
    return value


def _flaws(value: Any, pointer: str, depth: int) -> Iterator[FieldError]:
    if depth > MAX_DEPTH:
        raise _too_deep(pointer)
    if isinstance(value, dict):
        for name, member in value.items():
            yield from _flaws(member, pointer_to(pointer, name), depth + 1)
            if flaw := _flaw(name):
                yield FieldError(pointer, f"has a name that {flaw}")
    elif isinstance(value, list):
        for place, member in enumerate(value):
            yield from _flaws(member, f"{pointer}/{place}", depth + 1)
    elif flaw := _flaw(value):
        yield FieldError(pointer, flaw)


def _flaw(value: Any) -> str | None:
    if isinstance(value, str):
        plain = value.isascii() and "\x00" not in value
        if not plain and any(c == "\x00" or "\ud800" <= c <= "\udfff" for c in value):
            return "has a character that can't be kept: NUL, or half of a surrogate pair"
    elif isinstance(value, float) and not isfinite(value):
        return "must be a finite number; JSON has no NaN and no Infinity"
    elif isinstance(value, int) and abs(value) > MAX_EXACT_INTEGER:
        return f"must lie between -{MAX_EXACT_INTEGER} and {MAX_EXACT_INTEGER}"
    return None


def _too_deep(pointer: str) -> InvalidInput:
    field = FieldError(pointer, f"is nested deeper than {MAX_DEPTH} levels")
    return InvalidInput(_FLAW_CODE, _sentence([field]), [field])
