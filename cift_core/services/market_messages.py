"""What comes by the topic, as rows: single trades and batches, each row with the place it stood at.

docs/market-data.md describes the messages. A row's place (partition and offset of its message, its index in
that) is the same each time it is read. It is the number of a row that has none of its own: so a message that
is delivered again changes nothing, and two true trades that are equal are two.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cift_core.services.columns import Layout
from cift_core.services.market_kinds import KINDS, Kind
from cift_core.services.market_rows import MarketRows, parse_rows
from cift_core.services.message_schema import VERSION, Shape, Unreadable, read_message
from cift_core.services.records import Records
from cift_core.services.timestamps import TimeFormat
from cift_core.stores.kafka import Message

ROW_BITS: Final = 16  # of the `MAX_ROWS` of a message
OFFSET_BITS: Final = 40


def place_of(partition: int, offset: int, row: int) -> int:
    """One number below 2⁶³ for a row's place; rows of one partition are in the order of their places.

    Raises:
        OverflowError: beyond 128 partitions or 2⁴⁰ messages in one of them.
    """
    if partition >= 1 << (63 - ROW_BITS - OFFSET_BITS) or offset >= 1 << OFFSET_BITS:
        raise OverflowError(f"partition {partition}, offset {offset} is beyond what a row's number holds")
    return (partition << OFFSET_BITS | offset) << ROW_BITS | row


@dataclass(frozen=True)
class Refused:
    """A row (or None: a whole message) that was refused, why, and as which message it could be sent again."""

    message: Message
    row: int | None
    reason: str
    value: bytes


@dataclass(frozen=True)
class Parsed:
    """Good rows of one kind, in the order of their places on the topic, which are `places`."""

    kind: Kind
    interval: str | None
    server_time: bool
    rows: MarketRows


@dataclass
class _Collected:
    """The columns of one shape from many messages, end to end."""

    shape: Shape
    columns: dict[str, list[Any]] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    count: int = 0

    def add(self, message: Message, columns: Mapping[str, list[Any]], count: int) -> None:
        for name in self.shape.columns:
            self.columns.setdefault(name, []).extend(columns[name])
        self.messages.append(message)
        self.starts.append(self.count)
        self.count += count

    def parse(self) -> tuple[MarketRows, list[Refused]]:
        shape, kind = self.shape, KINDS[self.shape.kind]
        columns = [self.columns[name] for name in shape.columns]
        records = Records(
            first_place=0,
            count=self.count,
            columns=tuple(map(_array, columns)),
            rows=np.arange(self.count),
            faults=lambda: iter(()),
            raw=lambda row: "",
            text=lambda column, row: _text(columns[column][row]),
        )
        layout = Layout(
            kind, {name: name for name in shape.columns}, None, TimeFormat(shape.timestamp_unit, "UTC")
        )
        parsed = parse_rows(records, layout)
        rows = parsed.rows
        places = self._places()[rows.places]
        numbers = np.where(rows.numbers < 0, places, rows.numbers)
        nothing = np.empty(0, dtype=np.int64)
        refused = [self._refused(bad.place, bad.reason) for bad in parsed.rejects(nothing, "")]
        return replace(rows, places=places, numbers=numbers), refused

    def _places(self) -> np.ndarray:
        firsts = [place_of(message.partition, message.offset, 0) for message in self.messages]
        sizes = np.diff(np.append(self.starts, self.count))
        within = np.arange(self.count) - np.repeat(self.starts, sizes)
        return np.asarray(np.repeat(np.array(firsts, dtype=np.int64), sizes) + within)

    def _refused(self, index: int, reason: str) -> Refused:
        which = int(np.searchsorted(self.starts, index, "right")) - 1
        message, row = self.messages[which], index - self.starts[which]
        if is_tick(message.value):
            return Refused(message, None, reason, message.value)
        shape = self.shape
        values = {name: [self.columns[name][index]] for name in shape.columns}
        return Refused(message, row, reason, _batch(shape.kind, shape.interval, shape.timestamp_unit, values))


def is_tick(value: bytes) -> bool:
    """Whether a readable message is a single trade."""
    record = json.loads(value)
    return not {"columns", "version"} & record.keys()


def parse_messages(messages: Iterable[Message]) -> tuple[list[Parsed], list[Refused]]:
    """The good rows of the messages, and what was refused; nothing is repaired."""
    collected: dict[Shape, _Collected] = {}
    refused = []
    for message in messages:
        try:
            shape, columns, count = read_message(message)
        except Unreadable as error:
            refused.append(Refused(message, None, str(error), message.value))
        else:
            collected.setdefault(shape, _Collected(shape)).add(message, columns, count)
    together: dict[tuple[str, str | None, bool], list[MarketRows]] = {}
    for shape, each in collected.items():
        rows, bad = each.parse()
        together.setdefault((shape.kind, shape.interval, shape.server_time), []).append(rows)
        refused += bad
    parsed = [
        Parsed(KINDS[kind], interval, server_time, _merged(parts))
        for (kind, interval, server_time), parts in together.items()
    ]
    return parsed, refused


def _merged(parts: Sequence[MarketRows]) -> MarketRows:
    """The rows of all parts in the order of their places."""
    index: dict[str, int] = {}
    codes = []
    for part in parts:
        ours = np.array([index.setdefault(name, len(index)) for name in part.names], dtype=np.int32)
        codes.append(ours[part.codes])
    columns = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("times_ns", "numbers", "values", "places")
    )
    rows = MarketRows(tuple(index), np.concatenate(codes), *columns)
    return rows.take(np.argsort(rows.places, kind="stable"))


def encode_rows(kind: Kind, interval: str | None, symbol: str, rows: MarketRows) -> bytes:
    """A batch of these rows of one symbol, as a message; times in nanoseconds, numbers as they are."""
    columns: dict[str, list[Any]] = {"timestamp": rows.times_ns.tolist()}
    for name, values in zip(kind.values, rows.values.T, strict=True):
        missing = np.isnan(values)
        if missing.all():
            continue
        if name == "side":
            columns[name] = ["buy" if value > 0 else "sell" if value < 0 else "" for value in values]
        else:
            columns[name] = [None if value != value else value for value in values.tolist()]  # noqa: PLR0124  NaN
    if kind.number:
        columns[kind.number] = rows.numbers.tolist()
    return _batch(kind.name, interval, "ns", columns, symbol)


def _batch(
    kind: str, interval: str | None, unit: str, columns: Mapping[str, list[Any]], symbol: str | None = None
) -> bytes:
    members = {"version": VERSION, "kind": kind, "symbol": symbol, "interval": interval}
    members["timestamp_unit"] = unit
    given = {name: value for name, value in members.items() if value is not None}
    return json.dumps({**given, "columns": columns}, separators=(",", ":")).encode()


def _array(values: Sequence[Any]) -> pa.Array:
    """The values of a column: numbers as numbers where all are, else each as the text it is."""
    try:
        array = pa.array(values)
    except (pa.ArrowException, OverflowError, ValueError, TypeError):
        # of several types, beyond 64 bits, or half of a surrogate pair, which no text holds
        return pa.array([_text(value) for value in values], pa.string())
    if pa.types.is_string(array.type):
        return pc.fill_null(pc.utf8_trim_whitespace(array), "")
    if not (pa.types.is_floating(array.type) or pa.types.is_integer(array.type)):
        return pa.array([_text(value) for value in values], pa.string())
    return array


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.strip().encode(errors="backslashreplace").decode()
    return "" if value is None else json.dumps(value)
