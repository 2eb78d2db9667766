"""Rows as `Accept` asks for them: JSON by page; CSV or Arrow by page, or all there are as one stream."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final
from urllib.parse import urlencode

import numpy as np
import pyarrow as pa
from flask import Response, current_app, jsonify, request
from marshmallow import Schema, fields

from cift_core.errors import StoreUnavailable
from cift_core.logs import logger

JSON, CSV, ARROW = "application/json", "text/csv", "application/vnd.apache.arrow.stream"
STREAMED_ROWS: Final = 10_000  # read, and held in memory, at a time
Items = list[dict[str, Any]]
Read = Callable[[str | None, int], tuple[Items, str | None]]
_TIMES: Final = {"time", "entry_time", "exit_time"}
_TYPES: Final = {
    fields.Float: pa.float64(),
    fields.Integer: pa.int64(),
    fields.String: pa.string(),
    fields.Boolean: pa.bool_(),
}
_log = logger(__name__)


def documented(page: type[Schema]) -> dict[str, Any]:
    """The answer 200 for the OpenAPI document."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    content = {JSON: {"schema": page}, CSV: {"schema": {"type": "string"}}, ARROW: binary}
    return {
        "description": "A page of rows; as CSV or Arrow all of them, where neither limit nor cursor is sent.",
        "content": content,
    }


def wanted() -> str:
    """The media type to answer with."""
    return request.accept_mimetypes.best_match([JSON, CSV, ARROW]) or JSON


def answer_rows(
    page: type[Schema], read: Read, cursor: str | None, limit: int, headers: dict[str, str] | None = None
) -> Response:
    """What `read(cursor, limit)` gives: a page of `page`'s items and the cursor of the next.

    A stream calls it after the request's context is gone.

    Raises:
        What `read` raises for the first page. Later a stream is cut off, which HTTP shows to the client.
    """
    form = wanted()
    whole = form != JSON and not {"cursor", "limit"} & request.args.keys()
    items, following = read(cursor, STREAMED_ROWS if whole else limit)
    if form == JSON:
        response = jsonify(items=items, next=following)
    else:
        pages = _pages(read, items, following) if whole else [items]
        write = _csv if form == CSV else _arrow
        response = current_app.response_class(write(_schema(page), pages), mimetype=form)
    if following is not None and not whole:
        query = urlencode({**request.args.to_dict(), "cursor": following})
        response.headers["Link"] = f'<{request.path}?{query}>; rel="next"'
    response.headers.update(headers or {})
    response.vary.add("Accept")
    return response


def _pages(read: Read, items: Items, following: str | None) -> Iterator[Items]:
    yield items
    while following is not None:
        try:
            items, following = read(following, STREAMED_ROWS)
        except StoreUnavailable:
            _log.warning("stream.cut_off", exc_info=True)
            raise
        yield items


def _csv(schema: pa.Schema, pages: Iterable[Items]) -> Iterator[bytes]:
    text = io.StringIO()
    writer = csv.DictWriter(text, schema.names, lineterminator="\n")
    writer.writeheader()
    for items in pages:
        writer.writerows(items)
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()


def _arrow(schema: pa.Schema, pages: Iterable[Items]) -> Iterator[bytes]:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema) as writer:
        for items in pages:
            writer.write_batch(_batch(schema, items))
            yield _taken(sink)
    yield _taken(sink)  # the mark of the end: without it a reader knows that the stream was cut off


def _taken(sink: io.BytesIO) -> bytes:
    written = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    return written


def _batch(schema: pa.Schema, items: Items) -> pa.RecordBatch:
    columns = []
    for field in schema:
        values = [item[field.name] for item in items]
        if pa.types.is_timestamp(field.type):
            times = np.array([value.removesuffix("Z") for value in values], "datetime64[ns]")
            columns.append(pa.array(times).cast(field.type))
        else:
            columns.append(pa.array(values, field.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _schema(page: type[Schema]) -> pa.Schema:
    """Times are nanoseconds in UTC, all else as the items' fields say."""
    items = page().fields["items"]
    assert isinstance(items, fields.List) and isinstance(items.inner, fields.Nested)  # noqa: PT018, S101
    named = {field.data_key or name: field for name, field in items.inner.schema.fields.items()}
    return pa.schema(
        [
            (name, pa.timestamp("ns", "UTC") if name in _TIMES else _TYPES[type(field)])
            for name, field in named.items()
        ]
    )
