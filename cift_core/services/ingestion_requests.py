"""Requests for an ingestion: checked against their file, every wrong field told, defaults filled in."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from cift_core.errors import FieldError, InvalidInput
from cift_core.services.columns import Layout, column_errors, map_columns, side_errors
from cift_core.services.ingestion_paths import paths_of_source
from cift_core.services.market_kinds import BARS, INTERVALS, KINDS, QUOTES, SYMBOL, Kind
from cift_core.services.record_files import FORMATS, RecordFile
from cift_core.services.records import MAX_COLUMNS
from cift_core.services.request_fields import Fields
from cift_core.services.timestamps import TimeFormat, timezone_error, unit_error
from cift_core.settings import Settings
from cift_core.stores.files import Upload

MAX_ERRORS = 20  # of files that do not fit; more say the same
_REQUEST_FIELDS = ("source", "kind", "symbol", "interval", "crossed_quotes", "max_reject_share")
_SOURCE_FIELDS = ("type", "path", "format", "columns", "header", "timestamp_unit", "timezone", "paths")
_TOPIC_FIELDS = ("type", "offsets", "max_messages", "max_seconds")
SOURCES: Final = ("file", "kafka")
CROSSED: Final = ("keep", "reject")
MAX_SECONDS: Final = 3_000  # a task is ended after 3,600
_TIME_DEFAULTS = {"timestamp_unit": "iso", "timezone": "UTC"}


def full_request(settings: Settings, request: object, upload: Upload | None) -> dict[str, Any]:
    """The request with every default filled in; the file's first lines were read and fit it.

    Raises:
        InvalidInput: `invalid_ingestion` with every wrong field; the file's own code when only it is wrong.
        StoreUnavailable: the disk does not answer.
    """
    errors: list[FieldError] = []
    top = Fields(errors, "", request, _REQUEST_FIELDS)
    source = top.nested("source", _SOURCE_FIELDS)
    if source.values.get("type") == "kafka":
        return _from_topic(request, upload)
    kind = KINDS.get(top.choice("kind", KINDS) or "")
    filled: dict[str, Any] = {
        "source": {
            "type": source.choice("type", SOURCES),
            **paths_of_source(settings, source, upload),
            "format": None if source.values.get("format") is None else source.choice("format", FORMATS),
            "columns": _columns(source, kind),
            "header": _header(source, kind),
            **_time(source),
        },
        "kind": None if kind is None else kind.name,
        "symbol": _symbol(top, source),
        "interval": _interval(top, kind),
        "crossed_quotes": _crossed(top, kind),
        "max_reject_share": _share(top),
    }
    try:
        if upload is not None or filled["source"]["path"] or filled["source"].get("paths"):
            _fit_to_files(settings, filled, upload, errors)
    except InvalidInput as error:
        found = error.errors or [FieldError("/file" if upload else "/source/path", error.message)]
        if not errors:
            raise InvalidInput(error.code, error.message, found) from error
        errors += found
    if errors:
        raise InvalidInput("invalid_ingestion", "The ingestion can't run as asked: see errors.", errors)
    return filled


def _from_topic(request: object, upload: Upload | None) -> dict[str, Any]:
    errors: list[FieldError] = []
    top = Fields(errors, "", request, _REQUEST_FIELDS)
    source = top.nested("source", _TOPIC_FIELDS)
    for name in _REQUEST_FIELDS[1:]:
        if top.values.get(name) is not None:
            top.wrong(f"/{name}", "leave it out: each message says what it holds")
    if upload is not None:
        top.wrong("/source/type", "must be file: a file was sent along")
    most, seconds = source.values.get("max_messages"), source.values.get("max_seconds")
    if most is not None and (not isinstance(most, int) or isinstance(most, bool) or most < 1):
        source.wrong("/max_messages", "must be a whole number above 0")
    if seconds is not None and (
        not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 < seconds <= MAX_SECONDS
    ):
        source.wrong("/max_seconds", f"must be a number above 0 and at most {MAX_SECONDS:,}")
    offsets = source.values.get("offsets")
    if offsets is not None and not (isinstance(offsets, Mapping) and all(map(_is_offset, offsets.items()))):
        source.wrong("/offsets", 'must map partitions to offsets, such as {"0": 120, "1": 0}')
    if errors:
        raise InvalidInput("invalid_ingestion", "The ingestion can't run as asked: see errors.", errors)
    limits = {"offsets": offsets, "max_messages": most, "max_seconds": seconds}
    return {"source": {"type": "kafka", **limits}, **dict.fromkeys(_REQUEST_FIELDS[1:])}


def _is_offset(item: tuple[object, object]) -> bool:
    place, offset = item
    is_place = isinstance(place, str) and place.isascii() and place.isdecimal() and len(place) < 10
    return is_place and isinstance(offset, int) and not isinstance(offset, bool) and 0 <= offset < 2**63


def as_asked(request: object) -> object:
    """The request in the one spelling it shares with its equals: defaults written out, null left out.

    What is found in the file (format, columns) stays as it was sent: the file may be another by now.
    """
    if not isinstance(request, Mapping):
        return request
    top = _given(request)
    if top.get("kind") == QUOTES.name:
        top.setdefault("crossed_quotes", CROSSED[0])
    if isinstance(top.get("source"), Mapping):
        source = _TIME_DEFAULTS | _given(top["source"])
        if isinstance(source.get("columns"), Mapping):
            source["columns"] = _given(source["columns"])
        top["source"] = source
    return top


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def layout_of(request: Mapping[str, Any], names: Sequence[str]) -> Layout:
    """How to read the file of a full request that has these columns.

    Raises:
        InvalidInput: `invalid_columns`; the file is not the one the request was checked against.
    """
    source = request["source"]
    errors = column_errors(names, source["columns"])
    if errors:
        raise InvalidInput("invalid_columns", f"The file changed: {errors[0].detail}.", errors)
    return Layout(
        kind=KINDS[request["kind"]],
        columns=source["columns"],
        symbol=request["symbol"],
        time=TimeFormat(source["timestamp_unit"], source["timezone"]),
        refuses_crossed=request.get("crossed_quotes") == "reject",  # jobs of before it was have none
    )


def _fit_to_files(
    settings: Settings, filled: dict[str, Any], upload: Upload | None, errors: list[FieldError]
) -> None:
    source = filled["source"]
    if "paths" not in source:
        errors += _unfit(RecordFile(settings, source, upload.id if upload else None), filled)
    for path in source.get("paths", ()):
        try:
            found = _unfit(RecordFile(settings, source | {"path": path}, None), filled)
        except InvalidInput as error:
            found = list(error.errors) or [FieldError("/source/path", error.message)]
        errors += [FieldError(error.pointer, f"{path}: {error.detail}") for error in found]
        if len(errors) >= MAX_ERRORS:
            return
    if source["columns"] is None:
        return
    errors += side_errors(source["columns"])
    if filled["symbol"] is None and "symbol" not in source["columns"]:
        errors.append(FieldError("/symbol", "is missing, and the file has no column for it"))


def _unfit(file: RecordFile, filled: dict[str, Any]) -> list[FieldError]:
    """What of the request does not fit the file; format and columns are filled in where left open."""
    source = filled["source"]
    with file:
        source["format"], names = file.format, file.names()
        if filled["kind"] is None:
            return []
        if source["columns"] is None:
            kind, symbol_given = KINDS[filled["kind"]], filled["symbol"] is not None
            source["columns"], found = map_columns(kind, names, symbol_given)
        else:
            found = column_errors(names, source["columns"])
        return found + file.errors(source)


def _time(source: Fields) -> dict[str, str | None]:
    unit, timezone = (source.text(name, default) for name, default in _TIME_DEFAULTS.items())
    unit_wrong = unit and unit_error(unit)
    if unit_wrong:
        source.wrong("/timestamp_unit", unit_wrong)
    zone_wrong = unit and timezone and timezone_error(unit, timezone)
    if zone_wrong:
        source.wrong("/timezone", zone_wrong)
    return {"timestamp_unit": unit, "timezone": timezone}


def _interval(top: Fields, kind: Kind | None) -> str | None:
    if kind in (BARS, None):
        return top.choice("interval", INTERVALS) if kind or top.values.get("interval") is not None else None
    if top.values.get("interval") is not None:
        top.wrong("/interval", f"leave it out: {kind.name} have none")
    return None


def _crossed(top: Fields, kind: Kind | None) -> str | None:
    given = top.values.get("crossed_quotes") is not None
    if kind is QUOTES:
        return top.choice("crossed_quotes", CROSSED) if given else CROSSED[0]
    if given and kind is not None:
        top.wrong("/crossed_quotes", f"leave it out: {kind.name} have none")
    return None


def _share(top: Fields) -> float | None:
    share = top.values.get("max_reject_share")
    if share is None:
        return None
    if not isinstance(share, int | float) or isinstance(share, bool) or not 0 <= share <= 1:
        top.wrong("/max_reject_share", f"must be a number from 0 to 1, such as 0.01 for 1 %; got {share!r}")
        return None
    return float(share)


def _header(source: Fields, kind: Kind | None) -> list[str] | None:
    names = source.values.get("header")
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() for name in names):
        source.wrong("/header", "must be a list of column names")
        return None
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        source.wrong("/header", f"names {', '.join(twice)} more than once")
    if kind and not len(kind.required) <= len(names) <= MAX_COLUMNS:
        needed = f"a file of {kind.name} has {len(kind.required)} to {MAX_COLUMNS}"
        source.wrong("/header", f"names {len(names)} columns; {needed}")
    return [name.strip() for name in names]


def _columns(source: Fields, kind: Kind | None) -> dict[str, str] | None:
    if kind is None or source.values.get("columns") is None:
        return None
    fields = source.nested("columns", kind.columns)
    columns = {name: fields.text(name) for name in kind.columns}
    for name in kind.required:
        if fields.values.get(name) is None:
            fields.wrong(f"/{name}", "is missing: which column of the file it is")
    mapped: dict[str, str] = {}
    for ours, theirs in columns.items():
        if theirs in mapped.values():
            fields.wrong(f"/{ours}", f"{theirs!r} is mapped already")
        elif theirs is not None:
            mapped[ours] = theirs
    return mapped


def _symbol(top: Fields, source: Fields) -> str | None:
    symbol = top.text("symbol")
    if symbol is not None and not SYMBOL.fullmatch(symbol):
        top.wrong("/symbol", f"{symbol!r} does not match {SYMBOL.pattern}")
    columns = source.values.get("columns")
    if symbol is not None and isinstance(columns, Mapping) and columns.get("symbol") is not None:
        top.wrong("/symbol", "leave it out: source.columns names a column for it")
    return symbol
