"""Bar files: which column is what, and the records as bars, each refused one with its reasons."""

import csv
import heapq
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cift_core.errors import FieldError, InvalidInput, did_you_mean
from cift_core.services.csv_records import Records, split_records
from cift_core.services.timestamps import Fault, TimeFormat, parse_times, quoted
from cift_core.stores.files import Block, DataFile

INTERVALS = ("1s", "5s", "15s", "1m", "5m", "15m", "30m", "1h", "4h", "1d", "1w", "1M")
REQUIRED = ("timestamp", "open", "high", "low", "close")
OPTIONAL = ("volume", "adjusted_close", "symbol")
PRICES = ("open", "high", "low", "close")
VALUES = (*PRICES, "volume", "adjusted_close")
SYMBOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,31}")
_USUAL_NAMES = {
    "timestamp": {"timestamp", "time", "date", "datetime"},
    "open": {"open"},
    "high": {"high"},
    "low": {"low"},
    "close": {"close"},
    "volume": {"volume"},
    "adjusted_close": {"adjclose", "adjustedclose"},
    "symbol": {"symbol", "ticker"},
}
_HEAD_BYTES = 65_536


@dataclass(frozen=True)
class BarLayout:
    """How a file holds its bars: a record's fields, which of them is which of ours, how time is written."""

    header: tuple[str, ...]
    has_header_line: bool
    columns: Mapping[str, str]
    symbol: str | None
    time: TimeFormat


@dataclass(frozen=True)
class Bars:
    """Good bars in the order of the file, as columns of equal length.

    `symbols` is text (object), `times_us` int64, `lines` int64 (their lines in the file, from 1); `values`
    holds the six of `VALUES` as float64[n, 6], NaN where volume or adjusted close is missing.
    """

    symbols: np.ndarray
    times_us: np.ndarray
    values: np.ndarray
    lines: np.ndarray

    def __len__(self) -> int:
        return len(self.times_us)

    def take(self, which: np.ndarray) -> "Bars":
        """The bars at these indices, or where this mask is true."""
        return Bars(self.symbols[which], self.times_us[which], self.values[which], self.lines[which])


@dataclass(frozen=True)
class Reject:
    """A record that was refused: its line in the file (from 1), why, and its text."""

    line: int
    reason: str
    raw: str


@dataclass(frozen=True)
class ParsedBlock:
    """One block: its good bars, and what was refused."""

    bars: Bars
    records: Records
    faults: tuple[Fault, ...]
    first_record: int

    @property
    def record_count(self) -> int:
        """Every line but the header."""
        return len(self.records.lines.ends) - self.first_record

    def rejects(self, conflicts: np.ndarray, conflict_reason: str) -> Iterator[Reject]:
        """The refused records in the order of the file, made one by one: a block may hold very many.

        `conflicts` are the lines of bars that were good by themselves.
        """
        rows = (int(line) - self.records.lines.first_line for line in conflicts)
        for row, reason in heapq.merge(
            self.records.faults(), self._bad_bars(), ((row, conflict_reason) for row in rows)
        ):
            if row >= self.first_record:
                yield Reject(self.records.lines.first_line + row, reason, self.records.lines.raw(row))

    def _bad_bars(self) -> Iterator[tuple[int, str]]:
        for index in np.flatnonzero(_any(self.faults, len(self.records.rows))):
            reasons = [fault.reason(int(index)) for fault in self.faults if fault.mask[index]]
            yield int(self.records.rows[index]), "; ".join(reasons)


