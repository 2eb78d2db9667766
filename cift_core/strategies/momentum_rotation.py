"""Rotation into the strongest of several symbols, by target weights."""

import numpy as np

from cift_core.engine.bars import FloatArray
from cift_core.engine.panel import Panel
from cift_core.engine.strategy import Param, Params, Strategy


def _weigh(panel: Panel, params: Params) -> FloatArray:
    lookback, top = params["lookback"], params["top"]
    close = panel["close"]
    weights = np.full(close.shape, np.nan)
    for row in range(lookback, len(panel), params["every"]):
        momentum = close[row] / close[row - lookback] - 1.0
        strongest = np.argsort(-momentum, kind="stable")[: min(top, np.isfinite(momentum).sum())]
        weights[row] = 0.0
        weights[row, strongest] = 1.0 / top
    return weights


STRATEGY = Strategy(
    name="momentum_rotation",
    title="Momentum rotation",
    rule="Every `every` bars 1/top of the equity in each of the `top` symbols whose close rose most over "
    "`lookback` bars, and nothing in the others; of equals the earlier one in the request.",
    source="Jegadeesh & Titman (1993), Returns to Buying Winners and Selling Losers: Implications for Stock "
    "Market Efficiency, Journal of Finance 48(1)",
    params=(
        Param("lookback", "int", 126, 1, 100_000, "bars over which a symbol's rise is measured"),
        Param("top", "int", 3, 1, 1_000, "symbols to hold"),
        Param("every", "int", 21, 1, 100_000, "bars from one rebalancing to the next"),
    ),
    weigh=_weigh,
)
