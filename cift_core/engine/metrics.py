"""The figures of a run.

Equity curves are float64[n] at the closes, per-bar returns their changes, fractions not percent. NaN
stands for a figure that does not exist (`run_backtest` turns it into None). `ppy` is bars per year,
NaN where that does not exist.
"""

from math import isnan, nan, sqrt
from typing import Final

from cift_core.engine.bars import FloatArray, IntArray
from cift_core.engine.kernel import in_place

# A return is a quotient near 1 less 1, so it carries an absolute error of a few 1e-16: a deviation
# below this is none.
NO_DEVIATION: Final = 1e-15


@in_place
def walk(equity: FloatArray, time: IntArray, cash: float) -> tuple[float, float, float, float]:
    """Four figures in one pass over `equity`: the mean per-bar return (the first against the starting
    `cash`), the mean equity, the largest fall from a peak (a positive fraction of it; 0 where equity never
    falls), and the longest time in seconds from a peak to the first close back at it, or to the last bar.

    Means are summed in order. Where equity stays level at its peak, the time runs from the last such bar.
    Sources: Magdon-Ismail & Atiya (2004), "Maximum Drawdown", Risk Magazine 17(10); backtesting.py's "Max.
    Drawdown Duration".
    """
    n = len(equity)
    returns = total = fall = 0.0
    before = peak = trough = cash
    peak_time, longest = time[0], 0
    for i in range(n):
        value = equity[i]
        returns += value / before - 1.0
        total += value
        before = value
        if value < peak:
            trough = min(trough, value)
            continue
        if trough < peak:
            fall = max(fall, 1.0 - trough / peak)
            longest = max(longest, time[i] - peak_time)
        peak = trough = value
        peak_time = time[i]
    if trough < peak:
        fall = max(fall, 1.0 - trough / peak)
        longest = max(longest, time[n - 1] - peak_time)
    return returns / n, total / n, fall, longest / 1e9


@in_place
def deviations(equity: FloatArray, cash: float, mean_return: float, target: float) -> tuple[float, float]:
    """Two figures in one pass over `equity`: the sample standard deviation of the per-bar returns (ddof 1;
    NaN for a single one), and the root of the mean over all of min(return - `target`, 0) squared."""
    n = len(equity)
    squares = shortfalls = 0.0
    before = cash
    for i in range(n):
        change = equity[i] / before - 1.0
        before = equity[i]
        squares += (change - mean_return) ** 2
        shortfalls += min(change - target, 0.0) ** 2
    return sqrt(squares / (n - 1)), sqrt(shortfalls / n)


@in_place
def total_return(final_equity: float, cash: float) -> float:
    """Final equity over starting cash, less 1."""
    return final_equity / cash - 1.0


@in_place
def annual_return(final_equity: float, cash: float, n: int, ppy: float) -> float:
    """Compound growth a year: (final / cash) ** (ppy / n) - 1 over n bars.

    Source: CAGR as in Bacon (2008), "Practical Portfolio Performance Measurement and Attribution", ch. 2.
    """
    if isnan(ppy):
        return nan  # 1 ** nan would be 1
    growth: float = (final_equity / cash) ** (ppy / n)
    return growth - 1.0


@in_place
def annual_volatility(risk: float, ppy: float) -> float:
    """Standard deviation of returns times the root of ppy. Source: Bacon (2008), ch. 4."""
    return risk * sqrt(ppy)


@in_place
def sharpe(mean_return: float, risk: float, ppy: float, risk_free_rate: float) -> float:
    """Mean return above the risk-free rate (a year, spread evenly over ppy) per deviation, annualised.

    Source: Sharpe (1994), "The Sharpe Ratio", Journal of Portfolio Management 21(1).
    """
    if not risk > NO_DEVIATION:
        return nan
    return (mean_return - risk_free_rate / ppy) / risk * sqrt(ppy)


@in_place
def sortino(mean_return: float, downside_risk: float, ppy: float, risk_free_rate: float) -> float:
    """As Sharpe, per downside deviation below the risk-free rate.

    Source: Sortino & Price (1994), "Performance Measurement in a Downside Risk Framework",
    Journal of Investing 3(3).
    """
    if not downside_risk > NO_DEVIATION:
        return nan
    return (mean_return - risk_free_rate / ppy) / downside_risk * sqrt(ppy)


@in_place
def calmar(annual_return: float, max_drawdown: float) -> float:
    """Annual return per maximum drawdown, over the whole run. Source: Young (1991), "Calmar Ratio: A
    Smoother Tool"."""
    return annual_return / max_drawdown if max_drawdown > 0.0 else nan


@in_place
def exposure(bars_held: int, n: int) -> float:
    """Share of the n bars that hold a position at the close, after everything that fills there."""
    return bars_held / n


@in_place
def turnover(traded_notional: float, mean_equity: float, n: int, ppy: float) -> float:
    """Traded notional (buys and sells) per mean equity and year, a year being ppy of the n bars."""
    return traded_notional / mean_equity / (n / ppy) if mean_equity > 0.0 else nan


@in_place
def share(part: float, whole: int) -> float:
    """`part / whole`, NaN where there is nothing to share among: win rate, expectancy, average trade
    return."""
    return part / whole if whole > 0 else nan


@in_place
def profit_factor(gains: float, losses: float) -> float:
    """Gross gains per gross losses of the trades' pnl (both positive), NaN without losses.

    Source: vectorbt's `Trades.profit_factor` (backtesting.py divides sums of returns).
    """
    return gains / losses if losses > 0.0 else nan


@in_place
def buy_and_hold_return(close: FloatArray) -> float:
    """Last close over first close, less 1: the market over all bars, without costs."""
    return float(close[len(close) - 1] / close[0] - 1.0)


@in_place
def write_drawdowns(equity: FloatArray, cash: float, out: FloatArray) -> None:
    """Into `out`, float64[n] in [0, 1]: how far below its highest so far (the starting cash included) equity
    is."""
    peak = cash
    for i in range(len(equity)):
        peak = max(peak, equity[i])
        out[i] = 1.0 - equity[i] / peak
