"""Real bars for the engine's tests: the project's sample data, and backtesting.py's GOOG."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cift_core.engine import EXIT_REASONS, SIDES, Bars, Result
from cift_core.engine.signals import EntryOrder, Signals
from cift_core.engine.strategy import Params, Series, Strategy

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
DAILY = ("AAPL", "IBM", "MSFT")


@cache
def frame(symbol: str) -> pd.DataFrame:
    """Columns open, high, low, close (and more) as the file has them, indexed by UTC time."""
    if symbol == "XAUUSD":
        table = pd.read_csv(SAMPLE / "XAUUSD-1h.csv.gz", index_col="timestamp", parse_dates=True)
    else:
        table = pd.read_csv(SAMPLE / f"{symbol}-1d.csv", index_col="Date", parse_dates=True)
    table.columns = [c.lower() for c in table.columns]
    return table


def bars_of(table: pd.DataFrame, interval: str | None) -> Bars:
    columns = {name: table[name].to_numpy(np.float64) for name in ("open", "high", "low", "close")}
    volume = table["volume"].to_numpy(np.float64) if "volume" in table else None
    time = table.index.to_numpy().astype("datetime64[ns]").astype(np.int64)
    return Bars(time=time, **columns, volume=volume, interval=interval)


@cache
def sample(symbol: str) -> Bars:
    return bars_of(frame(symbol), "1h" if symbol == "XAUUSD" else "1d")


def only(bars: Bars, chosen: slice | NDArray[np.int64]) -> Bars:
    """The bars at the chosen places, in their order."""
    volume = None if bars.volume is None else bars.volume[chosen]
    return Bars(
        time=bars.time[chosen],
        open=bars.open[chosen],
        high=bars.high[chosen],
        low=bars.low[chosen],
        close=bars.close[chosen],
        volume=volume,
        interval=bars.interval,
    )


def part(bars: Bars, start: int, stop: int) -> Bars:
    """Bars start..stop - 1."""
    return only(bars, slice(start, stop))


def bars_from(*rows: tuple[float, float, float, float], interval: str | None = "1d") -> Bars:
    """Daily bars from (open, high, low, close), the first on 1970-01-01."""
    table = np.array(rows, np.float64)
    time = np.arange(len(rows), dtype=np.int64) * 86_400_000_000_000
    return Bars(
        time=time, open=table[:, 0], high=table[:, 1], low=table[:, 2], close=table[:, 3], interval=interval
    )


def at_prices(*prices: float, days: Sequence[int] | None = None) -> Bars:
    """Daily bars whose four prices are one, from 1970-01-01 on, or on the given days after it."""
    bars = bars_from(*((price,) * 4 for price in prices))
    if days is None:
        return bars
    time = np.array(days, np.int64) * 86_400_000_000_000
    return Bars(time=time, open=bars.open, high=bars.high, low=bars.low, close=bars.close, interval="1d")


def given_signals(
    signals: dict[str, list[int]] | NDArray[np.bool_],
    long_order: EntryOrder | None = None,
    short_order: EntryOrder | None = None,
) -> Strategy:
    """A strategy without parameters that gives exactly these signals: bar numbers by name, or bool[4, n]."""

    def compute(series: Series, _: Params) -> Signals:
        if isinstance(signals, dict):
            table = np.zeros((4, len(series.bars)), np.bool_)
            for name, at in signals.items():
                table[Signals._fields.index(name), at] = True
        else:
            table = signals
        return Signals(*(row.copy() for row in table), long_order, short_order)

    return Strategy(name="given", title="Given", rule="As given.", source="-", params=(), compute=compute)


def shown(result: Result) -> list[tuple[Any, ...]]:
    """Symbol (counted from 0), side, size, entry price, exit price, pnl and exit reason of each trade."""
    names = ("symbol", "side", "size", "entry_price", "exit_price", "pnl", "exit_reason")
    rows = [{name: trade[name].item() for name in names} for trade in result.trades]
    words = {"side": SIDES, "exit_reason": EXIT_REASONS}
    return [tuple(words[name][row[name]] if name in words else row[name] for name in names) for row in rows]


def each_told(panel: dict[str, Bars], signals: Sequence[Signals]) -> Strategy:
    """A strategy without parameters that gives each symbol of a panel exactly its own signals."""

    def compute(series: Series, _: Params) -> Signals:
        own = next(s for bars, s in zip(panel.values(), signals, strict=True) if bars is series.bars)
        return Signals(*(flag.copy() for flag in own.flags), own.long_order, own.short_order)

    return Strategy(name="given", title="Given", rule="As given.", source="-", params=(), compute=compute)


def by_weights(weights: NDArray[np.float64]) -> Strategy:
    """A strategy without parameters that gives these target weights, float64[n, k]."""
    return Strategy(
        name="given", title="Given", rule="As given.", source="-", params=(), weigh=lambda *_: weights
    )
