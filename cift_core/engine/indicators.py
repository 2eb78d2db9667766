"""Indicator series: float64[n] in, float64[n] out, NaN where undefined.

Every function uses bars 0..i for its value at i and is undefined for the first bars (all of them where the
window is longer than the series). Inputs are finite.
"""

import numpy as np

from cift_core.engine.bars import FloatArray
from cift_core.engine.kernel import kernel
from cift_core.engine.signals import TIE


@kernel
def sma(x: FloatArray, window: int) -> FloatArray:
    """Mean of the last `window` values, defined from bar window - 1.

    Each window is the tail of one block of `window` values plus the head of the next, and only sums
    are formed: unlike in a running sum nothing is subtracted, so the error never grows along the series.
    Source: van Herk (1992), "A fast algorithm for local minimum and maximum filters", with sums for maxima.
    """
    n = len(x)
    out = np.full(n, np.nan)
    if window > n:
        return out
    tail = np.zeros(window)
    for start in range(0, n, window):
        head = 0.0
        for k in range(min(window, n - start)):
            head += x[start + k]
            if k == window - 1:
                out[start + k] = head / window
            elif start > 0:
                out[start + k] = (tail[k + 1] + head) / window
        if start + window < n:
            total = 0.0
            for k in range(window - 1, -1, -1):
                total += x[start + k]
                tail[k] = total
    return out


@kernel
def ema(x: FloatArray, window: int) -> FloatArray:
    """Exponential mean with weight 2 / (window + 1), seeded at bar window - 1 with the mean of the
    first values.

    Source: TA-Lib's EMA (its default, "classic" start).
    """
    n = len(x)
    out = np.full(n, np.nan)
    if window > n:
        return out
    total = 0.0
    for i in range(window):
        total += x[i]
    mean = total / window
    out[window - 1] = mean
    weight = 2.0 / (window + 1)
    for i in range(window, n):
        mean = (x[i] - mean) * weight + mean
        out[i] = mean
    return out


@kernel
def rsi(x: FloatArray, window: int) -> FloatArray:
    """Relative strength index in [0, 100], defined from bar window. No losses: 100; no change at all:
    undefined.

    Source: Wilder (1978), "New Concepts in Technical Trading Systems"; TA-Lib's RSI, which gives 0 where
    nothing has changed.
    """
    n = len(x)
    out = np.full(n, np.nan)
    if window >= n:
        return out
    gain, loss = 0.0, 0.0
    for i in range(1, n):
        change = x[i] - x[i - 1]
        up, down = max(change, 0.0), max(-change, 0.0)
        if i <= window:
            gain += up
            loss += down
            if i == window:
                gain /= window
                loss /= window
        else:
            gain = (gain * (window - 1) + up) / window
            loss = (loss * (window - 1) + down) / window
        if i >= window and gain + loss > 0.0:
            out[i] = 100.0 * (gain / (gain + loss))
    return out


@kernel
def highest(x: FloatArray, window: int) -> FloatArray:
    """Largest of the last `window` values, defined from bar window - 1. Source: TA-Lib's MAX."""
    n = len(x)
    out = np.full(n, np.nan)
    if window > n:
        return out
    # Indices of values that no later value has reached, oldest first, in a ring.
    ring = np.empty(window, np.int64)
    first, count = 0, 0
    for i in range(n):
        if count > 0 and ring[first] <= i - window:
            first = (first + 1) % window
            count -= 1
        while count > 0 and x[ring[(first + count - 1) % window]] <= x[i]:
            count -= 1
        ring[(first + count) % window] = i
        count += 1
        if i >= window - 1:
            out[i] = x[ring[first]]
    return out


@kernel
def lowest(x: FloatArray, window: int) -> FloatArray:
    """Smallest of the last `window` values, defined from bar window - 1. Source: TA-Lib's MIN."""
    return -highest(-x, window)


