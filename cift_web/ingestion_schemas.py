"""What is sent to and answered by /ingestions."""

from typing import Any
from uuid import UUID

from marshmallow import fields
from marshmallow.validate import Length, OneOf, Range

from cift_core.models import JobStatus
from cift_core.services.ingestion_requests import CROSSED, MAX_SECONDS, SOURCES
from cift_core.services.market_kinds import INTERVALS, KINDS, SYMBOL
from cift_core.services.record_files import FORMATS
from cift_web.schemas import (
    AnswerSchema,
    Failure,
    LinksPart,
    Page,
    RequestSchema,
    StoredPart,
    Text,
    UTCTime,
)

PREFIX = "/api/v1/ingestions"


def links_of(ingestion_id: UUID) -> dict[str, str]:
    """The paths of an ingestion and its parts."""
    path = f"{PREFIX}/{ingestion_id}"
    return {
        "self": path,
        "files": f"{path}/files",
        "rejects": f"{path}/rejects",
        "cancel": f"{path}/cancel",
    }


Columns = RequestSchema.from_dict(
    {
        name: fields.String(required=name == "timestamp", validate=Length(min=1))
        for kind in KINDS.values()
        for name in kind.columns
    },
    name="Columns",
)


class SourceRequest(RequestSchema):
    """Where the records are and how they are written: in a file, or on Kafka's topic."""

    type = fields.String(required=True, validate=OneOf(SOURCES))
    path = fields.String(
        allow_none=True,
        metadata={
            "description": "Below CIFT_DATA_DIR, or a pattern with `*`, `?` and `[…]` for several files, "
            "read by name; left out when the file is sent along.",
            "examples": ["daily/GOOG.csv"],
        },
    )
    paths = fields.List(
        fields.String(validate=Length(min=1)),
        allow_none=True,
        metadata={
            "description": "Several, in place of `path`; each may be a pattern.",
            "examples": [["broker/2024-*.csv.gz"]],
        },
    )
    format = fields.String(
        allow_none=True, validate=OneOf(FORMATS), metadata={"description": "Found out when left out."}
    )
    columns = fields.Nested(
        Columns,
        allow_none=True,
        metadata={"description": "Our name to the file's, those of the kind; by name when left out."},
    )
    header = fields.List(
        fields.String(validate=Length(min=1)),
        allow_none=True,
        metadata={"description": "Names the columns of a file without a header line."},
    )
    timestamp_unit = fields.String(
        allow_none=True,
        validate=Length(min=1),
        metadata={"description": "iso (the default), s, ms, us, ns, or a strptime pattern."},
    )
    timezone = fields.String(
        allow_none=True,
        validate=Length(min=1),
        metadata={
            "description": "Of times without one; UTC when left out.",
            "examples": ["America/New_York"],
        },
    )
    offsets = fields.Dict(
        keys=fields.String(metadata={"pattern": "^[0-9]{1,9}$"}),
        values=fields.Integer(validate=Range(min=0)),
        allow_none=True,
        metadata={
            "description": "Of kafka: the offset to begin with by partition; of others, where the last "
            "ingestion from the topic ended.",
            "examples": [{"0": 120}],
        },
    )
    max_messages = fields.Integer(
        allow_none=True, validate=Range(min=1), metadata={"description": "Of kafka: the most to read."}
    )
    max_seconds = fields.Float(
        allow_none=True,
        validate=Range(0, MAX_SECONDS, min_inclusive=False),
        metadata={"description": "Of kafka: after so long it ends with what it has read."},
    )


class IngestionRequest(RequestSchema):
    """A file of bars, ticks (trades) or quotes to bring in; or what is on the topic, and then `source` alone.

    Documents what `services/ingestion_requests` reads, which checks it against the file's first lines.
    """

    source = fields.Nested(SourceRequest, required=True)
    kind = fields.String(validate=OneOf(tuple(KINDS)), metadata={"description": "Of a file, which needs it."})
    symbol = fields.String(
        allow_none=True,
        metadata={"pattern": SYMBOL.pattern, "description": "Left out when a column holds it."},
    )
    interval = fields.String(
        allow_none=True, validate=OneOf(INTERVALS), metadata={"description": "Of bars, and only of them."}
    )
    crossed_quotes = fields.String(
        allow_none=True,
        validate=OneOf(CROSSED),
        metadata={"description": "Of quotes whose bid is above their ask; keep when left out."},
    )
    max_reject_share = fields.Float(
        allow_none=True,
        validate=Range(0, 1),
        metadata={
            "description": "When more of the records are refused the job fails, and nothing is written: the "
            "file is read twice. Left out: it fails when all are."
        },
    )


