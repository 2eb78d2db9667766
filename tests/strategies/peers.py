"""The shipped strategies once more: indicators of TA-Lib and pandas, fills and money of backtesting.py.

Shares no code with `cift_core`. How the conventions are aligned: whole units, all of the equity
(backtesting.py's default order), a commission rate on both fills, no slippage, orders that replace
what is held (`exclusive_orders`).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import talib
from backtesting import Backtest, Strategy
from numpy.typing import NDArray

Array = NDArray[Any]
# Indicators (for the warm-up), long entry, long exit, short entry, short exit.
Sides = tuple[list[Array], Array, Array, Array, Array]
Rule = Callable[..., Sides]


def both_ways(indicators: list[Array], up: Array, down: Array) -> Sides:
    """What enters one side is the exit of the other."""
    return indicators, up, down, down, up


def tied(a: Array, b: Array) -> Array:
    return np.isclose(a, b, rtol=1e-11, atol=0.0)


def crossings(fast: Array, slow: Array) -> tuple[Array, Array]:
    side = pd.Series(np.sign(fast - slow)).mask(tied(fast, slow))
    before = side.ffill().shift()
    return ((side == 1) & (before == -1)).to_numpy(), ((side == -1) & (before == 1)).to_numpy()


def sma_cross(table: pd.DataFrame, fast: int = 10, slow: int = 20) -> Sides:
    means = [table.Close.rolling(n).mean().to_numpy() for n in (fast, slow)]
    return both_ways(means, *crossings(*means))


def ema_cross(table: pd.DataFrame, fast: int = 12, slow: int = 26) -> Sides:
    means = [talib.EMA(table.Close.to_numpy(), n) for n in (fast, slow)]
    return both_ways(means, *crossings(*means))


def rsi_reversion(table: pd.DataFrame, window: int = 14, lower: float = 30, upper: float = 70) -> Sides:
    rsi = talib.RSI(table.Close.to_numpy(), window)
    return both_ways([rsi], rsi < lower, rsi > upper)


def donchian_breakout(table: pd.DataFrame, window: int = 20) -> Sides:
    upper = table.High.rolling(window).max().shift().to_numpy()
    lower = table.Low.rolling(window).min().shift().to_numpy()
    return both_ways([upper, lower], table.Close.to_numpy() > upper, table.Close.to_numpy() < lower)


def momentum(table: pd.DataFrame, lookback: int = 252) -> Sides:
    close, before = table.Close.to_numpy(), table.Close.shift(lookback).to_numpy()
    return both_ways([before], close > before, close < before)


def macd_cross(table: pd.DataFrame, fast: int = 12, slow: int = 26, signal: int = 9) -> Sides:
    line, mean, _ = talib.MACD(table.Close.to_numpy(), fast, slow, signal)
    return both_ways([line, mean], *crossings(line, mean))


def supertrend(table: pd.DataFrame, window: int = 10, width: float = 3) -> Sides:
    """Where the direction of TradingView's `ta.supertrend` changes."""
    high, low, close = (table[name].to_numpy() for name in ("High", "Low", "Close"))
    reach, middle = width * talib.ATR(high, low, close, window), (high + low) / 2
    below, above, falling = middle - reach, middle + reach, np.full(len(close), np.nan)
    falling[window] = True
    for i in range(window + 1, len(close)):
        if close[i - 1] >= below[i - 1]:
            below[i] = max(below[i], below[i - 1])
        if close[i - 1] <= above[i - 1]:
            above[i] = min(above[i], above[i - 1])
        falling[i] = close[i] <= above[i] if falling[i - 1] else close[i] < below[i]
    change = np.diff(falling, prepend=np.nan)
    return both_ways([falling], change == -1, change == 1)


def bollinger_bands(table: pd.DataFrame, window: int, width: float) -> tuple[Array, Array, Array]:
    mean, reach = table.Close.rolling(window).mean(), width * table.Close.rolling(window).std(ddof=0)
    return (mean - reach).to_numpy(), mean.to_numpy(), (mean + reach).to_numpy()


def bollinger_reversion(table: pd.DataFrame, window: int = 20, width: float = 2) -> Sides:
    close, (lower, mean, upper) = table.Close.to_numpy(), bollinger_bands(table, window, width)
    beyond, off = ~(tied(close, lower) | tied(close, upper)), ~tied(close, mean)
    return (
        [mean],
        beyond & (close < lower),
        off & (close > mean),
        beyond & (close > upper),
        off & (close < mean),
    )


def bollinger_breakout(table: pd.DataFrame, window: int = 20, width: float = 2) -> Sides:
    close, (lower, mean, upper) = table.Close.to_numpy(), bollinger_bands(table, window, width)
    beyond = ~(tied(close, lower) | tied(close, upper))
    return both_ways([mean], beyond & (close > upper), beyond & (close < lower))


def buy_and_hold(table: pd.DataFrame) -> Sides:
    first = np.zeros(len(table), bool)
    # backtesting.py calls a strategy from bar 1 on.
    first[1] = True
    return both_ways([], first, np.zeros(len(table), bool))


RULES: dict[str, Rule] = {
    rule.__name__: rule
    for rule in (
        sma_cross,
        ema_cross,
        rsi_reversion,
        donchian_breakout,
        bollinger_breakout,
        bollinger_reversion,
        macd_cross,
        momentum,
        supertrend,
        buy_and_hold,
    )
}


def run(
    table: pd.DataFrame,
    rule: Rule,
    *,
    cash: float,
    commission: float,
    short: bool,
    trade_on_close: bool = False,
) -> tuple[pd.DataFrame, Array]:
    """Trades (with those closed by force at the end) and equity of `rule` on Open, High, Low, Close,
    Volume."""
    indicators, long_entry, long_exit, short_entry, short_exit = rule(table)

    class Peer(Strategy):  # type: ignore[misc]
        def init(self) -> None:
            # As attributes, for backtesting.py takes its warm-up from those.
            for k, indicator in enumerate(indicators):
                setattr(self, f"indicator_{k}", self.I(lambda values=indicator: values, plot=False))

        def next(self) -> None:
            i = len(self.data) - 1
            if long_entry[i] and not self.position.is_long:
                self.buy()
            elif short_entry[i] and short and not self.position.is_short:
                self.sell()
            elif (long_exit[i] and self.position.is_long) or (short_exit[i] and self.position.is_short):
                self.position.close()

    backtest = Backtest(
        table,
        Peer,
        cash=cash,
        commission=commission,
        exclusive_orders=True,
        trade_on_close=trade_on_close,
        finalize_trades=True,
    )
    stats = backtest.run()
    return stats["_trades"], stats["_equity_curve"]["Equity"].to_numpy()


def run_with_levels(
    table: pd.DataFrame,
    entries: Array,
    side: int,
    units: int,
    *,
    cash: float,
    stop_loss: float,
    take_profit: float,
) -> pd.DataFrame:
    """Trades that enter on `entries` when flat and leave by a stop or target measured from the
    signal's close."""

    class Peer(Strategy):  # type: ignore[misc]
        def init(self) -> None:
            pass

        def next(self) -> None:
            i = len(self.data) - 1
            if entries[i] and not self.position:
                close = self.data.Close[-1]
                levels = {"sl": close * (1 - side * stop_loss), "tp": close * (1 + side * take_profit)}
                if side == 1:
                    self.buy(size=units, **levels)
                else:
                    self.sell(size=units, **levels)

    trades: pd.DataFrame = Backtest(table, Peer, cash=cash, finalize_trades=True).run()["_trades"]
    return trades
