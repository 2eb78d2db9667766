"""Bars as the engine takes them: stored ones, or built from ticks or from finer bars."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Literal

import numpy as np

from cift_core.clock import rfc3339, to_ns
from cift_core.engine import Bars, Candles, builds, floor_time, next_open
from cift_core.errors import InvalidInput
from cift_core.services.bar_sources import Source, available, nothing_there
from cift_core.services.market_kinds import BARS, INTERVALS, TICKS
from cift_core.services.market_reads import Page, Series, read_long_pages
from cift_core.stores.questdb import QuestDBPool

Prices = Literal["adjusted", "raw"]
MAX_TIME_NS = to_ns(datetime(2255, 6, 5, tzinfo=UTC))  # what is stored after it is never read
PAGE_ROWS = 2**21


@dataclass(frozen=True)
class BarsRead:
    """Bars as the engine will see them, whether their prices are adjusted or raw, and what they are from."""

    bars: Bars
    prices: Prices
    source: Source

    def reach(self, start: datetime | None, end: datetime | None) -> tuple[int, int]:
        """[begin, end) in nanoseconds of the rows of the source that bars of [start, end) stand on.

        Where no bound was given it is that of the bars there were.
        """
        interval, (begin_ns, end_ns) = self.bars.interval, range_ns(start, end)
        if interval is not None and self.source.interval != interval:
            begin_ns, end_ns = ceil_time(begin_ns, interval), ceil_time(end_ns, interval)
        first_ns, last_ns = int(self.bars.time[0]), int(self.bars.time[-1])
        return (
            first_ns if start is None else begin_ns,
            next_open(last_ns, str(interval)) if end is None else end_ns,
        )

    def summary(self, version: int) -> dict[str, Any]:
        """Rows, first and last time, prices, source and its version, and the digest of it all."""
        return {
            "rows": len(self.bars),
            "first": rfc3339(int(self.bars.time[0])),
            "last": rfc3339(int(self.bars.time[-1])),
            "prices": self.prices,
            "source": self.source.as_json(),
            "version": version,
            "sha256": self.bars.sha256(),
        }


def summary(read: Mapping[str, BarsRead], versions: Mapping[str, int]) -> dict[str, Any]:
    """The `data` of a backtest: what was read of its one symbol; of several what that is together, and each.

    Together the digest is the SHA-256 of a line "symbol digest" for each symbol, in the order of the request.
    """
    each = {symbol: one.summary(versions[symbol]) for symbol, one in read.items()}
    if len(each) == 1:
        return next(iter(each.values()))
    prices = {one["prices"] for one in each.values()}
    lines = "".join(f"{symbol} {one['sha256']}\n" for symbol, one in each.items())
    return {
        "rows": sum(one["rows"] for one in each.values()),
        "first": rfc3339(min(int(one.bars.time[0]) for one in read.values())),
        "last": rfc3339(max(int(one.bars.time[-1]) for one in read.values())),
        "prices": prices.pop() if len(prices) == 1 else "mixed",
        "sha256": sha256(lines.encode()).hexdigest(),
        "symbols": each,
    }


def read_bars(
    questdb: QuestDBPool,
    symbol: str,
    interval: str,
    start: datetime | None,
    end: datetime | None,
    prices: Prices | None,
    *,
    max_bars: int,
) -> BarsRead:
    """The bars in [start, end), adjusted where asked for or, without a wish, where that is possible.

    Stored bars of the interval win; where there are none, bars are built: from what reaches over the most of
    the range, ticks or finer bars, of equals from the coarsest bars. `start` and `end` are aware; what is
    stored after 2255-06-05 is never read.

    Raises:
        InvalidInput: no bars there (it says what there is), more than `max_bars`, or no adjusted closes.
        StoreUnavailable: QuestDB does not answer.
    """
    begin_ns, end_ns = range_ns(start, end)
    if interval == "tick":
        source = Source(TICKS, None, begin_ns, end_ns)
        found = _from_ticks(questdb, symbol, interval, begin_ns, end_ns, max_bars)
        read = None if found is None else BarsRead(found, _raw(prices, symbol), source)
    else:
        read = _read_stored(questdb, symbol, interval, begin_ns, end_ns, prices, max_bars=max_bars)
        if read is None and interval in INTERVALS:
            read = _build(questdb, symbol, interval, begin_ns, end_ns, prices, max_bars=max_bars)
    if read is None:
        raise nothing_there(questdb, symbol, interval, start, end)
    return read


def range_ns(start: datetime | None, end: datetime | None) -> tuple[int, int]:
    """[start, end) in nanoseconds, cut to what can be stored."""
    for moment in (start, end):
        if moment is not None and moment.tzinfo is None:
            raise ValueError(f"{moment} names no time zone")
    begin_ns = 0 if start is None else max(0, to_ns(start))
    return begin_ns, MAX_TIME_NS if end is None else min(to_ns(end), MAX_TIME_NS)


def ceil_time(time_ns: int, interval: str) -> int:
    """The first open of a bar that is not before a moment."""
    floor_ns = int(floor_time(np.array([time_ns], dtype=np.int64), interval)[0])
    return floor_ns if floor_ns == time_ns else next_open(time_ns, interval)


def choose_source(
    questdb: QuestDBPool, symbol: str, interval: str, begin_ns: int, end_ns: int
) -> Source | None:
    """What bars of an interval that is not stored are best built from, None if there is nothing."""
    usable = [
        source
        for source in available(questdb, symbol, begin_ns, end_ns)
        if source.kind is TICKS or builds(str(source.interval), interval)
    ]
    return max(usable, key=lambda source: (source.span_ns, source.length_ns), default=None)


def _build(
    questdb: QuestDBPool,
    symbol: str,
    interval: str,
    begin_ns: int,
    end_ns: int,
    prices: Prices | None,
    *,
    max_bars: int,
) -> BarsRead | None:
    begin_ns, end_ns = ceil_time(begin_ns, interval), ceil_time(end_ns, interval)
    source = choose_source(questdb, symbol, interval, begin_ns, end_ns)
    if source is None:
        return None
    if source.kind is TICKS:
        found = _from_ticks(questdb, symbol, interval, begin_ns, end_ns, max_bars)
        return None if found is None else BarsRead(found, _raw(prices, symbol), source)
    finer = _read_stored(questdb, symbol, str(source.interval), begin_ns, end_ns, prices, max_bars=max_bars)
    if finer is None:
        return None
    # adjusted before they are merged: a split may lie inside a bar
    return BarsRead(_merged(finer.bars, interval), finer.prices, source)


def _merged(finer: Bars, interval: str) -> Bars:
    """The bars of an interval, made of finer ones."""
    candles = Candles(interval)
    volume = np.full(len(finer), np.nan) if finer.volume is None else finer.volume
    candles.add(finer.time, finer.open, finer.high, finer.low, finer.close, volume)
    return candles.bars()


def _from_ticks(
    questdb: QuestDBPool, symbol: str, interval: str, begin_ns: int, end_ns: int, max_bars: int
) -> Bars | None:
    candles = Candles(interval)
    begin_ns, end_ns = ceil_time(begin_ns, interval), ceil_time(end_ns, interval)
    for page in read_long_pages(questdb, Series(TICKS, symbol), begin_ns, end_ns, page_rows=PAGE_ROWS):
        price, size, _ = page.columns
        candles.add(page.times_ns, price, price, price, price, size)
        _check_count(len(candles), symbol, interval, max_bars)
    return candles.bars() if len(candles) else None


def _read_stored(
    questdb: QuestDBPool,
    symbol: str,
    interval: str,
    begin_ns: int,
    end_ns: int,
    prices: Prices | None,
    *,
    max_bars: int,
) -> BarsRead | None:
    """Stored bars, None if there are none."""
    pages: list[Page] = []
    series, page_rows = Series(BARS, symbol, interval), min(PAGE_ROWS, max_bars + 1)
    for page in read_long_pages(questdb, series, begin_ns, end_ns, page_rows=page_rows):
        pages.append(page)
        _check_count(sum(map(len, pages)), symbol, interval, max_bars)
    if not pages:
        return None
    time = _joined([page.times_ns for page in pages])
    columns = (_joined(column) for column in zip(*(page.columns for page in pages), strict=True))
    open_, high, low, close, volume, adjusted_close = columns
    bars = Bars(time=time, open=open_, high=high, low=low, close=close, volume=volume, interval=interval)
    source = Source(BARS, interval, int(time[0]), int(time[-1]))
    missing = int(np.isnan(adjusted_close).sum())
    if prices == "raw" or (prices is None and missing):
        return BarsRead(bars, "raw", source)
    if missing:
        raise InvalidInput(
            "no_adjusted_closes",
            f"{symbol} {interval} has no adjusted close for {missing} of {len(bars)} bars;"
            ' ask for "prices": "raw".',
        )
    return BarsRead(bars.adjusted(adjusted_close), "adjusted", source)


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _raw(prices: Prices | None, symbol: str) -> Prices:
    if prices == "adjusted":
        raise InvalidInput(
            "no_adjusted_closes", f'The ticks of {symbol} have no adjusted prices; ask for "prices": "raw".'
        )
    return "raw"


def _check_count(count: int, symbol: str, interval: str, max_bars: int) -> None:
    if count > max_bars:
        raise InvalidInput(
            "too_many_bars",
            f"{symbol} {interval} has more than {max_bars} bars in that range; ask for a shorter one.",
        )
