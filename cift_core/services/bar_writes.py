"""Bars into QuestDB, exactly once in effect: compared with what is stored, written, and counted there."""

import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from uuid import UUID

import numpy as np
import pandas as pd

from cift_core.errors import InvalidInput, StoreUnavailable
from cift_core.services.bar_files import VALUES, Bars
from cift_core.stores.advisory_locks import Lock, hold
from cift_core.stores.postgres import PostgresPool
from cift_core.stores.questdb import QuestDBPool, Rows

TABLE = "bars"
VISIBLE_TIMEOUT_S = 120.0
_WRITE, _OWN, _DUPLICATE, _CONFLICT = range(4)
_PAGE_ROWS = 50_000
_STORED = (
    "SELECT cast(timestamp AS long), open, high, low, close, volume, adjusted_close, ingestion_id = %s"
    " FROM bars WHERE symbol = %s AND interval = %s"
    " AND timestamp >= cast(%s AS timestamp) AND timestamp <= cast(%s AS timestamp)"
    " ORDER BY timestamp LIMIT 50000"
)
_COUNT = (
    "SELECT count() FROM bars WHERE ingestion_id = %s AND interval = %s"
    " AND timestamp >= cast(%s AS timestamp) AND timestamp <= cast(%s AS timestamp)"
)


def one_writer(
    postgres: PostgresPool, symbol: str | None, while_waiting: Callable[[], None]
) -> AbstractContextManager[Callable[[], None]]:
    """The right to write the bars of one symbol, or of all when the file names its symbols itself.

    Whoever writes all excludes everybody. The table's lock comes first, so nobody waits in a circle.
    """
    if symbol is None:
        return hold(postgres, Lock(TABLE), while_waiting=while_waiting)
    locks = Lock(TABLE, shared=True), Lock(f"{TABLE}:{symbol}")
    return hold(postgres, *locks, while_waiting=while_waiting)


@dataclass(frozen=True)
class Outcome:
    """What became of a block's bars: how many are written (by this ingestion), how many stood there before.

    `conflicts` are the lines of those that contradict an earlier bar of the same file.
    """

    written: int
    duplicate: int
    conflicts: np.ndarray