@kernel
def stdev(x: FloatArray, window: int) -> FloatArray:
    """Population standard deviation of the last `window` values, defined from bar window - 1.

    Windows are put together from two blocks as in `sma`, each by its count, mean and sum of squared
    deviations: nothing cancels, and a window of equal values has exactly 0.
    Source: Chan, Golub, LeVeque (1983), "Algorithms for computing the sample variance"; TA-Lib's STDDEV.
    """
    n = len(x)
    out = np.full(n, np.nan)
    if window > n:
        return out
    tail_mean, tail_squares = np.zeros(window), np.zeros(window)
    for start in range(0, n, window):
        mean, squares = 0.0, 0.0
        for k in range(min(window, n - start)):
            delta = x[start + k] - mean
            mean += delta / (k + 1)
            squares += delta * (x[start + k] - mean)
            if k == window - 1:
                out[start + k] = np.sqrt(squares / window)
            elif start > 0:
                gap = mean - tail_mean[k + 1]
                between = gap * gap * (k + 1) * (window - k - 1) / window
                out[start + k] = np.sqrt((squares + tail_squares[k + 1] + between) / window)
        if start + window < n:
            mean, squares = 0.0, 0.0
            for k in range(window - 1, -1, -1):
                delta = x[start + k] - mean
                mean += delta / (window - k)
                squares += delta * (x[start + k] - mean)
                tail_mean[k], tail_squares[k] = mean, squares
    return out


@kernel
def ema_seeded_at(x: FloatArray, window: int, bar: int) -> FloatArray:
    """`ema` seeded at `bar`, not before window - 1, with the mean of the `window` values up to it."""
    out = np.full(len(x), np.nan)
    start = bar - window + 1
    out[start:] = ema(x[start:], window)
    return out


@kernel
def macd_signal(fast: FloatArray, slow: FloatArray, window: int, bar: int) -> FloatArray:
    """EMA over `window` of the difference of two means that are both defined from `bar` on, where it
    begins; defined from bar + window - 1.

    Source: Appel (2005), "Technical Analysis: Power Tools for Active Investors"; TA-Lib's MACD.
    """
    return ema_seeded_at(fast - slow, window, bar + window - 1)


@kernel
def atr(high: FloatArray, low: FloatArray, close: FloatArray, window: int) -> FloatArray:
    """Wilder's mean of the true range, defined from bar `window`, where it is the mean of the first
    `window` ranges: bar 0 has no close before it.

    Source: Wilder (1978), "New Concepts in Technical Trading Systems"; TA-Lib's ATR.
    """
    n = len(close)
    out = np.full(n, np.nan)
    mean = 0.0
    for i in range(1, n):
        before = close[i - 1]
        true_range = max(high[i], before) - min(low[i], before)
        if i <= window:
            mean += true_range / window
        else:
            mean = (mean * (window - 1) + true_range) / window
        if i >= window:
            out[i] = mean
    return out


@kernel
def _over(a: float, b: float) -> bool:
    return a - b > TIE * max(abs(a), abs(b))


@kernel
def supertrend(high: FloatArray, low: FloatArray, close: FloatArray, window: int, width: float) -> FloatArray:
    """The side of the trend: 1 where it rises, -1 where it falls; defined from bar `window`, where it falls.

    Two lines lie `width` ATRs above and below the middle of the bar; the upper one only falls and the lower
    one only rises until a close is beyond it (untied, see `signals`). A close above the upper line turns a
    falling trend, one below the lower line a rising one.
    Source: Seban (2008), "Tout le monde mérite d'être riche", in the form of TradingView's `ta.supertrend`.
    """
    n = len(close)
    out = np.full(n, np.nan)
    risk = atr(high, low, close, window)
    lower = upper = 0.0
    rising = False
    for i in range(window, n):
        middle, distance = (high[i] + low[i]) / 2.0, width * risk[i]
        if i == window or middle - distance > lower or _over(lower, close[i - 1]):
            lower = middle - distance
        if i == window or middle + distance < upper or _over(close[i - 1], upper):
            upper = middle + distance
        if i > window:
            rising = not _over(lower, close[i]) if rising else _over(close[i], upper)
        out[i] = 1.0 if rising else -1.0
    return out


@kernel
def lag(x: FloatArray, bars: int) -> FloatArray:
    """The value so many `bars` ago; undefined before bar `bars`."""
    out = np.full(len(x), np.nan)
    out[bars:] = x[: max(len(x) - bars, 0)]
    return out


@kernel
def band(middle: FloatArray, deviation: FloatArray, width: float) -> FloatArray:
    """`middle` plus `width` (below it where negative) times `deviation`."""
    out = np.empty(len(middle))
    for i in range(len(middle)):
        out[i] = middle[i] + width * deviation[i]
    return out
