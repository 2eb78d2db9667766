"""One message of the topic: which members each form has. docs/market-data.md describes them."""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from cift_core.errors import did_you_mean
from cift_core.services.market_kinds import BARS, INTERVALS, KINDS, SYMBOL, TICKS, Kind
from cift_core.services.timestamps import unit_error
from cift_core.stores.kafka import Message

VERSION: Final = 1
MAX_ROWS: Final = 65_536
_MEMBERS = ("version", "kind", "symbol", "interval", "timestamp_unit", "columns")


class Shape(NamedTuple):
    """What the rows that are parsed together have in common; `columns` are our names."""

    kind: str
    interval: str | None
    timestamp_unit: str
    server_time: bool
    columns: tuple[str, ...]


class Unreadable(Exception):
    """Why a whole message is refused."""


def read_message(message: Message) -> tuple[Shape, Mapping[str, list[Any]], int]:
    """The shape of a message, its columns by our names, and how many rows they have.

    Raises:
        Unreadable: the whole message is refused.
    """
    try:
        record = json.loads(message.value)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"not JSON: {error}") from error
    if not isinstance(record, dict):
        raise Unreadable("not a JSON object")
    if {"columns", "version"} & record.keys():
        return _read_batch(record)
    return _read_tick(record, message.time_ms)


def _read_tick(record: dict[str, Any], time_ms: int) -> tuple[Shape, Mapping[str, list[Any]], int]:
    names = _tick_names(tuple(record))
    columns = {ours: [record[theirs]] for ours, theirs in names if record[theirs] is not None}
    for name in ("symbol", "price"):
        if name not in columns:
            raise Unreadable(f"{name} is missing")
    server_time = "timestamp" not in columns
    if server_time:
        columns["timestamp"] = [time_ms]
    unit = "ms" if server_time else _unit(record)
    return Shape(TICKS.name, None, unit, server_time, _ordered(TICKS, columns)), columns, 1


def _ordered(kind: Kind, columns: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(name for name in _column_names(kind) if name in columns)


def _column_names(kind: Kind) -> tuple[str, ...]:
    number = (kind.number,) if kind.number and kind.number not in kind.columns else ()
    return (*kind.columns, *number)


@lru_cache(maxsize=1_000)
def _tick_names(names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Our names with those of the message, found as the columns of files are; others are ignored."""
    found = []
    for ours in TICKS.columns:
        usual = TICKS.usual_names[ours]
        theirs = [name for name in names if re.sub(r"[\s_-]", "", name).lower() in usual]
        if len(theirs) > 1:
            raise Unreadable(f"{' and '.join(theirs)} could each be the {ours}")
        found += [(ours, name) for name in theirs]
    if {"side", "buyer_is_maker"} <= {ours for ours, _ in found}:
        raise Unreadable("buyer_is_maker says the same as side; give one of the two")
    return tuple(found)


def _read_batch(record: dict[str, Any]) -> tuple[Shape, Mapping[str, list[Any]], int]:
    for name in record:
        if name not in _MEMBERS:
            raise Unreadable(f"{name} is not a member here{did_you_mean(name, _MEMBERS)}")
    if record.get("version") != VERSION:
        raise Unreadable(f"version {record.get('version')!r} is not known here; known is {VERSION}")
    kind = KINDS.get(str(record.get("kind")))
    if kind is None:
        raise Unreadable(f"kind {record.get('kind')!r} is none of: {', '.join(KINDS)}")
    interval = record.get("interval")
    if (interval not in INTERVALS) if kind is BARS else (interval is not None):
        known = (
            f"is none of: {', '.join(INTERVALS)}"
            if kind is BARS
            else f"must be left out: {kind.name} have none"
        )
        raise Unreadable(f"interval {interval!r} {known}")
    columns, count = _batch_columns(kind, record)
    return Shape(kind.name, interval, _unit(record), False, _ordered(kind, columns)), columns, count


def _batch_columns(kind: Kind, record: dict[str, Any]) -> tuple[dict[str, list[Any]], int]:
    columns = record.get("columns")
    if not isinstance(columns, dict) or not all(isinstance(column, list) for column in columns.values()):
        raise Unreadable("columns must be an object of lists")
    for name in columns:
        if name not in _column_names(kind):
            near = did_you_mean(name, _column_names(kind))
            raise Unreadable(f"columns: {kind.name} have no {name}{near}")
    missing = [name for name in kind.required if name not in columns]
    if missing:
        raise Unreadable(f"columns: {', '.join(missing)} must be there")
    sizes = {len(column) for column in columns.values()}
    if len(sizes) > 1 or not 1 <= max(sizes) <= MAX_ROWS:
        raise Unreadable(f"columns: all must have one length of 1 to {MAX_ROWS:,}; they have {sorted(sizes)}")
    if {"side", "buyer_is_maker"} <= columns.keys():
        raise Unreadable("columns: buyer_is_maker says the same as side; give one of the two")
    (count,) = sizes
    symbol = record.get("symbol")
    if (symbol is None) == ("symbol" not in columns):
        raise Unreadable("symbol must be a member or a column, and not both")
    if symbol is not None:
        if not isinstance(symbol, str) or not SYMBOL.fullmatch(symbol):
            raise Unreadable(f"symbol {symbol!r} does not match {SYMBOL.pattern}")
        columns = columns | {"symbol": [symbol] * count}
    return columns, count


def _unit(record: Mapping[str, Any]) -> str:
    unit = record.get("timestamp_unit", "iso")
    wrong = unit_error(unit) if isinstance(unit, str) else "must be text"
    if wrong:
        raise Unreadable(f"timestamp_unit {wrong}")
    return str(unit)
