"""Breakout from the channel of the previous highs and lows."""

from cift_core.engine.bars import FloatArray
from cift_core.engine.indicators import highest, lag, lowest
from cift_core.engine.signals import Signals, above
from cift_core.engine.strategy import Param, Params, Series, Strategy


def _upper(high: FloatArray, window: int) -> FloatArray:
    return lag(highest(high, window), 1)


def _lower(low: FloatArray, window: int) -> FloatArray:
    return lag(lowest(low, window), 1)


def _compute(series: Series, params: Params) -> Signals:
    close = series["close"]
    up = above(close, series.indicator(_upper, "high", params["window"]))
    down = above(series.indicator(_lower, "low", params["window"]), close)
    return Signals(long_entry=up, long_exit=down, short_entry=down, short_exit=up)


STRATEGY = Strategy(
    name="donchian_breakout",
    title="Donchian channel breakout",
    rule="Long when the close is above the highest high of the previous window bars; "
    "exit and short when it is below their lowest low.",
    source="Donchian's channel rule, in Faith (2007), Way of the Turtle",
    params=(Param("window", "int", 20, 2, 100_000, "bars of the channel, the current one left out"),),
    compute=_compute,
)
