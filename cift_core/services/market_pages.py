"""Bars, trades and quotes as their readers see them, a page at a time."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np

from cift_core.clock import rfc3339
from cift_core.engine import Candles, next_open
from cift_core.errors import FieldError, InvalidInput
from cift_core.services.bar_sources import Source, none_ever, nothing_there
from cift_core.services.bars import ceil_time, choose_source, range_ns
from cift_core.services.market_kinds import BARS, KINDS, SIDES, TICKS, Kind
from cift_core.services.market_reads import Page, Series, read_pages, value_columns
from cift_core.services.paging import decode_cursor, encode_cursor
from cift_core.stores.questdb import QuestDBPool

MAX_ROWS = 10_000
_READ_ROWS = 50_000
Items = list[dict[str, Any]]


def list_bars(
    questdb: QuestDBPool,
    symbol: str,
    interval: str,
    start: datetime | None,
    end: datetime | None,
    *,
    cursor: str | None = None,
    limit: int = MAX_ROWS,
) -> tuple[Items, str | None]:
    """A page of the bars in [start, end) in order of time, and the cursor of the next page or None.

    Stored bars win; where none is stored in the range, bars are built as `read_bars` builds them. A page goes
    on with what the first was read from.

    Raises:
        InvalidInput: the cursor is none of this list, or there is nothing of the symbol, at any time, that
            bars of the interval are or can be built from.
    """
    begin_ns, end_ns = range_ns(start, end)
    if cursor is None:
        source = _first_source(questdb, symbol, interval, begin_ns, end_ns)
    else:
        last_ns, kind, finer = decode_cursor(cursor, int, KINDS.__getitem__, _text_or_none)
        source, begin_ns = Source(kind, finer, 0, 0), next_open(max(0, last_ns), interval)
    if source is None:
        if _first_source(questdb, symbol, interval, *range_ns(None, None)) is None:
            missing = nothing_there(questdb, symbol, interval, None, None)
            raise InvalidInput(missing.code, missing.message, [FieldError("/symbol", missing.message)])
        return [], None
    if source.interval == interval:
        rows = _stored_bars(questdb, symbol, interval, begin_ns, end_ns, limit)
    else:
        rows = _built_bars(questdb, symbol, interval, source, begin_ns, end_ns, limit)
    items = [_item(BARS.values, *row) for row in rows[:limit]]
    if len(rows) <= limit:
        return items, None
    return items, encode_cursor(rows[limit - 1][0], source.kind.name, source.interval)


def list_rows(
    questdb: QuestDBPool,
    kind: Kind,
    symbol: str,
    start: datetime | None,
    end: datetime | None,
    *,
    cursor: str | None = None,
    limit: int = MAX_ROWS,
) -> tuple[Items, str | None]:
    """A page of trades or quotes in [start, end) by time and number, and the cursor of the next page or None.

    Raises:
        InvalidInput: the cursor is none of this list, or there is no row of the symbol at any time.
    """
    begin_ns, end_ns = range_ns(start, end)
    after = tuple(decode_cursor(cursor, int, int)) if cursor else (-1, -1)
    begin_ns = max(begin_ns, after[0])
    rows: list[tuple[Any, ...]] = []
    select = [*value_columns(kind), *(["server_time"] if kind is TICKS else [])]
    for page in read_pages(
        questdb, Series(kind, symbol), begin_ns, end_ns, page_rows=limit + 2, select=select
    ):
        rows += [row for row in _rows(page) if row[:2] > after]
        if len(rows) > limit:
            break
    if (
        not rows
        and next(read_pages(questdb, Series(kind, symbol), *range_ns(None, None), page_rows=2), None) is None
    ):
        raise none_ever(questdb, kind, symbol)
    items = [
        _item(kind.values, time_ns, *values)
        | ({"trade_id": number, "server_time": values[-1] == 1} if kind is TICKS else {})
        for time_ns, number, *values in rows[:limit]
    ]
    return items, encode_cursor(*rows[limit - 1][:2]) if len(rows) > limit else None


def _first_source(
    questdb: QuestDBPool, symbol: str, interval: str, begin_ns: int, end_ns: int
) -> Source | None:
    if _stored_bars(questdb, symbol, interval, begin_ns, end_ns, 1):
        return Source(BARS, interval, begin_ns, end_ns)
    begin_ns, end_ns = ceil_time(begin_ns, interval), ceil_time(end_ns, interval)
    return choose_source(questdb, symbol, interval, begin_ns, end_ns)


def _stored_bars(
    questdb: QuestDBPool, symbol: str, interval: str, begin_ns: int, end_ns: int, limit: int
) -> list[tuple[Any, ...]]:
    """At most one more than `limit`."""
    series = Series(BARS, symbol, interval)
    page = next(read_pages(questdb, series, begin_ns, end_ns, page_rows=limit + 2), None)
    return [] if page is None else [(row[0], *row[2:]) for row in _rows(page)][: limit + 1]


def _built_bars(
    questdb: QuestDBPool,
    symbol: str,
    interval: str,
    source: Source,
    begin_ns: int,
    end_ns: int,
    limit: int,
) -> list[tuple[Any, ...]]:
    """At most one more than `limit`, of which the last may not be whole."""
    begin_ns, end_ns = ceil_time(begin_ns, interval), ceil_time(end_ns, interval)
    series, candles = Series(source.kind, symbol, source.interval), Candles(interval)
    for page in read_pages(questdb, series, begin_ns, end_ns, page_rows=_READ_ROWS):
        if source.kind is TICKS:
            price, size, _ = page.columns
            candles.add(page.times_ns, price, price, price, price, size)
        else:
            candles.add(page.times_ns, *page.columns[:5])
        if len(candles) > limit:
            break
    if not len(candles):
        return []
    bars = candles.bars()
    volume = np.full(len(bars), np.nan) if bars.volume is None else bars.volume
    columns = (bars.time, bars.open, bars.high, bars.low, bars.close, volume)
    return list(zip(*(column[: limit + 1].tolist() for column in columns), strict=True))


def _rows(page: Page) -> Iterator[tuple[Any, ...]]:
    columns = (page.times_ns, page.numbers, *page.columns)
    return zip(*(column.tolist() for column in columns), strict=True)


def _item(names: tuple[str, ...], time_ns: int, *values: float) -> dict[str, Any]:
    item: dict[str, Any] = {"time": rfc3339(time_ns)}
    for name, value in zip(names, values, strict=False):  # built bars have no adjusted close
        item[name] = None if value != value else value  # noqa: PLR0124  NaN: there is none
    if "adjusted_close" in names:
        item.setdefault("adjusted_close", None)
    if "side" in names:
        item["side"] = next((side for side, sign in SIDES.items() if sign == item["side"]), None)
    return item


def _text_or_none(value: Any) -> str | None:
    return None if value is None else str(value)
