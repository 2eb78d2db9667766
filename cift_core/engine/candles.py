"""Bars built from trades, or from finer bars."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from cift_core.engine.bars import DAY_NS, INTERVAL_NS, Bars, FloatArray, IntArray
from cift_core.engine.kernel import kernel

WEEK_NS: Final = 7 * DAY_NS
_MONDAY_NS: Final = -3 * DAY_NS  # of the week that 1970-01-01, a Thursday, is in
# `lost` is what rounding took from `volume` so far
_CANDLE: Final = np.dtype(
    [("time", np.int64)] + [(name, np.float64) for name in ("open", "high", "low", "close", "volume", "lost")]
)


class Candles:
    """Bars of an interval, built as the trades or finer bars come, in order of time.

    A bar is labelled by its open: UTC, weeks from Monday, months by the calendar; `tick` merges what has one
    time. Without a trade there is no bar. Volume is the sum as if added exactly and rounded once (Neumaier's
    compensation), NaN where one is not known.
    """

    def __init__(self, interval: str) -> None:
        self.interval = interval
        self._done: list[NDArray[np.void]] = []
        self._open = np.empty(0, _CANDLE)
        self._count = 0

    def __len__(self) -> int:
        return self._count + len(self._open)

    def add(
        self,
        time: IntArray,
        open_: FloatArray,
        high: FloatArray,
        low: FloatArray,
        close: FloatArray,
        volume: FloatArray,
    ) -> None:
        """Take the next ones, not before any taken so far: of a trade all four prices are one."""
        candles = np.empty(len(time) + len(self._open), _CANDLE)
        candles[: len(self._open)] = self._open
        label = floor_time(time, self.interval)
        last = _merge(label, open_, high, low, close, volume, candles, len(self._open) - 1)
        self._done.append(candles[: max(last, 0)].copy())
        self._open = candles[max(last, 0) : last + 1].copy()
        self._count += max(last, 0)

    def bars(self) -> Bars:
        """The bars so far, the last one as if nothing more came.

        Raises InvalidInput when there is none.
        """
        candles = np.concatenate([*self._done, self._open])
        prices = {name: np.ascontiguousarray(candles[name]) for name in ("open", "high", "low", "close")}
        return Bars(
            time=np.ascontiguousarray(candles["time"]),
            volume=candles["volume"] + candles["lost"],
            interval=self.interval,
            **prices,
        )


def floor_time(time: IntArray, interval: str) -> IntArray:
    """The opens of the bars that these moments (ns since 1970 UTC) are in."""
    if interval == "tick":
        return time
    if interval == "1M":
        months = time.astype("datetime64[ns]").astype("datetime64[M]")
        return months.astype("datetime64[ns]").astype(np.int64)
    if interval == "1w":
        return time - (time - _MONDAY_NS) % WEEK_NS
    return time - time % INTERVAL_NS[interval]


def next_open(time_ns: int, interval: str) -> int:
    """The open of the bar after the one that a moment is in."""
    if interval == "tick":
        return time_ns + 1
    if interval == "1M":
        month = np.datetime64(time_ns, "ns").astype("datetime64[M]") + 1
        return int(month.astype("datetime64[ns]").astype(np.int64))
    length_ns = WEEK_NS if interval == "1w" else INTERVAL_NS[interval]
    return int(floor_time(np.array([time_ns], dtype=np.int64), interval)[0]) + length_ns


def builds(finer: str, interval: str) -> bool:
    """Whether every bar of `interval` is made of whole bars of `finer`."""
    if finer not in INTERVAL_NS or finer == interval:
        return False
    if interval in ("1w", "1M"):
        return True
    return interval in INTERVAL_NS and INTERVAL_NS[interval] % INTERVAL_NS[finer] == 0


@kernel
def _merge(
    label: IntArray,
    open_: FloatArray,
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    volume: FloatArray,
    candles: NDArray[np.void],
    last: int,
) -> int:
    """The index of the last candle, which the next page may go on with."""
    for i in range(len(label)):
        if last < 0 or label[i] != candles[last].time:
            last += 1
            candles[last].time = label[i]
            candles[last].open = open_[i]
            candles[last].high = high[i]
            candles[last].low = low[i]
            candles[last].volume = 0.0
            candles[last].lost = 0.0
        candles[last].high = max(candles[last].high, high[i])
        candles[last].low = min(candles[last].low, low[i])
        candles[last].close = close[i]
        so_far, added = candles[last].volume, volume[i]
        total = so_far + added
        if abs(so_far) >= abs(added):
            candles[last].lost += (so_far - total) + added
        else:
            candles[last].lost += (added - total) + so_far
        candles[last].volume = total
    return last