class BarWriter:
    """Writes the blocks of one file, under the lock of `one_writer`.

    Of two bars of the file with one symbol and time, the first is taken; the second is a duplicate when it
    is equal, else a conflict. A stored bar that is equal is not written again: it is a duplicate, unless this
    same ingestion wrote it (in an attempt that did not finish). One that differs is replaced: a correction.
    """

    def __init__(self, questdb: QuestDBPool, ingestion_id: UUID, interval: str) -> None:
        self._questdb = questdb
        self._ingestion_id = str(ingestion_id)
        self._interval = interval
        self._seen: dict[str, SeenTimes] = defaultdict(SeenTimes)
        self.first_us: int | None = None
        self.last_us: int | None = None
        questdb.wait_visible(TABLE, timeout_s=VISIBLE_TIMEOUT_S)

    def write(self, bars: Bars) -> Outcome:
        """Write what is new or changed; acknowledged, not yet visible.

        Raises:
            StoreUnavailable: QuestDB does not answer.
        """
        if not len(bars):
            return Outcome(0, 0, bars.lines)
        codes, _ = pd.factorize(bars.symbols)
        order = np.lexsort((bars.times_us, codes))  # equal keys stay in the order of the file
        bars, codes = bars.take(order), codes[order]
        leads = np.append(True, (np.diff(codes) != 0) | (np.diff(bars.times_us) != 0))
        leader = np.maximum.accumulate(np.where(leads, np.arange(len(bars)), 0))
        heads = np.flatnonzero(leads)
        outcome, taken = np.empty(len(bars), dtype=np.int8), bars.values.copy()
        for part in _runs(codes[heads]):
            outcome[heads[part]], taken[heads[part]] = self._judge(bars.take(heads[part]))
        again = np.where(_equal(bars.values, taken[leader]), _DUPLICATE, _CONFLICT)
        outcome = np.where(leads, outcome, again)
        self._send(bars.take(outcome == _WRITE))
        self._note_range(bars)
        return Outcome(
            written=int(np.isin(outcome, (_WRITE, _OWN)).sum()),
            duplicate=int((outcome == _DUPLICATE).sum()),
            conflicts=np.sort(bars.lines[outcome == _CONFLICT]),
        )

    def verify(self, rows_written: int) -> None:
        """Return when the table holds exactly `rows_written` bars of this ingestion, all of them readable.

        Raises:
            StoreUnavailable: it holds fewer (another attempt writes them again), or does not answer.
            InvalidInput: `file_changed`; it holds bars of an earlier attempt that the file has no more.
        """
        self._questdb.wait_visible(TABLE, timeout_s=VISIBLE_TIMEOUT_S)
        params = (self._ingestion_id, self._interval, self.first_us, self.last_us)
        found = 0 if self.first_us is None else int(self._questdb.fetch(_COUNT, params)[0][0])
        if found < rows_written:
            raise StoreUnavailable(
                "rows_missing",
                f"QuestDB shows {found:,} bars of this ingestion, {rows_written:,} were written.",
            )
        if found > rows_written:
            raise InvalidInput(
                "file_changed",
                f"QuestDB holds {found:,} bars of this ingestion, the file has {rows_written:,} of them: "
                "it was changed between two attempts to read it. Ingest it again.",
            )

    def _judge(self, bars: Bars) -> tuple[np.ndarray, np.ndarray]:
        """The outcome of bars of one symbol with increasing times, and the values the file stands for."""
        seen = self._seen[bars.symbols[0]]
        again = seen.contains(bars.times_us)
        if again.any():
            self._questdb.wait_visible(TABLE, timeout_s=VISIBLE_TIMEOUT_S)
        seen.add(bars.times_us[~again])
        outcome, taken = np.where(again, _CONFLICT, _WRITE), bars.values.copy()
        for which, stored, own in self._stored(bars):
            equal = _equal(bars.values[which], stored)
            outcome[which[equal]] = np.where(own & ~again[which], _OWN, _DUPLICATE)[equal]
            taken[which] = np.where(again[which, np.newaxis], stored, bars.values[which])
        return outcome, taken

    def _stored(self, bars: Bars) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """In pages: which of the bars have a stored one, its values, and whether this ingestion wrote it."""
        begin_us, end_us = int(bars.times_us[0]), int(bars.times_us[-1])
        full = True
        while full:
            params = (self._ingestion_id, bars.symbols[0], self._interval, begin_us, end_us)
            rows = self._questdb.fetch(_STORED, params)
            full = len(rows) == _PAGE_ROWS
            if not rows:
                return
            times_us = np.array([row[0] for row in rows], dtype=np.int64)
            begin_us = int(times_us[-1]) + 1
            place = np.searchsorted(bars.times_us, times_us)
            hit = bars.times_us[place] == times_us
            values = np.array([row[1:7] for row in rows], dtype=np.float64)
            own = np.array([row[7] for row in rows], dtype=bool)
            yield place[hit], values[hit], own[hit]

    def _send(self, bars: Bars) -> None:
        if not len(bars):
            return
        frame = pd.DataFrame(
            {
                "timestamp": pd.DatetimeIndex(bars.times_us.view("datetime64[us]"), tz="UTC"),
                "symbol": pd.Categorical(bars.symbols),
                "interval": pd.Categorical([self._interval]).repeat(len(bars)),
                **dict(zip(VALUES, bars.values.T, strict=True)),
                "ingestion_id": pd.Series(np.full(len(bars), self._ingestion_id), dtype="str"),
            }
        )
        self._questdb.write(Rows(TABLE, frame, "timestamp", ("symbol", "interval")))

    def _note_range(self, bars: Bars) -> None:
        first_us, last_us = int(bars.times_us.min()), int(bars.times_us.max())
        self.first_us = first_us if self.first_us is None else min(first_us, self.first_us)
        self.last_us = last_us if self.last_us is None else max(last_us, self.last_us)


class SeenTimes:
    """The times of one symbol in a file so far, packed; in a file in order of time nothing is unpacked."""

    def __init__(self) -> None:
        self._blocks: list[tuple[int, int, bytes]] = []

    def contains(self, times_us: np.ndarray) -> np.ndarray:
        """Which of these times, strictly increasing, were added before."""
        found = np.zeros(len(times_us), dtype=bool)
        for first, last, packed in self._blocks:
            if first <= times_us[-1] and times_us[0] <= last:
                steps = np.frombuffer(zlib.decompress(packed), dtype=np.int64)
                known = first + np.append(0, np.cumsum(steps))
                found |= np.isin(times_us, known, assume_unique=True)
        return found

    def add(self, times_us: np.ndarray) -> None:
        """Remember these times, strictly increasing."""
        if len(times_us):
            packed = zlib.compress(np.diff(times_us).tobytes(), level=1)
            self._blocks.append((int(times_us[0]), int(times_us[-1]), packed))


def _equal(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    return np.asarray(same.all(axis=1))


def _runs(codes: np.ndarray) -> Iterator[slice]:
    edges = np.append(np.flatnonzero(np.append(True, np.diff(codes) != 0)), len(codes))
    return (slice(int(start), int(end)) for start, end in pairwise(edges))
