"""Stored market data in order of time, a page at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cift_core.services.market_kinds import SIDES, Kind
from cift_core.stores.questdb import QuestDBPool

_PAGE = (
    "SELECT cast(timestamp AS long) AS time, {number} AS number{columns} FROM {table}"
    " WHERE symbol = %s{where} AND timestamp >= cast(%s AS {time}) AND timestamp < cast(%s AS {time})"
    " ORDER BY timestamp LIMIT {limit}"
)
_WHENS = (f"WHEN side = '{side}' THEN {sign}" for side, sign in SIDES.items())
_SIDE_AS_NUMBER = f"CASE {' '.join(_WHENS)} END"
FEW_ROWS: Final = 5_000  # up to about here rows over PGWire come sooner than an export starts
Ask = Callable[[str, tuple[object, ...], int], list[np.ndarray]]  # SQL with a {limit}, its values, the limit


@dataclass(frozen=True)
class Series:
    """The rows of one symbol (and of one interval, of bars) that `conditions` let through."""

    kind: Kind
    symbol: str
    interval: str | None = None
    conditions: str = ""
    params: tuple[object, ...] = ()


@dataclass(frozen=True)
class Page:
    """Rows in order of time and number: `times_ns` and `numbers` int64, `columns` as they were selected."""

    times_ns: np.ndarray
    numbers: np.ndarray
    columns: tuple[np.ndarray, ...]

    def __len__(self) -> int:
        return len(self.times_ns)


def read_pages(
    questdb: QuestDBPool,
    series: Series,
    begin_ns: int,
    end_ns: int,
    *,
    page_rows: int,
    select: Sequence[str] | None = None,
    params: tuple[object, ...] = (),
) -> Iterator[Page]:
    """The rows in [begin, end), in pages that hold whole times; `select` (with its `params`) asks for other
    columns than the kind's values, which are float64, NaN where one is missing.

    Raises:
        StoreUnavailable: QuestDB does not answer.
    """

    def ask(sql: str, params: tuple[object, ...], limit: int) -> list[np.ndarray]:
        return _fetched(questdb, sql, params, limit)

    yield from _pages(ask, series, begin_ns, end_ns, page_rows, select or value_columns(series.kind), params)


def read_long_pages(
    questdb: QuestDBPool,
    series: Series,
    begin_ns: int,
    end_ns: int,
    *,
    page_rows: int,
    select: Sequence[str] | None = None,
    params: tuple[object, ...] = (),
) -> Iterator[Page]:
    """The pages of `read_pages`; one of more than `FEW_ROWS` comes as an export.

    Raises:
        StoreUnavailable: QuestDB does not answer.
    """

    def ask(sql: str, params: tuple[object, ...], limit: int) -> list[np.ndarray]:
        few = _fetched(questdb, sql, params, min(limit, FEW_ROWS))
        if limit <= FEW_ROWS or not few or len(few[0]) < FEW_ROWS:
            return few
        exported = questdb.export(sql.format(limit=limit), params)
        # writable, as those of few rows: for read-only arrays Numba compiles the kernels a second time
        return [np.require(column.to_numpy(), requirements="W") for column in exported.columns]

    yield from _pages(ask, series, begin_ns, end_ns, page_rows, select or value_columns(series.kind), params)


def _pages(
    ask: Ask,
    series: Series,
    begin_ns: int,
    end_ns: int,
    page_rows: int,
    select: Sequence[str],
    params: tuple[object, ...],
) -> Iterator[Page]:
    kind, limit = series.kind, page_rows
    within = (series.symbol, *series.params, *((series.interval,) if series.interval else ()))
    sql = _PAGE.format(
        table=kind.name,
        time=kind.time_type,
        number=kind.number or 0,
        columns="".join(f", {name} AS c{place}" for place, name in enumerate(select)),
        where=series.conditions + (" AND interval = %s" if series.interval else ""),
        limit="{limit:d}",
    )
    while begin_ns < end_ns:
        edges = -(-begin_ns // kind.unit_ns), -(-end_ns // kind.unit_ns)
        columns = ask(sql, (*params, *within, *edges), limit)
        if not columns:
            return
        times_ns = columns[0].astype(np.int64) * kind.unit_ns
        full = len(times_ns) == limit
        if full and times_ns[0] == times_ns[-1]:
            limit *= 2  # more rows share this time than a page holds
            continue
        # the last time may go on in the next page
        kept = int(np.searchsorted(times_ns, times_ns[-1])) if full else len(times_ns)
        yield _sorted(times_ns, columns[1], columns[2:], kept)
        if not full:
            return
        begin_ns, limit = int(times_ns[-1]), page_rows


def _fetched(questdb: QuestDBPool, sql: str, params: tuple[object, ...], limit: int) -> list[np.ndarray]:
    rows = questdb.fetch(sql.format(limit=limit), params)
    return [np.array(column) for column in zip(*rows, strict=True)]


def value_columns(kind: Kind) -> list[str]:
    """The kind's values as a query selects them, each as a number."""
    return [_SIDE_AS_NUMBER if name == "side" else name for name in kind.values]


def _sorted(times_ns: np.ndarray, numbers: np.ndarray, columns: Sequence[np.ndarray], kept: int) -> Page:
    times_ns, numbers = times_ns[:kept], numbers[:kept].astype(np.int64, copy=False)
    arrays = [column[:kept].astype(np.float64, copy=False) for column in columns]
    if (times_ns[1:] > times_ns[:-1]).all():
        return Page(times_ns, numbers, tuple(arrays))
    order = np.lexsort((numbers, times_ns))
    return Page(times_ns[order], numbers[order], tuple(array[order] for array in arrays))
