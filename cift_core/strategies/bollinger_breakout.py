"""Breakout from the Bollinger bands."""

from cift_core.engine.indicators import band, sma, stdev
from cift_core.engine.signals import Signals, above
from cift_core.engine.strategy import Param, Params, Series, Strategy


def _compute(series: Series, params: Params) -> Signals:
    close, window, width = series["close"], params["window"], params["width"]
    middle = series.indicator(sma, "close", window)
    deviation = series.indicator(stdev, "close", window)
    up = above(close, band(middle, deviation, width))
    down = above(band(middle, deviation, -width), close)
    return Signals(long_entry=up, long_exit=down, short_entry=down, short_exit=up)


STRATEGY = Strategy(
    name="bollinger_breakout",
    title="Bollinger band breakout",
    rule="Long when the close is above its mean plus width standard deviations (population, current bar "
    "included); exit and short when it is below the mean less width deviations.",
    source="Bollinger (2001), Bollinger on Bollinger Bands, method I: volatility breakout",
    params=(
        Param("window", "int", 20, 2, 100_000, "bars of the mean and the deviation"),
        Param("width", "float", 2, 0, 100, "deviations from the mean to either band"),
    ),
    compute=_compute,
)
