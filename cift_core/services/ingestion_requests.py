"""Requests for an ingestion: checked against their file, every wrong field told, defaults filled in."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from cift_core.errors import FieldError, InvalidInput, did_you_mean
from cift_core.services.bar_files import (
    INTERVALS,
    OPTIONAL,
    REQUIRED,
    SYMBOL,
    BarLayout,
    column_errors,
    map_columns,
    read_first_line,
)
from cift_core.services.csv_records import MAX_COLUMNS
from cift_core.services.timestamps import TimeFormat, timezone_error, unit_error
from cift_core.settings import Settings
from cift_core.stores.files import GZIP_MAGIC, DataFile, Upload, open_data_file, open_upload

FORMATS = ("csv", "csv.gz")
LATER = ("csv.zip", "parquet", "jsonl")
_ENDINGS_LATER = (".zip", ".parquet", ".jsonl")
_REQUEST_FIELDS = ("source", "kind", "symbol", "interval")
_SOURCE_FIELDS = ("type", "path", "format", "columns", "header", "timestamp_unit", "timezone")


class _Fields:
    """The fields of one object of the request; what is wrong with them is added to `errors`."""

    def __init__(self, errors: list[FieldError], pointer: str, values: object, known: Sequence[str]) -> None:
        self._errors = errors
        self._pointer = pointer
        if not isinstance(values, Mapping):
            self.wrong("", "must be a JSON object")
            values = {}
        self.values: Mapping[str, Any] = values
        for name in values:
            if name not in known:
                near = did_you_mean(str(name), known) or f"; these are: {', '.join(known)}"
                place = str(name).replace("~", "~0").replace("/", "~1")
                self.wrong(f"/{place}", f"is not a field here{near}")

    def wrong(self, place: str, detail: str) -> None:
        self._errors.append(FieldError(self._pointer + place, detail))

    def nested(self, name: str, known: Sequence[str]) -> "_Fields":
        return _Fields(self._errors, f"{self._pointer}/{name}", self.values.get(name), known)

    def text(self, name: str, default: str | None = None) -> str | None:
        value = self.values.get(name)
        if value is None:
            return default
        if not isinstance(value, str) or not value or "\0" in value:
            self.wrong(f"/{name}", "must be a string that is not empty")
            return None
        return value

    def choice(self, name: str, now: Iterable[str], later: Iterable[str] = ()) -> str | None:
        value = self.text(name)
        if value is None:
            if self.values.get(name) is None:
                self.wrong(f"/{name}", f"is missing; one of: {', '.join(now)}")
        elif value in later:
            self.wrong(f"/{name}", f"{value!r} is not supported yet; supported now: {', '.join(now)}")
        elif value not in now:
            self.wrong(
                f"/{name}", f"{value!r} is none of: {', '.join(now)}{did_you_mean(value, [*now, *later])}"
            )
        else:
            return value
        return None


def full_request(settings: Settings, request: object, upload: Upload | None) -> dict[str, Any]:
    """The request with every default filled in; the file's first lines were read and fit it.

    Raises:
        InvalidInput: `invalid_ingestion` with every wrong field; the file's own code when only it is wrong.
        StoreUnavailable: the disk does not answer.
    """
    errors: list[FieldError] = []
    top = _Fields(errors, "", request, _REQUEST_FIELDS)
    source = top.nested("source", _SOURCE_FIELDS)
    filled: dict[str, Any] = {
        "source": {
            "type": source.choice("type", ("file",), later=("kafka",)),
            "path": _path(source, upload),
            "format": _format(source),
            "columns": _columns(source),
            "header": _header(source),
            **_time(source),
        },
        "kind": top.choice("kind", ("bars",), later=("ticks", "quotes")),
        "symbol": _symbol(top, source),
        "interval": top.choice("interval", INTERVALS),
    }
    try:
        if upload is not None or filled["source"]["path"] is not None:
            _fit_to_file(settings, filled, upload, errors)
    except InvalidInput as error:
        found = error.errors or [FieldError("/file" if upload else "/source/path", error.message)]
        if not errors:
            raise InvalidInput(error.code, error.message, found) from error
        errors += found
    if errors:
        raise InvalidInput("invalid_ingestion", "The ingestion can't run as asked: see errors.", errors)
    return filled


def open_file(settings: Settings, source: Mapping[str, Any], upload_id: UUID | None) -> tuple[DataFile, str]:
    """The file of a request's source, open, and its format (told by its first bytes when none is stated).

    Raises:
        InvalidInput: it can't be read, or is not of the format stated.
    """
    raw = open_data_file(settings, source["path"]) if upload_id is None else open_upload(settings, upload_id)
    gzipped = raw.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    raw.seek(0)
    found = "csv.gz" if gzipped else "csv"
    if source["format"] not in (None, found):
        raw.close()
        detail = f"is {source['format']}, but the file is {'' if gzipped else 'not '}gzipped"
        raise InvalidInput("wrong_format", f"source.format {detail}.", [FieldError("/source/format", detail)])
    return DataFile(raw, gzipped=gzipped, max_unpacked_bytes=settings.max_unpacked_bytes), found


def bar_layout(request: Mapping[str, Any], first_line: Sequence[str]) -> BarLayout:
    """How to read the file of a full request that begins with this line.

    Raises:
        InvalidInput: `invalid_columns`; the file is not the one the request was checked against.
    """
    source = request["source"]
    header = tuple(source["header"] or first_line)
    errors = column_errors(header, source["columns"])
    if errors:
        raise InvalidInput("invalid_columns", f"The file changed: {errors[0].detail}.", errors)
    return BarLayout(
        header=header,
        has_header_line=source["header"] is None,
        columns=source["columns"],
        symbol=request["symbol"],
        time=TimeFormat(source["timestamp_unit"], source["timezone"]),
    )


def _fit_to_file(
    settings: Settings, filled: dict[str, Any], upload: Upload | None, errors: list[FieldError]
) -> None:
    source = filled["source"]
    file, source["format"] = open_file(settings, source, None if upload is None else upload.id)
    with file:
        first_line = read_first_line(file)
    header = source["header"] or first_line
    if len(header) != len(first_line):
        detail = f"names {len(header)} columns; the file's first line has {len(first_line)} fields"
        errors.append(FieldError("/source/header", detail))
    elif source["header"] is None:
        errors += _header_line_errors(first_line)
    if source["columns"] is None:
        source["columns"], found = map_columns(header, filled["symbol"] is not None)
        errors += found
    else:
        errors += column_errors(header, source["columns"])
    if filled["symbol"] is None and "symbol" not in source["columns"]:
        errors.append(FieldError("/symbol", "is missing, and the file has no column for it"))


def _header_line_errors(names: Sequence[str]) -> list[FieldError]:
    if len(names) == 1:
        mark = next((mark for mark in ";\t|" if mark in names[0]), None)
        hint = f"; they seem to be parted by {mark!r}" if mark else ""
        return [
            FieldError("/source/path", f"the first line has one field; fields are parted by commas{hint}")
        ]
    if len(names) > MAX_COLUMNS:
        return [FieldError("/source/path", f"has {len(names)} columns, at most {MAX_COLUMNS} are read")]
    if all(re.fullmatch(r"[-+.:\dTZeE ]*\d[-+.:\dTZeE ]*", name) for name in names):
        detail = "the file's first line is a record, not a header; name the columns here, in their order"
        return [FieldError("/source/header", detail)]
    return []


def _path(source: _Fields, upload: Upload | None) -> str | None:
    if upload is not None:
        if source.values.get("path") is not None:
            source.wrong("/path", "leave it out: a file was sent along")
        return None
    if source.values.get("path") is None:
        source.wrong("/path", "is missing: the file's path below the data folder; or send the file along")
    return source.text("path")


def _format(source: _Fields) -> str | None:
    name = str(source.values.get("path") or "").lower()
    if source.values.get("format") is not None:
        return source.choice("format", FORMATS, later=LATER)
    unread = next((ending for ending in _ENDINGS_LATER if name.endswith(ending)), None)
    if unread:
        source.wrong(
            "/format", f"files ending in {unread} are not supported yet; supported now: {', '.join(FORMATS)}"
        )
    return None


def _time(source: _Fields) -> dict[str, str | None]:
    unit, timezone = source.text("timestamp_unit", "iso"), source.text("timezone", "UTC")
    unit_wrong = unit and unit_error(unit)
    if unit_wrong:
        source.wrong("/timestamp_unit", unit_wrong)
    zone_wrong = unit and timezone and timezone_error(unit, timezone)
    if zone_wrong:
        source.wrong("/timezone", zone_wrong)
    return {"timestamp_unit": unit, "timezone": timezone}


def _header(source: _Fields) -> list[str] | None:
    names = source.values.get("header")
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() for name in names):
        source.wrong("/header", "must be a list of column names")
        return None
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        source.wrong("/header", f"names {', '.join(twice)} more than once")
    if not len(REQUIRED) <= len(names) <= MAX_COLUMNS:
        source.wrong(
            "/header", f"names {len(names)} columns; a bar file has {len(REQUIRED)} to {MAX_COLUMNS}"
        )
    return [name.strip() for name in names]


def _columns(source: _Fields) -> dict[str, str] | None:
    if source.values.get("columns") is None:
        return None
    fields = source.nested("columns", (*REQUIRED, *OPTIONAL))
    columns = {name: fields.text(name) for name in (*REQUIRED, *OPTIONAL)}
    for name in REQUIRED:
        if fields.values.get(name) is None:
            fields.wrong(f"/{name}", "is missing: which column of the file it is")
    mapped: dict[str, str] = {}
    for ours, theirs in columns.items():
        if theirs in mapped.values():
            fields.wrong(f"/{ours}", f"{theirs!r} is mapped already")
        elif theirs is not None:
            mapped[ours] = theirs
    return mapped


def _symbol(top: _Fields, source: _Fields) -> str | None:
    symbol = top.text("symbol")
    if symbol is not None and not SYMBOL.fullmatch(symbol):
        top.wrong("/symbol", f"{symbol!r} does not match {SYMBOL.pattern}")
    columns = source.values.get("columns")
    if symbol is not None and isinstance(columns, Mapping) and columns.get("symbol") is not None:
        top.wrong("/symbol", "leave it out: source.columns names a column for it")
    return symbol
