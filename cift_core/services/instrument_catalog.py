"""The catalog of instruments, kept true by those who write market data."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from sqlalchemy import case, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cift_core.errors import InvalidInput, JobCancelled
from cift_core.logs import logger
from cift_core.models import InstrumentCatalog, InstrumentSeries
from cift_core.services import revisions
from cift_core.services.market_kinds import BARS, KINDS, Kind
from cift_core.services.market_locks import one_writer
from cift_core.services.market_writes import VISIBLE_TIMEOUT_S
from cift_core.services.revisions import Change, Key
from cift_core.stores import Stores
from cift_core.stores.questdb import QuestDBPool

log = logger(__name__)
_FIGURES = (
    "SELECT symbol, {interval}, count(), cast(min(timestamp) AS long), cast(max(timestamp) AS long)"
    " FROM {table}{where} ORDER BY 1"
)
_SYMBOLS_AT_ONCE = 200
Figures = dict[tuple[str, str], tuple[int, int, int]]


class CatalogUpdate:
    """What one ingestion changes: told of its symbols before they are written, and settled after.

    Used under the lock of `one_writer`, so that no other changes these series meanwhile.
    """

    def __init__(self, stores: Stores, ingestion_id: UUID, kind: Kind, interval: str | None) -> None:
        self._stores = stores
        self._ingestion_id = ingestion_id
        self._kind = kind
        self._interval = interval or ""
        self._symbols: set[str] = set()

    @contextmanager
    def settling(self) -> Iterator[None]:
        """Settles when the block ends, also when the job ends failed or cancelled in it.

        A job that is tried again is settled then; one whose worker died, by `settle_left`.
        """
        try:
            yield
        except (InvalidInput, JobCancelled):
            self._settle()
            raise
        self._settle()

    def expect(self, chunk: int, changes: Sequence[Change]) -> None:
        """Note, before it is written, what a chunk changes; `chunk` is the same when it is read again."""
        new = {change.symbol for change in changes} - self._symbols
        with self._stores.postgres.transaction() as session:
            if new:
                _unsettle(session, self._keys(new))
            revisions.tell(session, self._ingestion_id, self._kind, self._interval, chunk, changes)
        self._symbols |= new

    def _keys(self, symbols: Iterable[str]) -> list[Key]:
        return [(symbol, self._kind.name, self._interval) for symbol in sorted(symbols)]

    def _settle(self) -> None:
        settle(self._stores, self._kind, self._keys(self._symbols))


def settle(stores: Stores, kind: Kind, keys: Sequence[Key]) -> None:
    """Put into the catalog what QuestDB holds of these series; under the lock of `one_writer`.

    Raises:
        StoreUnavailable: a store does not answer.
    """
    if not keys:
        return
    stores.questdb.wait_visible(kind.name, timeout_s=VISIBLE_TIMEOUT_S)
    found: Figures = {}
    symbols = sorted({symbol for symbol, _, _ in keys})
    for begin in range(0, len(symbols), _SYMBOLS_AT_ONCE):
        found |= _figures(stores.questdb, kind, symbols[begin : begin + _SYMBOLS_AT_ONCE])
    with stores.postgres.transaction() as session:
        _store(session, [(*key, *found.get((key[0], key[2]), (0, None, None))) for key in keys])


def settle_left(stores: Stores) -> int:
    """How many series were settled that dead or disturbed ingestions left; those being written wait."""
    with stores.postgres.transaction() as session:
        query = select(InstrumentSeries).where(~InstrumentSeries.settled).limit(1_000)
        left = [(series.symbol, series.kind, series.interval) for series in session.scalars(query)]
    count = 0
    for kind, symbol in sorted({(kind, symbol) for symbol, kind, _ in left}):
        keys = [key for key in left if key[:2] == (symbol, kind)]
        try:
            with one_writer(stores.postgres, KINDS[kind], symbol, _walk_away):
                settle(stores, KINDS[kind], keys)
        except _Busy:
            continue
        count += len(keys)
        log.info("instruments.settled", symbol=symbol, kind=kind)
    return count


def rebuild(stores: Stores) -> int:
    """How many series the catalog has, found anew from all that QuestDB holds; waits for every writer.

    A series that is other than the catalog said has a new version, by no ingestion.
    """
    count = 0
    for kind in KINDS.values():
        with one_writer(stores.postgres, kind, None, lambda: None):
            stores.questdb.wait_visible(kind.name, timeout_s=VISIBLE_TIMEOUT_S)
            found = _figures(stores.questdb, kind, ())
            with stores.postgres.transaction() as session:
                known = _known(session, kind)
                keys = sorted({*known, *found})
                rows = [
                    (symbol, kind.name, interval, *found.get((symbol, interval), (0, None, None)))
                    for symbol, interval in keys
                ]
                _note_untold(session, known, rows)
                _store(session, rows)
            count += len(found)
    return count


def _known(session: Session, kind: Kind) -> dict[tuple[str, str], InstrumentSeries]:
    query = select(InstrumentSeries).where(InstrumentSeries.kind == kind.name)
    return {(series.symbol, series.interval): series for series in session.scalars(query)}


def _note_untold(
    session: Session, known: Mapping[tuple[str, str], InstrumentSeries], rows: Sequence[tuple[Any, ...]]
) -> None:
    for symbol, kind, interval, *figures in rows:
        series = known.get((symbol, interval))
        if series is not None and not series.settled:
            continue  # whoever wrote it told of it
        before = (0, None, None) if series is None else (series.rows, series.first_ns, series.last_ns)
        if tuple(figures) != before:
            _unsettle(session, [(symbol, kind, interval)])
            revisions.untold(session, (symbol, kind, interval), before, tuple(figures))


class _Busy(Exception):
    pass


def _walk_away() -> None:
    raise _Busy


def _figures(questdb: QuestDBPool, kind: Kind, symbols: Sequence[str]) -> Figures:
    """Rows, first and last (ns) by symbol and interval, of these symbols, or of all when none is named."""
    where = f" WHERE symbol IN ({', '.join(['%s'] * len(symbols))})" if symbols else ""
    interval = "interval" if kind is BARS else "''"
    sql = _FIGURES.format(interval=interval, table=kind.name, where=where)
    return {
        (str(symbol), str(interval)): (rows, first * kind.unit_ns, last * kind.unit_ns)
        for symbol, interval, rows, first, last in questdb.fetch(sql, symbols)
    }


def _unsettle(session: Session, keys: Sequence[Key]) -> None:
    rows = [dict(zip(("symbol", "kind", "interval"), key, strict=True)) | _new() for key in keys]
    statement = insert(InstrumentSeries).on_conflict_do_update(
        index_elements=["symbol", "kind", "interval"], set_={"settled": False}
    )
    session.execute(statement, rows)


def _store(session: Session, rows: Sequence[tuple[Any, ...]]) -> None:
    columns = ("symbol", "kind", "interval", "rows", "first_ns", "last_ns")
    raised = insert(InstrumentCatalog).values(id=1, revision=1)
    revision = session.scalar(
        raised.on_conflict_do_update(
            index_elements=["id"], set_={"revision": InstrumentCatalog.revision + 1}
        ).returning(InstrumentCatalog.revision)
    )
    values = [dict(zip(columns, row, strict=True)) | {"settled": True, "revision": revision} for row in rows]
    if not values:
        return
    statement = insert(InstrumentSeries)
    changed = {
        name: statement.excluded[name] for name in ("rows", "first_ns", "last_ns", "settled", "revision")
    }
    newer = case((revisions.unsettled(), 1), else_=0)
    upsert = statement.on_conflict_do_update(
        index_elements=["symbol", "kind", "interval"],
        set_={**changed, "version": InstrumentSeries.version + newer},
    )
    session.execute(upsert, values)
    revisions.settle(session, [row[:3] for row in rows])


def _new() -> dict[str, Any]:
    return {"rows": 0, "revision": 0, "settled": False}
