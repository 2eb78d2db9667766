"""Exponential moving-average crossover."""

from cift_core.engine.indicators import ema
from cift_core.engine.signals import Signals, crosses
from cift_core.engine.strategy import Param, Params, Series, Strategy


def _compute(series: Series, params: Params) -> Signals:
    fast = series.indicator(ema, "close", params["fast"])
    slow = series.indicator(ema, "close", params["slow"])
    up, down = crosses(fast, slow)
    return Signals(long_entry=up, long_exit=down, short_entry=down, short_exit=up)


STRATEGY = Strategy(
    name="ema_cross",
    title="Exponential moving-average crossover",
    rule="Long when EMA(fast) of the close crosses above EMA(slow); exit and short when it crosses below.",
    source="Appel (2005), Technical Analysis: Power Tools for Active Investors: MACD(12, 26) crossing zero",
    params=(
        Param("fast", "int", 12, 2, 100_000, "span in bars of the fast mean"),
        Param("slow", "int", 26, 2, 100_000, "span in bars of the slow mean"),
    ),
    compute=_compute,
)
