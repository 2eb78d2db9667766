"""Reversion from an overbought or oversold RSI."""

from cift_core.engine.indicators import rsi
from cift_core.engine.signals import Signals, above_level, below_level
from cift_core.engine.strategy import Param, Params, Series, Strategy


def _compute(series: Series, params: Params) -> Signals:
    strength = series.indicator(rsi, "close", params["window"])
    oversold = below_level(strength, params["lower"])
    overbought = above_level(strength, params["upper"])
    return Signals(long_entry=oversold, long_exit=overbought, short_entry=overbought, short_exit=oversold)


STRATEGY = Strategy(
    name="rsi_reversion",
    title="RSI reversion",
    rule="Long when Wilder's RSI of the close is below lower; exit and short when it is above upper.",
    source="Wilder (1978), New Concepts in Technical Trading Systems",
    params=(
        Param("window", "int", 14, 2, 100_000, "bars of Wilder's smoothing"),
        Param("lower", "float", 30, 0, 100, "RSI below which the market counts as oversold"),
        Param("upper", "float", 70, 0, 100, "RSI above which the market counts as overbought"),
    ),
    compute=_compute,
)
