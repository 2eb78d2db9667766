"""Bars of several symbols on one time axis."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from cift_core.engine.bars import Bars, FloatArray, IntArray, read_only
from cift_core.engine.kernel import kernel
from cift_core.errors import FieldError, InvalidInput

NO_BAR: Final = -1
NO_TIME: Final = 2**63 - 1  # the year 2262: no bar is labelled with it


class Panel:
    """The bars of k symbols, in the order of `bars`, on the union of their times.

    `time` is int64[n] (ns since 1970 UTC); `panel["close"]` float64[n, k] holds each symbol's latest value of
    a column at each time: what was known then, NaN before the symbol's first bar. `at` int64[n, k] counts the
    bar that is labelled with the time among all bars in a row (symbol after symbol, symbol s from `starts[s]`
    on), NO_BAR where there is none.

    Raises InvalidInput without symbols, or when their intervals differ.
    """

    def __init__(self, bars: Mapping[str, Bars]) -> None:
        intervals = {one.interval for one in bars.values()}
        if len(intervals) != 1:
            shown = ", ".join(f"{symbol} {one.interval}" for symbol, one in bars.items()) or "no symbols"
            detail = f"the symbols of a run must have bars of one interval, got {shown}"
            raise InvalidInput("invalid_bars", detail, [FieldError("/bars", detail)])
        self.bars = dict(bars)
        (self.interval,) = intervals
        self.starts: IntArray = np.cumsum([0, *(len(one) for one in bars.values())])
        times = self.times()
        self.time = np.empty(
            _align(times, self.starts, np.empty(0, np.int64), np.empty((0, 0), np.int64)), np.int64
        )
        self.at = np.full((len(self.time), len(bars)), NO_BAR)
        _align(times, self.starts, self.time, self.at)

    def __len__(self) -> int:
        return len(self.time)

    def __getitem__(self, column: str) -> FloatArray:
        """float64[n, k]: the latest "open", "high", "low" or "close" of each symbol."""
        return _latest(self.column(column), self.at)

    def times(self) -> IntArray:
        """int64, read-only: the times of all the bars in a row, symbol after symbol."""
        return read_only(np.concatenate([one.time for one in self.bars.values()]))

    def column(self, name: str) -> FloatArray:
        """float64, read-only: a column of all the bars in a row, symbol after symbol."""
        return read_only(np.concatenate([getattr(one, name) for one in self.bars.values()]))


@kernel
def _align(times: IntArray, starts: IntArray, time: IntArray, at: IntArray) -> int:
    """How many different times there are; they and their bars are written where `time` has room."""
    k = len(starts) - 1
    places = starts[:k].copy()
    n = 0
    while True:
        earliest = NO_TIME
        for s in range(k):
            if places[s] < starts[s + 1]:
                earliest = min(earliest, times[places[s]])
        if earliest == NO_TIME:
            return n
        for s in range(k):
            if places[s] < starts[s + 1] and times[places[s]] == earliest:
                if n < len(time):
                    at[n, s] = places[s]
                places[s] += 1
        if n < len(time):
            time[n] = earliest
        n += 1


@kernel
def _latest(values: FloatArray, at: IntArray) -> FloatArray:
    n, k = at.shape
    out = np.empty((n, k))
    for s in range(k):
        latest = np.nan
        for j in range(n):
            if at[j, s] >= 0:
                latest = values[at[j, s]]
            out[j, s] = latest
    return out
