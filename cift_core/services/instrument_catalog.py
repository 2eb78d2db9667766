"""The catalog of instruments, kept true by those who write market data."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cift_core.errors import InvalidInput, JobCancelled
from cift_core.logs import logger
from cift_core.models import InstrumentCatalog, InstrumentSeries
from cift_core.services.market_kinds import BARS, KINDS, Kind
from cift_core.services.market_writes import VISIBLE_TIMEOUT_S, one_writer
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

    def __init__(self, stores: Stores, kind: Kind, interval: str | None) -> None:
        self._stores = stores
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

    def expect(self, symbols: Iterable[str]) -> None:
        """Note, before they are written, that series of these symbols change."""
        new = set(symbols) - self._symbols
        if new:
            keys = [(symbol, self._kind.name, self._interval) for symbol in sorted(new)]
            with self._stores.postgres.transaction() as session:
                _unsettle(session, keys)
            self._symbols |= new

    def _settle(self) -> None:
        keys = [(symbol, self._kind.name, self._interval) for symbol in sorted(self._symbols)]
        settle(self._stores, self._kind, keys)


def settle(stores: Stores, kind: Kind, keys: Sequence[tuple[str, str, str]]) -> None:
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
    """How many series the catalog has, found anew from all that QuestDB holds; waits for every writer."""
    count = 0
    for kind in KINDS.values():
        with one_writer(stores.postgres, kind, None, lambda: None):
            stores.questdb.wait_visible(kind.name, timeout_s=VISIBLE_TIMEOUT_S)
            found = _figures(stores.questdb, kind, ())
            with stores.postgres.transaction() as session:
                query = select(InstrumentSeries).where(InstrumentSeries.kind == kind.name)
                known = {(series.symbol, series.interval) for series in session.scalars(query)}
                keys = sorted(known | set(found))
                rows = [
                    (symbol, kind.name, interval, *found.get((symbol, interval), (0, None, None)))
                    for symbol, interval in keys
                ]
                _store(session, rows)
            count += len(found)
    return count


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


def _unsettle(session: Session, keys: Sequence[tuple[str, str, str]]) -> None:
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
    session.execute(
        statement.on_conflict_do_update(index_elements=["symbol", "kind", "interval"], set_=changed), values
    )


def _new() -> dict[str, Any]:
    return {"rows": 0, "revision": 0, "settled": False}
