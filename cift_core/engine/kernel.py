"""How the engine's inner loops are compiled."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """`function` compiled by Numba at its first call, cached on disk, running without the GIL.

    No fast-math: sums keep their order and nothing is contracted, so a result repeats bit for bit.
    Division by zero gives inf or NaN as in NumPy, and callers rule it out or map it to "does not exist".
    """
    return cast("Callable[P, R]", numba.njit(nogil=True, cache=True, error_model="numpy")(function))
