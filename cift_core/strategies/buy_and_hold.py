"""Buy once and hold: what every other strategy is measured against."""

import numpy as np

from cift_core.engine.signals import Signals
from cift_core.engine.strategy import Params, Series, Strategy


def _compute(series: Series, _: Params) -> Signals:
    never = np.zeros(len(series.bars), np.bool_)
    at_first_close = never.copy()
    at_first_close[0] = True
    return Signals(long_entry=at_first_close, long_exit=never, short_entry=never, short_exit=never)


STRATEGY = Strategy(
    name="buy_and_hold",
    title="Buy and hold",
    rule="Long at the first close, once; never an exit.",
    source="The usual benchmark, e.g. Sharpe (1991), The Arithmetic of Active Management, "
    "Financial Analysts Journal 47(1)",
    params=(),
    compute=_compute,
)
