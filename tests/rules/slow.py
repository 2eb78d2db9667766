"""The rules language once more, slowly: one bar after the other, None where undefined."""

import math
from collections.abc import Callable, Sequence
from typing import Any

Series = list[Any]  # numbers or booleans, None where undefined
TIE = 1e-11


def tied(a: float, b: float) -> bool:
    return abs(a - b) <= TIE * max(abs(a), abs(b))


COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">": lambda a, b: a > b and not tied(a, b),
    "<": lambda a, b: a < b and not tied(a, b),
    ">=": lambda a, b: a > b or tied(a, b),
    "<=": lambda a, b: a < b or tied(a, b),
    "==": tied,
    "!=": lambda a, b: not tied(a, b),
}


def finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def pointwise(function: Callable[..., Any], *series: Series) -> Series:
    return [
        None if any(value is None for value in values) else function(*values)
        for values in zip(*series, strict=True)
    ]


def divide(a: float, b: float) -> float | None:
    return None if b == 0 else finite(a / b)


def back(x: Series, bars: int) -> Series:
    return [x[i - bars] if i >= bars else None for i in range(len(x))]


def window(x: Series, size: int, function: Callable[[Sequence[float]], float]) -> Series:
    out: Series = []
    for i in range(len(x)):
        seen = x[i - size + 1 : i + 1] if i >= size - 1 else [None]
        out.append(None if any(value is None for value in seen) else function(seen))
    return out


def crosses(a: Series, b: Series, direction: int) -> Series:
    out: Series = []
    side = 0
    for x, y in zip(a, b, strict=True):
        if x is None or y is None:
            out.append(None)
            continue
        now = 0 if tied(x, y) else (1 if x > y else -1)
        out.append(now == direction and side == -direction)
        side = now or side
    return out
