"""The limit to measure the engine against: one kernel that does an SMA cross and nothing else."""

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@numba.njit(nogil=True, cache=True)
def sma_cross(
    open_: Floats, close: Floats, fast: int, slow: int, commission_rate: float, cash: float
) -> tuple[float, float, float, float, float]:
    """Final equity, trades, Sharpe per bar, maximum drawdown, fees: long and short at the next open, all in.

    Running sums, one pass, no trades or curves, no checks: a hand-written limit and no product.
    """
    n = len(close)
    sum_fast, sum_slow = 0.0, 0.0
    side, units, trades, fees = 0, 0.0, 0.0, 0.0
    previous, wanted = 0, 0
    equity, last, peak, fall = cash, cash, cash, 0.0
    total, squares = 0.0, 0.0
    for i in range(n):
        if wanted not in (0, side):
            price = open_[i]
            fee = commission_rate * abs(units) * price
            cash += units * price - fee
            fees += fee
            trades += side != 0
            units = cash / (price * (1.0 + commission_rate)) * wanted
            fee = commission_rate * abs(units) * price
            cash -= units * price + fee
            fees += fee
            side = wanted
        sum_fast += close[i] - (close[i - fast] if i >= fast else 0.0)
        sum_slow += close[i] - (close[i - slow] if i >= slow else 0.0)
        if i >= slow:
            difference = sum_fast / fast - sum_slow / slow
            now = 1 if difference > 0.0 else -1
            if previous not in (0, now):
                wanted = now
            previous = now
        equity = cash + units * close[i]
        change = equity / last - 1.0
        total += change
        squares += change * change
        last = equity
        peak = max(peak, equity)
        fall = max(fall, (peak - equity) / peak)
    mean = total / n
    deviation = np.sqrt(max(squares / n - mean * mean, 0.0))
    return equity, trades, mean / deviation if deviation > 0.0 else np.nan, fall, fees
