"""Reversion from the Bollinger bands."""

from cift_core.engine.indicators import band, sma, stdev
from cift_core.engine.signals import Signals, above
from cift_core.engine.strategy import Param, Params, Series, Strategy


def _compute(series: Series, params: Params) -> Signals:
    close, window, width = series["close"], params["window"], params["width"]
    middle = series.indicator(sma, "close", window)
    deviation = series.indicator(stdev, "close", window)
    return Signals(
        long_entry=above(band(middle, deviation, -width), close),
        long_exit=above(close, middle),
        short_entry=above(close, band(middle, deviation, width)),
        short_exit=above(middle, close),
    )


STRATEGY = Strategy(
    name="bollinger_reversion",
    title="Bollinger band reversion",
    rule="Long when the close is below its mean less width standard deviations (population, current bar "
    "included), until it is above the mean; short when it is above the mean plus width deviations, until it "
    "is below the mean.",
    source="Chan (2013), Algorithmic Trading: Winning Strategies and Their Rationale, chapter 3: Bollinger "
    "bands with an exit at the mean",
    params=(
        Param("window", "int", 20, 2, 100_000, "bars of the mean and the deviation"),
        Param("width", "float", 2, 0, 100, "deviations from the mean to either band"),
    ),
    compute=_compute,
)
