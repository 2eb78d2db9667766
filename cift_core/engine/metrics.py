"""The figures of a run, one function each.

Equity curves are float64[n] at the closes, `returns` their per-bar changes, fractions not percent. NaN
stands for a figure that does not exist (`run_backtest` turns it into None). `ppy` is bars per year,
NaN where that does not exist.
"""

from math import isnan, nan, sqrt
from typing import Final

import numpy as np

from cift_core.engine.bars import FloatArray, IntArray
from cift_core.engine.kernel import kernel

# A return is a quotient near 1 less 1, so it carries an absolute error of a few 1e-16: a deviation
# below this is none.
NO_DEVIATION: Final = 1e-15


@kernel
def per_bar_returns(equity: FloatArray, cash: float) -> FloatArray:
    """float64[n]: equity over the equity one bar before, less 1; the first against the starting `cash`."""
    out = np.empty(len(equity))
    before = cash
    for i in range(len(equity)):
        out[i] = equity[i] / before - 1.0
        before = equity[i]
    return out


@kernel
def total_return(final_equity: float, cash: float) -> float:
    """Final equity over starting cash, less 1."""
    return final_equity / cash - 1.0


@kernel
def annual_return(final_equity: float, cash: float, n: int, ppy: float) -> float:
    """Compound growth a year: (final / cash) ** (ppy / n) - 1 over n bars.

    Source: CAGR as in Bacon (2008), "Practical Portfolio Performance Measurement and Attribution", ch. 2.
    """
    if isnan(ppy):
        return nan  # 1 ** nan would be 1
    growth: float = (final_equity / cash) ** (ppy / n)
    return growth - 1.0


@kernel
def mean(values: FloatArray) -> float:
    """Arithmetic mean, summed in order."""
    total = 0.0
    for value in values:
        total += value
    return total / len(values)


@kernel
def deviation(values: FloatArray, centre: float) -> float:
    """Sample standard deviation (ddof 1) about the mean `centre`; NaN for a single value."""
    squares = 0.0
    for value in values:
        squares += (value - centre) ** 2
    return sqrt(squares / (len(values) - 1))


@kernel
def annual_volatility(risk: float, ppy: float) -> float:
    """Standard deviation of returns times the root of ppy. Source: Bacon (2008), ch. 4."""
    return risk * sqrt(ppy)


@kernel
def sharpe(mean_return: float, risk: float, ppy: float, risk_free_rate: float) -> float:
    """Mean return above the risk-free rate (a year, spread evenly over ppy) per deviation, annualised.

    Source: Sharpe (1994), "The Sharpe Ratio", Journal of Portfolio Management 21(1).
    """
    if not risk > NO_DEVIATION:
        return nan
    return (mean_return - risk_free_rate / ppy) / risk * sqrt(ppy)


@kernel
def downside_deviation(returns: FloatArray, target: float) -> float:
    """Root of the mean over all n of min(return - target, 0) squared."""
    squares = 0.0
    for value in returns:
        squares += min(value - target, 0.0) ** 2
    return sqrt(squares / len(returns))


@kernel
def sortino(mean_return: float, downside_risk: float, ppy: float, risk_free_rate: float) -> float:
    """As Sharpe, per downside deviation below the risk-free rate.

    Source: Sortino & Price (1994), "Performance Measurement in a Downside Risk Framework",
    Journal of Investing 3(3).
    """
    if not downside_risk > NO_DEVIATION:
        return nan
    return (mean_return - risk_free_rate / ppy) / downside_risk * sqrt(ppy)


@kernel
def drawdowns(equity: FloatArray, cash: float) -> FloatArray:
    """float64[n] in [0, 1]: how far below its highest so far (the starting cash included) equity is."""
    out = np.empty(len(equity))
    peak = cash
    for i in range(len(equity)):
        peak = max(peak, equity[i])
        out[i] = 1.0 - equity[i] / peak
    return out


@kernel
def max_drawdown(equity: FloatArray, cash: float) -> float:
    """Largest fall from a peak, a positive fraction of the peak; 0 where equity never falls.

    Source: Magdon-Ismail & Atiya (2004), "Maximum Drawdown", Risk Magazine 17(10).
    """
    worst, peak = 0.0, cash
    for value in equity:
        if value > peak:
            peak = value
        else:
            worst = max(worst, 1.0 - value / peak)
    return worst


@kernel
def max_drawdown_duration_s(equity: FloatArray, time: IntArray, cash: float) -> float:
    """Longest time in seconds from a peak to the first close back at it, or to the last bar; 0 without
    a drawdown.

    Where equity stays level at its peak, the time runs from the last such bar. Source: backtesting.py's
    "Max. Drawdown Duration".
    """
    peak, peak_time, longest = cash, time[0], 0
    below = False
    for i in range(len(equity)):
        if equity[i] >= peak:
            if below:
                longest = max(longest, time[i] - peak_time)
            peak, peak_time, below = equity[i], time[i], False
        else:
            below = True
    if below:
        longest = max(longest, time[len(equity) - 1] - peak_time)
    return longest / 1e9


@kernel
def calmar(annual_return: float, max_drawdown: float) -> float:
    """Annual return per maximum drawdown, over the whole run. Source: Young (1991), "Calmar Ratio: A
    Smoother Tool"."""
    return annual_return / max_drawdown if max_drawdown > 0.0 else nan


@kernel
def exposure(bars_held: int, n: int) -> float:
    """Share of the n bars that hold a position at the close, after everything that fills there."""
    return bars_held / n


@kernel
def turnover(traded_notional: float, equity: FloatArray, ppy: float) -> float:
    """Traded notional (buys and sells) per mean equity and year, a year being ppy bars."""
    average = mean(equity)
    return traded_notional / average / (len(equity) / ppy) if average > 0.0 else nan


@kernel
def share(part: float, whole: int) -> float:
    """`part / whole`, NaN where there is nothing to share among: win rate, expectancy, average trade
    return."""
    return part / whole if whole > 0 else nan


@kernel
def profit_factor(gains: float, losses: float) -> float:
    """Gross gains per gross losses of the trades' pnl (both positive), NaN without losses.

    Source: vectorbt's `Trades.profit_factor` (backtesting.py divides sums of returns).
    """
    return gains / losses if losses > 0.0 else nan


@kernel
def buy_and_hold_return(close: FloatArray) -> float:
    """Last close over first close, less 1: the market over all bars, without costs."""
    return float(close[len(close) - 1] / close[0] - 1.0)
