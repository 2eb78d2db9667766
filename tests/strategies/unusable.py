"""Strategies with a parameter that can't be given, as a package could bring them."""

from math import inf
from typing import Any

from cift_core.engine import Param, Strategy
from cift_core.strategies import SHIPPED


def _with(name: str, kind: Any, default: float, most: float) -> Strategy:
    stop = Param("stop", kind, default, 0, most, "where to leave")
    return Strategy(name, "-", "-", "-", (stop,), SHIPPED["sma_cross"].compute)


WIDE = _with("wide", "float", 1.0, inf)
OUTSIDE = _with("outside", "float", 2.0, 1.0)
WORDED = _with("worded", "number", 1.0, 1.0)
