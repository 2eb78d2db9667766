"""Real bars for the engine's tests: the project's sample data, and backtesting.py's GOOG."""

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cift_core.engine import Bars
from cift_core.engine.signals import Signals
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


def part(bars: Bars, start: int, stop: int) -> Bars:
    """Bars start..stop - 1."""
    cut = slice(start, stop)
    volume = None if bars.volume is None else bars.volume[cut]
    return Bars(
        time=bars.time[cut],
        open=bars.open[cut],
        high=bars.high[cut],
        low=bars.low[cut],
        close=bars.close[cut],
        volume=volume,
        interval=bars.interval,
    )


def bars_from(*rows: tuple[float, float, float, float], interval: str | None = "1d") -> Bars:
    """Daily bars from (open, high, low, close), the first on 1970-01-01."""
    table = np.array(rows, np.float64)
    time = np.arange(len(rows), dtype=np.int64) * 86_400_000_000_000
    return Bars(
        time=time, open=table[:, 0], high=table[:, 1], low=table[:, 2], close=table[:, 3], interval=interval
    )


def given_signals(signals: dict[str, list[int]] | NDArray[np.bool_]) -> Strategy:
    """A strategy without parameters that gives exactly these signals: bar numbers by name, or bool[4, n]."""

    def compute(series: Series, _: Params) -> Signals:
        if isinstance(signals, dict):
            table = np.zeros((4, len(series.bars)), np.bool_)
            for name, at in signals.items():
                table[Signals._fields.index(name), at] = True
        else:
            table = signals
        return Signals(*(row.copy() for row in table))

    return Strategy(name="given", title="Given", rule="As given.", source="-", params=(), compute=compute)
