"""What ingestions see of each UTC day beside new rows: duplicates, rejects, rows out of order."""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql.ranges import MultiRange
from sqlalchemy.orm import Session

from cift_core.models import IngestionDay, InstrumentSeries
from cift_core.services.calendars import DAY_NS, date_of, day_of
from cift_core.services.ingestion_files import FileChunk
from cift_core.services.jobs import Claim
from cift_core.services.market_kinds import Kind
from cift_core.services.market_rows import MarketRows
from cift_core.services.market_writes import Outcome
from cift_core.services.revisions import Key, day_range
from cift_core.stores.postgres_copy import copy_rows

DUPLICATES, REJECTS, OUT_OF_ORDER = range(3)
_COUNTED = ("duplicates", "rejects", "out_of_order")
Counts = dict[tuple[str, int], list[int]]  # of a symbol and day: duplicates, rejects, out of order


class DayCounts:
    """Counts chunk by chunk; remembers the latest time of each symbol in the file."""

    def __init__(self, kind: Kind, interval: str | None) -> None:
        self._kind = kind
        self._interval = interval or ""
        self._place = 0
        self._latest_ns: dict[str, int] = {}

    def of(self, chunk: FileChunk, outcome: Outcome) -> Counts:
        """The days of a chunk that have something to count.

        A refused record counts on its day when its symbol and time are good. A row is out of order when a
        later one of its symbol stands before it in the file.
        """
        counts: Counts = defaultdict(lambda: [0, 0, 0])
        rows = chunk.parsed.rows
        if chunk.place != self._place:
            self._place, self._latest_ns = chunk.place, {}
        _add(counts, DUPLICATES, rows.take(np.searchsorted(rows.places, outcome.duplicates)))
        _add(counts, REJECTS, rows.take(np.searchsorted(rows.places, outcome.conflicts)))
        _add(counts, REJECTS, chunk.parsed.refused)
        _add(counts, OUT_OF_ORDER, rows.take(self._out_of_order(rows)))
        return counts

    def keep(self, session: Session, claim: Claim, counts: Counts) -> None:
        """Store them, and note that these days are to be checked again."""
        if not counts:
            return
        key = (self._kind.name, self._interval)
        copy_rows(
            session,
            IngestionDay.__tablename__,
            ("ingestion_id", "attempt", "symbol", "kind", "interval", "day", *_COUNTED),
            (
                (claim.job_id, claim.attempt, symbol, *key, date_of(day), *numbers)
                for (symbol, day), numbers in counts.items()
            ),
        )
        days: dict[str, list[int]] = defaultdict(list)
        for symbol, day in counts:
            days[symbol].append(day)
        for symbol in sorted(days):
            touch(session, (symbol, *key), days[symbol])

    def _out_of_order(self, rows: MarketRows) -> np.ndarray:
        late = np.zeros(len(rows), dtype=bool)
        for symbol, of_symbol in _by_symbol(rows):
            times_ns = rows.times_ns[of_symbol]
            before = np.maximum.accumulate(np.append(self._latest_ns.get(symbol, 0), times_ns))
            late[of_symbol] = times_ns < before[:-1]
            self._latest_ns[symbol] = int(before[-1])
        return late


def touch(session: Session, key: Key, days: Iterable[int]) -> None:
    """Note that these days of a series are to be checked again; of one that is not in the catalog nothing."""
    series = InstrumentSeries
    new = MultiRange([day_range(day, day + 1) for day in sorted(set(days))])
    session.execute(
        update(series)
        .where(series.symbol == key[0], series.kind == key[1], series.interval == key[2])
        .values(unchecked=series.unchecked.op("+")(new))
        .execution_options(synchronize_session=False)
    )


def forget(session: Session, claim: Claim) -> None:
    """Remove what reads of the file that did not finish had counted."""
    day = IngestionDay
    session.execute(delete(day).where(day.ingestion_id == claim.job_id, day.attempt <= claim.attempt))


def counted(session: Session, key: Key, first: int, end: int) -> dict[int, tuple[int, int, int]]:
    """Of each of the days [first, end) of a series that has some: duplicates, rejects, out of order."""
    day = IngestionDay
    query = (
        select(day.day, *(func.sum(getattr(day, name)) for name in _COUNTED))
        .where(day.symbol == key[0], day.kind == key[1], day.interval == key[2])
        .where(day.day >= date_of(first), day.day < date_of(end))
        .group_by(day.day)
    )
    return {
        day_of(moment): (int(one), int(two), int(three)) for moment, one, two, three in session.execute(query)
    }


def _add(counts: Counts, which: int, rows: MarketRows) -> None:
    for symbol, of_symbol in _by_symbol(rows):
        days, numbers = np.unique(rows.times_ns[of_symbol] // DAY_NS, return_counts=True)
        for day, number in zip(days.tolist(), numbers.tolist(), strict=True):
            counts[symbol, day][which] += number


def _by_symbol(rows: MarketRows) -> Iterable[tuple[str, np.ndarray]]:
    """The symbols, and the places of their rows, in the order of the file."""
    if not len(rows):
        return
    order = np.argsort(rows.codes, kind="stable")
    edges = np.flatnonzero(np.diff(rows.codes[order])) + 1
    for part in np.split(order, edges):
        yield rows.names[rows.codes[part[0]]], part
