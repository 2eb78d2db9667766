"""Moving-average crossover."""

from cift_core.engine.indicators import sma
from cift_core.engine.signals import Signals, crosses
from cift_core.engine.strategy import Param, Params, Series, Strategy


def _compute(series: Series, params: Params) -> Signals:
    fast = series.indicator(sma, "close", params["fast"])
    slow = series.indicator(sma, "close", params["slow"])
    up, down = crosses(fast, slow)
    return Signals(long_entry=up, long_exit=down, short_entry=down, short_exit=up)


STRATEGY = Strategy(
    name="sma_cross",
    title="Moving-average crossover",
    rule="Long when SMA(fast) of the close crosses above SMA(slow); exit and short when it crosses below.",
    source="Brock, Lakonishok & LeBaron (1992), Simple Technical Trading Rules and the Stochastic Properties "
    "of Stock Returns, Journal of Finance 47(5)",
    params=(
        Param("fast", "int", 10, 2, 100_000, "bars of the fast mean"),
        Param("slow", "int", 20, 2, 100_000, "bars of the slow mean"),
    ),
    compute=_compute,
)
