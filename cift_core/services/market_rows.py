"""Records as bars, trades or quotes, each refused one with its reasons."""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np

from cift_core.services.columns import Layout
from cift_core.services.record_checks import crossed_quotes, read_ids, read_symbols, read_values
from cift_core.services.records import Records
from cift_core.services.timestamps import Fault, parse_times


@dataclass(frozen=True)
class MarketRows:
    """Good records of one kind in the order of the file, as columns of equal length.

    `names` are the symbols there may be, `codes` each row's index among them; `times_ns` int64, `places`
    int64 (their lines or rows in the file, from 1); `numbers` (int64) tells those of one symbol and time
    apart, and is -1 until they are numbered; `values` are the kind's as float64[n, k], NaN where one is
    missing.
    """

    names: tuple[str, ...]
    codes: np.ndarray
    times_ns: np.ndarray
    numbers: np.ndarray
    values: np.ndarray
    places: np.ndarray

    def __len__(self) -> int:
        return len(self.times_ns)

    @property
    def symbols(self) -> list[str]:
        """The symbols there are, each once."""
        return [self.names[code] for code in np.flatnonzero(np.bincount(self.codes))]

    def take(self, which: np.ndarray) -> "MarketRows":
        """The rows at these indices, or where this mask is true."""
        codes, times_ns, numbers = self.codes[which], self.times_ns[which], self.numbers[which]
        values = self.values.T[:, which].T  # each column stays in one piece
        return MarketRows(self.names, codes, times_ns, numbers, values, self.places[which])

    def numbered(self, numbers: np.ndarray) -> "MarketRows":
        """The rows with these numbers."""
        return replace(self, numbers=numbers)


@dataclass(frozen=True)
class Reject:
    """A record that was refused: its place in the file (from 1) with the path `file`, why, and its text.

    Of the topic the place is that in the message at `offset` of `partition`, or 0 of a whole message.
    """

    place: int
    reason: str
    raw: str
    partition: int | None = None
    offset: int | None = None
    file: str | None = None


@dataclass(frozen=True)
class ParsedChunk:
    """One chunk: its good rows, and what was refused; `refused` are those of good symbol and time."""

    rows: MarketRows
    refused: MarketRows
    records: Records
    faults: tuple[Fault, ...]

    def rejects(self, conflicts: np.ndarray, conflict_reason: str) -> Iterator[Reject]:
        """The refused records in the order of the file, made one by one: a chunk may hold very many.

        `conflicts` are the places of rows that were good by themselves.
        """
        records = self.records
        again = (int(place) - records.first_place for place in conflicts)
        for row, reason in heapq.merge(
            records.faults(), self._bad_rows(), ((row, conflict_reason) for row in again)
        ):
            yield Reject(records.first_place + row, reason, records.raw(row))

    def _bad_rows(self) -> Iterator[tuple[int, str]]:
        for index in np.flatnonzero(_any(self.faults, len(self.records.rows))):
            reasons = [fault.reason(int(index)) for fault in self.faults if fault.mask[index]]
            yield int(self.records.rows[index]), "; ".join(reasons)


def parse_rows(records: Records, layout: Layout) -> ParsedChunk:
    """The rows of a chunk of records, checked one by one; nothing is repaired."""
    kind, count = layout.kind, len(records.rows)
    columns = dict(zip(layout.columns, records.columns, strict=True))
    places = {name: place for place, name in enumerate(layout.columns)}

    def text(name: str, row: int) -> str:
        return records.text(places[name], row)

    times_ns, faults = parse_times(
        columns["timestamp"], layout.time, kind.unit_ns, lambda row: text("timestamp", row)
    )
    if layout.symbol is None:
        names, codes, found = read_symbols(columns["symbol"], text)
        faults += found
    else:
        names, codes = (layout.symbol,), np.zeros(count, dtype=np.int32)
    nowhere = _any(faults, count)
    numbers = np.full(count, -1 if kind.number else 0, dtype=np.int64)
    if kind.number in columns:
        numbers, found = read_ids(str(kind.number), columns[str(kind.number)], text)
        faults += found
    values, found = read_values(kind, columns, text)
    faults += found
    if layout.refuses_crossed:
        faults.append(crossed_quotes(values, text))
    rows = MarketRows(names, codes, times_ns, numbers, values, records.first_place + records.rows)
    bad = _any(faults, count)
    good = rows.take(~bad) if bad.any() else rows
    return ParsedChunk(good, rows.take(bad & ~nowhere), records, tuple(faults))


def _any(faults: Sequence[Fault], count: int) -> np.ndarray:
    return reduce(np.logical_or, (fault.mask for fault in faults), np.zeros(count, dtype=bool))