def read_first_line(file: DataFile) -> tuple[str, ...]:
    """The fields of a file's first line, without surrounding blanks.

    Raises:
        InvalidInput: `empty_file`, `not_text`, and those of `DataFile.blocks`.
    """
    block = next(file.blocks(_HEAD_BYTES), None)
    if block is None:
        raise InvalidInput("empty_file", "The file is empty.")
    first, _, _ = block.data.partition(b"\n")
    if b"\0" in block.data:
        raise InvalidInput("not_text", "The file is not text: it holds NUL bytes. Save it as CSV in UTF-8.")
    if b"\r" in first.removesuffix(b"\r"):
        raise InvalidInput("not_text", "The lines end in CR alone; save the file with LF or CRLF.")
    try:
        fields = next(csv.reader([first.decode("utf-8").removesuffix("\r")], strict=True), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput("not_text", f"The first line is not CSV in UTF-8 ({error}).") from error
    return tuple(field.strip() for field in fields)


def map_columns(header: Sequence[str], symbol_given: bool) -> tuple[dict[str, str], list[FieldError]]:
    """Our names to the header's, found by their usual names in any case; and what is missing or not clear."""
    columns: dict[str, str] = {}
    errors = []
    for ours, usual in _USUAL_NAMES.items():
        found = [name for name in header if re.sub(r"[\s_-]", "", name).lower() in usual]
        if len(found) == 1:
            columns[ours] = found[0]
        elif found:
            detail = f"{_listed(found)} could each be it; say which in source.columns"
            errors.append(_column_error(ours, detail))
        elif ours in REQUIRED:
            detail = f"not found among {_listed(header)}; say in source.columns which it is"
            errors.append(_column_error(ours, detail))
    if symbol_given and "symbol" in columns:
        detail = (
            f"the file has a column {quoted(columns['symbol'])}: leave symbol out, or give source.columns"
        )
        errors.append(FieldError("/symbol", detail))
    return columns, errors


def column_errors(header: Sequence[str], columns: Mapping[str, str]) -> list[FieldError]:
    """Every column of the mapping that the header does not have exactly once."""
    errors = []
    for ours, name in columns.items():
        if header.count(name) == 0:
            near = did_you_mean(name, header)
            detail = f"the file has no column {quoted(name)}{near}; it has {_listed(header)}"
            errors.append(_column_error(ours, detail))
        elif header.count(name) > 1:
            detail = f"the file has {header.count(name)} columns {quoted(name)}"
            errors.append(_column_error(ours, detail))
    return errors


def parse_bars(block: Block, layout: BarLayout) -> ParsedBlock:
    """The bars of a block of lines, checked one by one; nothing is repaired.

    Raises:
        InvalidInput: `line_too_long`.
    """
    wanted = [layout.header.index(name) for name in layout.columns.values()]
    records = split_records(block, len(layout.header), wanted)
    first_record = 1 if layout.has_header_line and block.first_line == 1 else 0
    if first_record and len(records.rows) and records.rows[0] == 0:
        columns = tuple(column.slice(1) for column in records.columns)
        records = Records(records.lines, columns, records.rows[1:])
    text = dict(zip(layout.columns, records.columns, strict=True))
    times_us, faults = parse_times(text["timestamp"], layout.time)
    if "symbol" in text:
        faults.append(_symbol_fault(text["symbol"]))
        symbols = text["symbol"].to_numpy(zero_copy_only=False)
    else:
        symbols = np.full(len(records.rows), layout.symbol, dtype=object)
    values = np.full((len(records.rows), len(VALUES)), np.nan)
    for column, name in enumerate(VALUES):
        if name in text:
            values[:, column], found = _numbers(name, text[name])
            faults += found
    faults += _impossible(values, text)
    bars = Bars(symbols, times_us, values, records.lines.first_line + records.rows)
    return ParsedBlock(bars.take(~_any(faults, len(bars))), records, tuple(faults), first_record)


def _numbers(name: str, text: pa.StringArray) -> tuple[np.ndarray, list[Fault]]:
    empty = _mask(pc.equal(text, ""))
    try:
        readable = ~empty
        values = pc.cast(pc.if_else(pa.array(readable), text, None), pa.float64())
    except pa.ArrowInvalid:
        number = r"\A[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\z|\A(?i:[+-]?(?:nan|inf|infinity))\z"
        readable = _mask(pc.match_substring_regex(text, number))
        values = pc.cast(pc.if_else(pa.array(readable), text, None), pa.float64())
    figures = np.array(values.to_numpy(zero_copy_only=False), dtype=np.float64)

    def says(what: str) -> Callable[[int], str]:
        return lambda row: f"{name} {quoted(text[row].as_py())} {what}"

    finite = np.isfinite(figures)
    infinite = readable & ~finite if name in PRICES else np.isinf(figures)
    faults = [
        Fault(~empty & ~readable, says("is not a number")),
        Fault(infinite, says("is not a finite number")),
        Fault(finite & (figures < 0), says("is negative"))
        if name == "volume"
        else Fault(finite & (figures <= 0), says("is not positive")),
    ]
    if name in PRICES:
        faults.append(Fault(empty, lambda _: f"{name} is empty"))
    return figures, faults


def _impossible(values: np.ndarray, text: Mapping[str, pa.StringArray]) -> list[Fault]:
    opens, highs, lows, closes = (values[:, column] for column in range(4))
    prices_hold = (np.isfinite(values[:, :4]) & (values[:, :4] > 0)).all(axis=1)

    def figure(name: str, row: int) -> str:
        return str(text[name][row].as_py())

    def outside(name: str) -> Fault:
        prices = {"open": opens, "close": closes}[name]
        return Fault(
            prices_hold & (lows <= highs) & ((prices < lows) | (prices > highs)),
            lambda row: (
                f"{name} {figure(name, row)} lies outside low {figure('low', row)} .. "
                f"high {figure('high', row)}"
            ),
        )

    crossed = Fault(
        prices_hold & (lows > highs),
        lambda row: f"low {figure('low', row)} is above high {figure('high', row)}",
    )
    return [crossed, outside("open"), outside("close")]


def _symbol_fault(text: pa.StringArray) -> Fault:
    bad = ~_mask(pc.match_substring_regex(text, rf"\A{SYMBOL.pattern}\z"))
    return Fault(bad, lambda row: f"symbol {quoted(text[row].as_py())} does not match {SYMBOL.pattern}")


def _any(faults: Sequence[Fault], count: int) -> np.ndarray:
    return reduce(np.logical_or, (fault.mask for fault in faults), np.zeros(count, dtype=bool))


def _mask(values: pa.BooleanArray) -> np.ndarray:
    return np.array(values.to_numpy(zero_copy_only=False), dtype=bool)


def _column_error(ours: str, detail: str) -> FieldError:
    return FieldError(f"/source/columns/{ours}", detail)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(quoted(name) for name in names[:20])
    return f"{shown} and {len(names) - 20} more" if len(names) > 20 else shown