class IngestionForm(RequestSchema):
    """The request and its file in one multipart body."""

    request = fields.Nested(IngestionRequest, required=True)
    file = fields.Raw(
        required=True, metadata={"type": "string", "contentMediaType": "application/octet-stream"}
    )


class IngestionQuery(Page):
    """Which ingestions to list."""

    status = Text(validate=OneOf(tuple(JobStatus), error="must be one of {choices}"))
    created_after = UTCTime()


class IngestionAnswer(AnswerSchema):
    """An ingestion; when done, `rows_read = rows_written + rows_duplicate + rows_rejected`."""

    id = fields.UUID(required=True)
    status = fields.String(required=True, validate=OneOf(tuple(JobStatus)))
    progress = fields.Float(required=True, metadata={"description": "0 to 1"})
    request = fields.Dict(required=True, metadata={"description": "With every default filled in."})
    rows_read = fields.Integer(required=True)
    rows_written = fields.Integer(required=True)
    rows_duplicate = fields.Integer(required=True)
    rows_rejected = fields.Integer(required=True)
    first_timestamp = UTCTime(required=True, allow_none=True)
    last_timestamp = UTCTime(required=True, allow_none=True)
    topic_range = fields.Dict(
        required=True,
        allow_none=True,
        metadata={
            "description": "Of one from the topic: by partition `begin`, the first offset, and `end`, the "
            "one after the last; null until it runs."
        },
    )
    upload_sha256 = fields.String(required=True, allow_none=True)
    rejects_url = fields.Function(
        lambda ingestion: links_of(ingestion.id)["rejects"], required=True, metadata={"type": "string"}
    )
    error = StoredPart(Failure, required=True, allow_none=True)
    attempt = fields.Integer(required=True)
    task_id = fields.String(required=True, allow_none=True)
    created_at = UTCTime(required=True)
    started_at = UTCTime(required=True, allow_none=True)
    finished_at = UTCTime(required=True, allow_none=True)
    links = LinksPart(links_of)


class IngestionPage(AnswerSchema):
    """Newest first."""

    items = fields.List(fields.Nested(IngestionAnswer), required=True)
    next = fields.String(required=True, allow_none=True)


class FileAnswer(AnswerSchema):
    """One file of an ingestion and its balance."""

    path = fields.String(
        required=True, allow_none=True, metadata={"description": "Null of a file sent along."}
    )
    rows_read = fields.Integer(required=True)
    rows_written = fields.Integer(required=True)
    rows_duplicate = fields.Integer(required=True)
    rows_rejected = fields.Integer(required=True)


class FilePage(AnswerSchema):
    """In the order they are read."""

    items = fields.List(fields.Nested(FileAnswer), required=True)
    next = fields.String(required=True, allow_none=True)


class RejectAnswer(AnswerSchema):
    """A record that was refused."""

    file = fields.String(
        required=True, allow_none=True, metadata={"description": "Its path; null of a file sent along."}
    )
    line = fields.Integer(
        required=True,
        metadata={
            "description": "From 1, a header included; in a Parquet file the row; of a message its row, or 0 "
            "where it could not be read."
        },
    )
    partition = fields.Integer(required=True, allow_none=True, metadata={"description": "Of the topic."})
    offset = fields.Integer(
        required=True,
        allow_none=True,
        attribute="message_offset",
        metadata={"description": "Of the message on the topic."},
    )
    reason = fields.String(required=True)
    raw = fields.String(required=True, metadata={"description": "The record as it was read."})


class RejectPage(AnswerSchema):
    """In the order of the file."""

    items = fields.List(fields.Nested(RejectAnswer), required=True)
    next = fields.String(required=True, allow_none=True)


def request_body() -> dict[str, Any]:
    """The two ways to send an ingestion, as an OpenAPI request body."""
    return {
        "required": True,
        "content": {
            "application/json": {"schema": IngestionRequest},
            "multipart/form-data": {"schema": IngestionForm},
        },
    }
