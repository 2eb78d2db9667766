"""Boolean signals from series, with a tie rule that keeps float noise from deciding."""

from typing import Final, Literal, NamedTuple

import numpy as np

from cift_core.engine.bars import BoolArray, FloatArray
from cift_core.engine.kernel import kernel

TIE: Final = 1e-11


class EntryOrder(NamedTuple):
    """How the entries of one side are placed when not at the market: `price` float64[n], in force from the
    bar after the signal on for `good_for` bars (None: as `Execution` says). NaN: no order from this bar.
    """

    type: Literal["limit", "stop"]
    price: FloatArray
    good_for: int | None = None


class Signals(NamedTuple):
    """What a strategy wants at each close: four bool[n]. The same array may serve twice.

    Entries are market orders where no `long_order`, `short_order` says otherwise.
    """

    long_entry: BoolArray
    long_exit: BoolArray
    short_entry: BoolArray
    short_exit: BoolArray
    long_order: EntryOrder | None = None
    short_order: EntryOrder | None = None

    @property
    def flags(self) -> tuple[BoolArray, BoolArray, BoolArray, BoolArray]:
        """The four without the orders."""
        return self[:4]


@kernel
def above(a: FloatArray, b: FloatArray) -> BoolArray:
    """bool[n]: a > b and not tied, i.e. `|a - b| > 1e-11 max(|a|, |b|)`; false where either is undefined."""
    out = np.empty(len(a), np.bool_)
    for i in range(len(a)):
        out[i] = a[i] - b[i] > TIE * max(abs(a[i]), abs(b[i]))
    return out


@kernel
def above_level(a: FloatArray, level: float) -> BoolArray:
    """bool[n]: a > level and not tied; false where a is undefined."""
    out = np.empty(len(a), np.bool_)
    for i in range(len(a)):
        out[i] = a[i] - level > TIE * max(abs(a[i]), abs(level))
    return out


@kernel
def below_level(a: FloatArray, level: float) -> BoolArray:
    """bool[n]: a < level and not tied; false where a is undefined."""
    out = np.empty(len(a), np.bool_)
    for i in range(len(a)):
        out[i] = level - a[i] > TIE * max(abs(a[i]), abs(level))
    return out


@kernel
def crosses(a: FloatArray, b: FloatArray) -> tuple[BoolArray, BoolArray]:
    """Two bool[n]: where a crosses above b, and where it crosses below.

    a crosses above at i when it is above (untied) at i and was below at the latest earlier bar at which both
    were defined and not tied.
    """
    n = len(a)
    up, down = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    side = 0
    for i in range(n):
        difference, tie = a[i] - b[i], TIE * max(abs(a[i]), abs(b[i]))
        if difference > tie:
            up[i] = side == -1
            side = 1
        elif difference < -tie:
            down[i] = side == 1
            side = -1
    return up, down
