"""What a strategy is: named parameters with bounds, and a function from bars to signals."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Final, Literal

import numpy as np

from cift_core.engine.bars import Bars, BoolArray, FloatArray
from cift_core.engine.kernel import kernel
from cift_core.engine.signals import Signals
from cift_core.errors import FieldError, InvalidInput, did_you_mean

Params = Mapping[str, Any]

REMEMBERED_BYTES: Final = 256 * 1024 * 1024


@dataclass(frozen=True)
class Param:
    """One parameter: a whole number ("int") or any number ("float") from `min` to `max`, both included."""

    name: str
    kind: Literal["int", "float"]
    default: float
    min: float
    max: float
    doc: str

    def problem(self, value: Any) -> str | None:
        """What is wrong with `value`, in a sentence; None where nothing is."""
        number = isinstance(value, Real) and not isinstance(value, bool)
        if not number or (self.kind == "int" and value % 1 != 0):
            noun = "a whole number" if self.kind == "int" else "a number"
            return f"{self.name} must be {noun} between {self.min} and {self.max}, got {value!r}"
        if not self.min <= value <= self.max:
            return f"{self.name} must be between {self.min} and {self.max}, got {value}"
        return None


class Series:
    """The columns of some bars, and the indicators computed on them: each distinct one once.

    Shared by the runs of a sweep. Beyond `REMEMBERED_BYTES` further indicators are computed anew each time.
    """

    def __init__(self, bars: Bars) -> None:
        self.bars = bars
        self._remembered: dict[tuple[Any, ...], tuple[FloatArray, int]] = {}
        self._free_bytes = REMEMBERED_BYTES
        self._used: list[tuple[FloatArray, int]] = []

    def __getitem__(self, column: str) -> FloatArray:
        """float64[n]: "open", "high", "low" or "close"."""
        values: FloatArray = getattr(self.bars, column)
        return values

    def indicator(self, function: Callable[..., FloatArray], column: str, *params: float) -> FloatArray:
        """float64[n], read-only: `function(column, *params)`. Its undefined start delays the first signal."""
        key = (function, column, *params)
        entry = self._remembered.get(key)
        if entry is None:
            values = function(self[column], *params)
            values.flags.writeable = False
            entry = values, _first_finite(values)
            if values.nbytes <= self._free_bytes:
                self._free_bytes -= values.nbytes
                self._remembered[key] = entry
        self._used.append(entry)
        return entry[0]

    def take_warm_up(self) -> int:
        """How many bars come before the first possible signal, given the indicators asked for since
        last time.

        With W the first bar at which all of them are finite, W + 1 bars; 0 without indicators.
        """
        used, self._used = self._used, []
        if not used:
            return 0
        n = len(self.bars)
        w = max(first for _, first in used)
        while w < n and not all(np.isfinite(values[w]) for values, _ in used):
            w += 1
        return w + 1


@dataclass(frozen=True)
class Strategy:
    """A rule that turns bars and parameters into signals.

    `compute(series, params)` gets validated parameters and returns `Signals` in fresh (writeable) arrays;
    what it says at i must depend on bars 0..i only.
    """

    name: str
    title: str
    rule: str
    source: str
    params: tuple[Param, ...]
    compute: Callable[[Series, Params], Signals] = field(repr=False)

    def validate(self, params: Params) -> dict[str, Any]:
        """`params` with defaults filled in, whole numbers as int and others as float.

        Raises InvalidInput with every wrong or unknown parameter, each with its pointer below `/params`.
        """
        _require_object(params)
        names = [p.name for p in self.params]
        errors = [
            FieldError(
                f"/params/{name}", f'{self.name} has no parameter "{name}"{did_you_mean(str(name), names)}'
            )
            for name in params
            if name not in names
        ]
        full = {p.name: params.get(p.name, p.default) for p in self.params}
        for p in self.params:
            problem = p.problem(full[p.name])
            if problem:
                errors.append(FieldError(f"/params/{p.name}", problem))
        if errors:
            raise InvalidInput("invalid_params", "; ".join(e.detail for e in errors), errors)
        return {p.name: int(full[p.name]) if p.kind == "int" else float(full[p.name]) for p in self.params}

    def signals(self, series: Series, params: Params) -> Signals:
        """The signals for validated `params`, false throughout the warm-up."""
        signals = self.compute(series, params)
        warm_up = series.take_warm_up()
        for values in {id(values): values for values in signals}.values():
            _check_signal(values, len(series.bars))
            values[:warm_up] = False
        return signals


def _require_object(params: object) -> None:
    if not isinstance(params, Mapping):
        detail = f"params must be an object, got {params!r}"
        raise InvalidInput("invalid_params", detail, [FieldError("/params", detail)])


def _check_signal(values: BoolArray, n: int) -> None:
    if values.dtype != np.bool_ or values.shape != (n,) or not values.flags.c_contiguous:
        raise TypeError(f"a signal must be a contiguous bool[{n}], got {values.dtype}{values.shape}")


@kernel
def _first_finite(values: FloatArray) -> int:
    for i in range(len(values)):
        if np.isfinite(values[i]):
            return i
    return len(values)
