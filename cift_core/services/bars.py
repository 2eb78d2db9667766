"""Stored bars as the engine takes them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cift_core.clock import from_ns, rfc3339
from cift_core.engine import Bars
from cift_core.errors import InvalidInput, did_you_mean
from cift_core.stores.questdb import QuestDBPool

Prices = Literal["adjusted", "raw"]
NS_PER_US = 1_000
ONE_US = timedelta(microseconds=1)
MIN_TIME = datetime(1970, 1, 1, tzinfo=UTC)
MAX_TIME = datetime(2255, 6, 5, tzinfo=UTC)  # until then a float64 holds the microseconds exactly
PAGE_ROWS = 250_000
SHOWN = 10


@dataclass(frozen=True)
class BarsRead:
    """Bars as the engine will see them, and whether their prices are adjusted or raw."""

    bars: Bars
    prices: Prices

    def summary(self) -> dict[str, Any]:
        """The `data` of a backtest: rows, first and last time, prices, and the digest of it all."""
        return {
            "rows": len(self.bars),
            "first": rfc3339(int(self.bars.time[0])),
            "last": rfc3339(int(self.bars.time[-1])),
            "prices": self.prices,
            "sha256": self.bars.sha256(),
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
    """The stored bars in [start, end), adjusted where asked for or, without a wish, where that is possible.

    `start` and `end` are aware; what is stored after 2255-06-05 is never read.

    Raises:
        InvalidInput: no bars there (it says what there is), more than `max_bars`, or no adjusted closes.
        StoreUnavailable: QuestDB does not answer.
    """
    table = _columns(questdb, symbol, interval, start, end, limit=max_bars + 1)
    time = table[:, 0].astype(np.int64) * NS_PER_US
    if len(time) == 0:
        raise _no_bars(questdb, symbol, interval, start, end)
    if len(time) > max_bars:
        raise InvalidInput(
            "too_many_bars",
            f"{symbol} {interval} has more than {max_bars} bars in that range; ask for a shorter one.",
        )
    open_, high, low, close, volume, adjusted_close = (np.ascontiguousarray(c) for c in table[:, 1:].T)
    bars = Bars(time=time, open=open_, high=high, low=low, close=close, volume=volume, interval=interval)
    missing = int(np.isnan(adjusted_close).sum())
    if prices == "raw" or (prices is None and missing):
        return BarsRead(bars, "raw")
    if missing:
        raise InvalidInput(
            "no_adjusted_closes",
            f"{symbol} {interval} has no adjusted close for {missing} of {len(bars)} bars;"
            ' ask for "prices": "raw".',
        )
    return BarsRead(bars.adjusted(adjusted_close), "adjusted")


def _columns(
    questdb: QuestDBPool,
    symbol: str,
    interval: str,
    start: datetime | None,
    end: datetime | None,
    *,
    limit: int,
) -> NDArray[np.float64]:
    """float64[n, 7]: time (µs since 1970; exact, being below 2**53), open, high, low, close, volume and
    adjusted close. Fetched in pages, so that the rows as Python objects never take more than a page's memory.
    """
    sql = (
        "SELECT cast(timestamp AS long), open, high, low, close, volume, adjusted_close FROM bars"
        " WHERE symbol = %s AND interval = %s AND timestamp >= %s AND timestamp < %s"
        " ORDER BY timestamp LIMIT {:d}"
    )
    begin, stop = _naive(start or MIN_TIME), _naive(min(end or MAX_TIME, MAX_TIME))
    pages: list[NDArray[np.float64]] = []
    while limit > 0:
        size = min(limit, PAGE_ROWS)
        rows = questdb.fetch(sql.format(size), (symbol, interval, begin, stop))
        pages.append(np.array(rows, dtype=np.float64).reshape(-1, 7))
        limit -= len(rows)
        if len(rows) < size:
            break
        begin = _naive(from_ns(int(rows[-1][0]) * NS_PER_US)) + ONE_US
    return pages[0] if len(pages) == 1 else np.concatenate(pages)


def _naive(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"{moment} names no time zone")
    return moment.astimezone(UTC).replace(tzinfo=None)


def _no_bars(
    questdb: QuestDBPool, symbol: str, interval: str, start: datetime | None, end: datetime | None
) -> InvalidInput:
    stored = questdb.fetch(
        "SELECT interval, cast(min(timestamp) AS long), cast(max(timestamp) AS long), count()"
        " FROM bars WHERE symbol = %s ORDER BY interval",
        (symbol,),
    )
    wanted = f"{symbol} {interval}{_range(start, end)}"
    if stored:
        available = "; ".join(
            f"{symbol} {kind} {rfc3339(first * NS_PER_US)} to {rfc3339(last * NS_PER_US)} ({count} bars)"
            for kind, first, last, count in stored
        )
        return InvalidInput("no_bars", f"no bars for {wanted}; available: {available}.")
    symbols = sorted(str(name) for (name,) in questdb.fetch("SELECT DISTINCT symbol FROM bars"))
    near = did_you_mean(symbol, symbols)
    listed = ", ".join(symbols[:SHOWN]) + (
        f" and {len(symbols) - SHOWN} more" if len(symbols) > SHOWN else ""
    )
    return InvalidInput("no_bars", f"no bars for {wanted}{near}; available symbols: {listed or 'none yet'}.")


def _range(start: datetime | None, end: datetime | None) -> str:
    if start is None and end is None:
        return ""
    shown = [
        moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else "…" for moment in (start, end)
    ]
    return f" in [{shown[0]}, {shown[1]})"
