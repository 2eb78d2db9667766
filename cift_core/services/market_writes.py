"""Market data into QuestDB, exactly once in effect: compared with what is stored, written, counted there."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import numpy as np
import pyarrow as pa

from cift_core.errors import InvalidInput, StoreUnavailable
from cift_core.services.market_kinds import SIDES, Kind
from cift_core.services.market_reads import Series, read_long_pages, value_columns
from cift_core.services.market_rows import MarketRows
from cift_core.services.revisions import Change, days_of
from cift_core.services.row_order import equal_rows, in_order, order_of, runs, where_changed
from cift_core.services.seen_keys import SeenKeys, positions
from cift_core.stores.questdb import QuestDBPool
from cift_core.stores.questdb_batches import Columns
from cift_core.stores.spools import Spool

Tell = Callable[[int, Sequence[Change]], None]
VISIBLE_TIMEOUT_S = 120.0
PAGE_ROWS = 500_000
PLACES = 1 << 40  # more than a file has
_ADD, _CHANGE, _OWN, _DUPLICATE, _CONFLICT, _REPLACE = range(6)
_COUNT = "SELECT count() FROM {table} WHERE ingestion_id = %s AND {where}"


@dataclass(frozen=True)
class Outcome:
    """What became of a block's bars: how many are written (by this ingestion), which stood there before.

    `duplicates` and `conflicts` are lines: of those that stood there, or contradict an earlier one.
    """

    written: int
    duplicates: np.ndarray
    conflicts: np.ndarray

    @property
    def duplicate(self) -> int:
        """How many stood there before."""
        return len(self.duplicates)


class MarketWriter:
    """Writes the chunks of one file, under the lock of `market_locks`.

    Of two rows of the file with one key, the first is taken; the second is a duplicate when it is equal, else
    a conflict. A stored row that is equal is not written again: it is a duplicate, unless this same ingestion
    wrote it (in an attempt that did not finish). One that differs is replaced: a correction. Rows that have
    no number of their own get their ordinal among the file's rows of the same symbol and time. `tell` hears
    of each chunk (by its file and first place in it) what it will change before a row of it is written.
    With `latest_counts` a later chunk's row replaces one of an earlier chunk that has its key: it counts as a
    duplicate then, for there is one row of the two. (Within a chunk the first counts: turn it round.)
    """

    def __init__(
        self,
        questdb: QuestDBPool,
        ingestion_id: UUID,
        kind: Kind,
        interval: str | None,
        tell: Tell,
        *,
        latest_counts: bool = False,
    ) -> None:
        self._questdb = questdb
        self._ingestion_id = str(ingestion_id)
        self.kind = kind
        self._interval = interval
        self._latest_counts = latest_counts
        self._tell = tell
        self._seen: dict[str, SeenKeys] = defaultdict(partial(SeenKeys, Spool()))
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self._wait_visible()

    def write(self, rows: MarketRows, file: int = 0, *, server_time: bool = False) -> Outcome:
        """Write what is new or changed of a chunk of a file; acknowledged, not yet visible.

        `server_time` marks the rows as having the time at which the server took them.

        Raises:
            StoreUnavailable: QuestDB does not answer.
        """
        if not len(rows):
            return Outcome(0, rows.places, rows.places)
        if rows.numbers[0] < 0:
            rows = rows.numbered(self._ordinals(rows))
        rows = in_order(rows)
        leads = where_changed(rows.codes, rows.times_ns, rows.numbers)
        heads = rows if leads.all() else rows.take(leads)
        outcome, taken = self._judged(heads)
        changes = list(_changes_by_symbol(heads, outcome))
        if changes:
            self._tell(file * PLACES + int(rows.places.min()), changes)
        new = (outcome <= _CHANGE) | (outcome == _REPLACE)
        self._send(heads if new.all() else heads.take(new), server_time)
        self._note_range(rows)
        if len(heads) < len(rows):
            leader = np.cumsum(leads) - 1
            again = np.where(equal_rows(rows.values, taken[leader]), _DUPLICATE, _CONFLICT)
            outcome = np.where(leads, outcome[leader], again)
        return Outcome(
            written=int((outcome <= _OWN).sum()),
            duplicates=np.sort(rows.places[(outcome == _DUPLICATE) | (outcome == _REPLACE)]),
            conflicts=np.sort(rows.places[outcome == _CONFLICT]),
        )

    def verify(self, rows_written: int) -> None:
        """Return when the table holds exactly `rows_written` rows of this ingestion, all of them readable.

        Raises:
            StoreUnavailable: it holds fewer (another attempt writes them again), or does not answer.
            InvalidInput: `file_changed`; it holds rows of an earlier attempt that the file has no more.
        """
        self._wait_visible()
        found, name = self._count(), self.kind.name
        if found < rows_written:
            raise StoreUnavailable(
                "rows_missing",
                f"QuestDB shows {found:,} {name} of this ingestion, {rows_written:,} were written.",
            )
        if found > rows_written:
            raise InvalidInput(
                "file_changed",
                f"QuestDB holds {found:,} {name} of this ingestion, the file has {rows_written:,} of them: "
                "it was changed between two attempts to read it. Ingest it again.",
            )

    def _count(self) -> int:
        if self.first_ns is None or self.last_ns is None:
            return 0
        where, params = self._where(self.first_ns, self.last_ns)
        sql = _COUNT.format(table=self.kind.name, where=where)
        return int(self._questdb.fetch(sql, (self._ingestion_id, *params))[0][0])

    def _ordinals(self, rows: MarketRows) -> np.ndarray:
        """Each row's ordinal among the file's rows of its symbol and time, from 0."""
        order = order_of(rows.codes, rows.times_ns)
        times, codes = rows.times_ns[order], rows.codes[order]
        heads = np.flatnonzero(where_changed(codes, times))
        before = np.empty(len(heads), dtype=np.int64)
        for part in runs(codes[heads]):
            symbol = rows.names[codes[heads[part.start]]]
            before[part] = self._seen[symbol].count(times[heads[part]])
        sizes = np.diff(np.append(heads, len(times)))
        ordinals = np.empty(len(times), dtype=np.int64)
        ordinals[order] = np.arange(len(times)) - np.repeat(heads - before, sizes)
        return ordinals

    def _judged(self, rows: MarketRows) -> tuple[np.ndarray, np.ndarray]:
        """The outcome of rows with increasing keys, and the values the file stands for."""
        parts = list(runs(rows.codes))
        if len(parts) == 1:
            return self._judge(rows)
        judged = [self._judge(rows.take(np.arange(part.start, part.stop))) for part in parts]
        return np.concatenate([outcome for outcome, _ in judged]), np.concatenate(
            [taken for _, taken in judged]
        )

    def _judge(self, rows: MarketRows) -> tuple[np.ndarray, np.ndarray]:
        """`_judged` of rows of one symbol."""
        seen = self._seen[rows.names[rows.codes[0]]]
        again = seen.contains(rows.times_ns, rows.numbers)
        outcome, taken = np.where(again, _CONFLICT, _ADD), rows.values
        if again.any():
            self._wait_visible()
            taken = taken.copy()
        seen.add(rows.times_ns[~again], rows.numbers[~again])
        for which, stored, own in self._stored(rows):
            equal = equal_rows(rows.values[which], stored)
            outcome[which[~equal & ~again[which]]] = _CHANGE
            outcome[which[equal]] = np.where(own & ~again[which], _OWN, _DUPLICATE)[equal]
            if self._latest_counts:
                replaced = ~equal & again[which]
                outcome[which[replaced]] = np.where(own, _REPLACE, _CHANGE)[replaced]
            if again.any():
                taken[which] = np.where(again[which, np.newaxis], stored, rows.values[which])
        return outcome, taken

    def _stored(self, rows: MarketRows) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """In pages: which of the rows have a stored one, its values, and whether this ingestion wrote it."""
        kind, conditions, params = self.kind, "", tuple[object, ...]()
        if kind.number:
            conditions = f" AND {kind.number} >= %s AND {kind.number} <= %s"
            params = int(rows.numbers.min()), int(rows.numbers.max())
        for page in read_long_pages(
            self._questdb,
            Series(kind, rows.names[rows.codes[0]], self._interval, conditions, params),
            int(rows.times_ns[0]),
            int(rows.times_ns[-1]) + 1,
            page_rows=PAGE_ROWS,
            select=["ingestion_id = %s", *value_columns(kind)],
            params=(self._ingestion_id,),
        ):
            own, *values = page.columns
            ours, theirs = positions(rows.times_ns, rows.numbers, page.times_ns, page.numbers)
            yield ours, np.column_stack(values)[theirs], own[theirs] == 1

    def _where(self, begin_ns: int, end_ns: int) -> tuple[str, tuple[object, ...]]:
        kind = self.kind
        where = f"timestamp >= cast(%s AS {kind.time_type}) AND timestamp <= cast(%s AS {kind.time_type})"
        params: tuple[object, ...] = (begin_ns // kind.unit_ns, end_ns // kind.unit_ns)
        if self._interval is None:
            return where, params
        return f"interval = %s AND {where}", (self._interval, *params)

    def _send(self, rows: MarketRows, server_time: bool) -> None:
        if not len(rows):
            return
        kind, symbols = self.kind, rows.symbols
        columns: dict[str, pa.Array] = {
            name: pa.array(values)
            for name, values in zip(kind.values, rows.values.T, strict=True)
            if name != "side" and not np.isnan(values).all()
        }
        if kind.number:
            columns[kind.number] = pa.array(rows.numbers)
        if "side" in kind.values:
            columns["side"] = _sides(rows.values[:, kind.values.index("side")])
        if server_time:
            columns["server_time"] = pa.array(np.ones(len(rows), dtype=bool))
        constants = {"ingestion_id": self._ingestion_id}
        if self._interval is not None:
            constants["interval"] = self._interval
        if len(symbols) == 1:
            constants["symbol"] = symbols[0]
        else:
            columns["symbol"] = pa.DictionaryArray.from_arrays(rows.codes, list(rows.names))
        unit = "ns" if kind.unit_ns == 1 else "us"
        times = (rows.times_ns // kind.unit_ns).view(f"datetime64[{unit}]")
        self._questdb.insert(Columns(kind.name, times, columns, constants))

    def _note_range(self, rows: MarketRows) -> None:
        first_ns, last_ns = int(rows.times_ns.min()), int(rows.times_ns.max())
        self.first_ns = first_ns if self.first_ns is None else min(first_ns, self.first_ns)
        self.last_ns = last_ns if self.last_ns is None else max(last_ns, self.last_ns)

    def _wait_visible(self) -> None:
        self._questdb.wait_visible(self.kind.name, timeout_s=VISIBLE_TIMEOUT_S)


def _changes_by_symbol(rows: MarketRows, outcome: np.ndarray) -> Iterator[Change]:
    """What the rows, in order of symbol and time, change; of a symbol with written rows alone nothing."""
    (ours,) = np.nonzero(outcome <= _OWN)
    for part in runs(rows.codes[ours]):
        of_symbol = ours[part]
        new = of_symbol[outcome[of_symbol] <= _CHANGE]
        times_ns = rows.times_ns[new if len(new) else of_symbol]
        changed = int((outcome[new] == _CHANGE).sum())
        yield Change(
            symbol=rows.names[rows.codes[of_symbol[0]]],
            first_ns=int(times_ns[0]),
            last_ns=int(times_ns[-1]),
            days=days_of(times_ns),
            added=len(new) - changed,
            changed=changed,
        )


def _sides(signs: np.ndarray) -> pa.DictionaryArray:
    codes = np.select([signs == sign for sign in SIDES.values()], range(len(SIDES)), default=-1)
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32(), mask=codes < 0), list(SIDES))
