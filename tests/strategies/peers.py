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
Rule = Callable[[pd.DataFrame], Sides]


def both_ways(indicators: list[Array], up: Array, down: Array) -> Sides:
    """What enters one side is the exit of the other."""
    return indicators, up, down, down, up


def crossings(fast: Array, slow: Array) -> tuple[Array, Array]:
    tied = np.abs(fast - slow) <= 1e-11 * np.maximum(np.abs(fast), np.abs(slow))
    side = pd.Series(np.sign(fast - slow)).mask(tied)
    before = side.ffill().shift()
    return ((side == 1) & (before == -1)).to_numpy(), ((side == -1) & (before == 1)).to_numpy()


def sma_cross(table: pd.DataFrame) -> Sides:
    fast, slow = (table.Close.rolling(n).mean().to_numpy() for n in (10, 20))
    return both_ways([fast, slow], *crossings(fast, slow))


def ema_cross(table: pd.DataFrame) -> Sides:
    fast, slow = (talib.EMA(table.Close.to_numpy(), n) for n in (12, 26))
    return both_ways([fast, slow], *crossings(fast, slow))


def rsi_reversion(table: pd.DataFrame) -> Sides:
    rsi = talib.RSI(table.Close.to_numpy(), 14)
    return both_ways([rsi], rsi < 30, rsi > 70)


def donchian_breakout(table: pd.DataFrame) -> Sides:
    upper = table.High.rolling(20).max().shift().to_numpy()
    lower = table.Low.rolling(20).min().shift().to_numpy()
    return both_ways([upper, lower], table.Close.to_numpy() > upper, table.Close.to_numpy() < lower)


def momentum(table: pd.DataFrame) -> Sides:
    close, before = table.Close.to_numpy(), table.Close.shift(252).to_numpy()
    return both_ways([before], close > before, close < before)


def macd_cross(table: pd.DataFrame) -> Sides:
    line, signal, _ = talib.MACD(table.Close.to_numpy(), 12, 26, 9)
    return both_ways([line, signal], *crossings(line, signal))


def supertrend(table: pd.DataFrame) -> Sides:
    high, low, close = (table[name].to_numpy() for name in ("High", "Low", "Close"))
    reach, middle, line = 3 * talib.ATR(high, low, close, 10), (high + low) / 2, np.full(len(close), np.nan)
    below, above, falling = middle[10] - reach[10], middle[10] + reach[10], True
    line[10] = above
    for i in range(11, len(close)):
        keeps_below, keeps_above = close[i - 1] >= below, close[i - 1] <= above
        below = max(below, middle[i] - reach[i]) if keeps_below else middle[i] - reach[i]
        above = min(above, middle[i] + reach[i]) if keeps_above else middle[i] + reach[i]
        falling = close[i] <= above if falling else close[i] < below
        line[i] = above if falling else below
    return both_ways([line], *crossings(close, line))


def bollinger_reversion(table: pd.DataFrame) -> Sides:
    close, mean = table.Close.to_numpy(), table.Close.rolling(20).mean().to_numpy()
    deviation = table.Close.rolling(20).std(ddof=0).to_numpy()
    below, above = close < mean - 2 * deviation, close > mean + 2 * deviation
    return [mean, deviation], below, close > mean, above, close < mean


def bollinger_breakout(table: pd.DataFrame) -> Sides:
    mean = table.Close.rolling(20).mean()
    deviation = table.Close.rolling(20).std(ddof=0)
    upper, lower = (mean + 2 * deviation).to_numpy(), (mean - 2 * deviation).to_numpy()
    return both_ways([upper, lower], table.Close.to_numpy() > upper, table.Close.to_numpy() < lower)


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
