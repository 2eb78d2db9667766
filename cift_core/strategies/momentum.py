"""Time-series momentum."""

from cift_core.engine.indicators import lag
from cift_core.engine.signals import Signals, above
from cift_core.engine.strategy import Param, Params, Series, Strategy


def _compute(series: Series, params: Params) -> Signals:
    close = series["close"]
    before = series.indicator(lag, "close", params["lookback"])
    up, down = above(close, before), above(before, close)
    return Signals(long_entry=up, long_exit=down, short_entry=down, short_exit=up)


STRATEGY = Strategy(
    name="momentum",
    title="Time-series momentum",
    rule="Long when the close is above the close lookback bars ago; exit and short when it is below.",
    source="Moskowitz, Ooi & Pedersen (2012), Time series momentum, Journal of Financial Economics 104(2)",
    params=(Param("lookback", "int", 252, 1, 100_000, "bars over which the rise is measured"),),
    compute=_compute,
)
