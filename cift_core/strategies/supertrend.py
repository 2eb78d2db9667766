"""SuperTrend: a stop line that follows the trend."""

import numpy as np

from cift_core.engine import indicators
from cift_core.engine.signals import Signals, crosses
from cift_core.engine.strategy import Param, Params, Series, Strategy


def _compute(series: Series, params: Params) -> Signals:
    window, width = params["window"], params["width"]
    high, low, close = series["high"], series["low"], series["close"]
    side = series.derived(
        (indicators.supertrend, window, width),
        lambda: indicators.supertrend(high, low, close, window, width),
    )
    up, down = crosses(side, np.zeros(len(side)))
    return Signals(long_entry=up, long_exit=down, short_entry=down, short_exit=up)


STRATEGY = Strategy(
    name="supertrend",
    title="SuperTrend",
    rule="Long when the close breaks above the line that lies width average true ranges above the bars of a "
    "falling trend; exit and short when it breaks below the one below the bars of a rising trend.",
    source="Seban (2008), Tout le monde mérite d'être riche; the average true range of Wilder (1978)",
    params=(
        Param("window", "int", 10, 2, 100_000, "bars of Wilder's smoothing of the true range"),
        Param("width", "float", 3, 0, 100, "average true ranges from the middle of a bar to the line"),
    ),
    compute=_compute,
)
