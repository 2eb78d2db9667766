"""What a strategy is: named parameters with bounds, and a function from bars to signals."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from numbers import Real
from typing import Any, Final, Literal

import numpy as np

from cift_core.engine.bars import Bars, BoolArray, FloatArray
from cift_core.engine.execution import Execution
from cift_core.engine.kernel import kernel
from cift_core.engine.panel import Panel
from cift_core.engine.signals import EntryOrder, Signals
from cift_core.errors import FieldError, InvalidInput, did_you_mean, pointer_to

Params = Mapping[str, Any]

REMEMBERED_BYTES: Final = 256 * 1024 * 1024
# Fields of Execution that one kind of strategy knows, with the value that asks for nothing.
_FOR_SIGNALS: Final = {"size": None, "stop_loss": None, "take_profit": None, "trailing_stop": None}
_FOR_WEIGHTS: Final = {"min_trade_value": 0.0}


@dataclass(frozen=True)
class Param:
    """One parameter: a whole number ("int") or any number ("float") from `min` to `max`, both included.

    Without a default it must be given.
    """

    name: str
    kind: Literal["int", "float"]
    default: float | None
    min: float
    max: float
    doc: str

    def problem(self, value: Any) -> str | None:
        """What is wrong with `value`, in a sentence; None where nothing is."""
        if value is None and self.default is None:
            return f"{self.name} is missing: {self.doc}, from {self.min:g} to {self.max:g}"
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
        self._remembered: dict[Hashable, tuple[FloatArray, int]] = {}
        self._free_bytes = REMEMBERED_BYTES
        self._used: list[tuple[FloatArray, int]] = []

    def __getitem__(self, column: str) -> FloatArray:
        """float64[n]: "open", "high", "low" or "close"."""
        values: FloatArray = getattr(self.bars, column)
        return values

    def indicator(self, function: Callable[..., FloatArray], column: str, *params: float) -> FloatArray:
        """float64[n], read-only: `function(column, *params)`. Its undefined start delays the first signal."""
        return self.derived((function, column, *params), lambda: function(self[column], *params))

    def derived(self, key: Hashable, compute: Callable[[], FloatArray]) -> FloatArray:
        """float64[n], read-only: what `compute` gives, as an indicator; `key` names it."""
        entry = self._remembered.get(key)
        if entry is None:
            values = compute()
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
        while w < n and not all(isfinite(values[w]) for values, _ in used):
            w += 1
        return w + 1


@dataclass(frozen=True)
class Strategy:
    """A rule that turns bars and parameters into signals, or the bars of several symbols into target weights.

    `compute(series, params)` gets validated parameters and returns `Signals` in fresh (writeable) arrays;
    what it says at i must depend on bars 0..i only. `weigh(panel, params)`, in its place, returns
    float64[n, k]: the share of the equity that each of k symbols is to have from the next open on, below 0
    for short, NaN to leave it as it is; what it says at i must depend on rows 0..i of the panel only.
    `stops(params)` gives those of `stop_loss`, `take_profit` and `trailing_stop` that the strategy brings
    along: they win over those of `Execution`; None is none of its own.
    """

    name: str
    title: str
    rule: str
    source: str
    params: tuple[Param, ...]
    compute: Callable[[Series, Params], Signals] | None = field(default=None, repr=False)
    weigh: Callable[[Panel, Params], FloatArray] | None = field(default=None, repr=False)
    stops: Callable[[Params], Mapping[str, Any]] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if (self.compute is None) == (self.weigh is None):
            raise TypeError(f"{self.name} must have one of compute and weigh")

    def validate(self, params: Params) -> dict[str, Any]:
        """`params` with defaults filled in, whole numbers as int and others as float.

        Raises InvalidInput with every wrong or unknown parameter, each with its pointer below `/params`.
        """
        _require_object(params)
        names = [p.name for p in self.params]
        errors = [
            FieldError(
                pointer_to("/params", name),
                f'{self.name} has no parameter "{name}"{did_you_mean(str(name), names)}',
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
        """The signals for validated `params`, false throughout the warm-up.

        Raises InvalidInput when the strategy gives target weights instead.
        """
        if self.compute is None:
            detail = f"{self.name} gives target weights: it needs run_portfolio, not signals"
            raise InvalidInput("invalid_strategy", detail, [FieldError("/strategy", detail)])
        signals = self.compute(series, params)
        warm_up = series.take_warm_up()
        for values in {id(values): values for values in signals.flags}.values():
            _check_signal(values, len(series.bars))
            values[:warm_up] = False
        for order in (signals.long_order, signals.short_order):
            if order is not None:
                _check_order(order, len(series.bars))
        return signals

    def weights(self, panel: Panel, params: Params) -> FloatArray:
        """float64[n, k]: the target weights for validated `params`; NaN leaves a symbol as it is."""
        if self.weigh is None:
            raise TypeError(f"{self.name} gives signals, not weights")
        weights = np.ascontiguousarray(self.weigh(panel, params))
        if weights.dtype != np.float64 or weights.shape != panel.at.shape or np.isinf(weights).any():
            raise TypeError(
                f"weights must be finite or NaN float64{panel.at.shape}, got {weights.dtype}{weights.shape}"
            )
        return weights

    def execution(self, execution: Execution, params: Params) -> Execution:
        """`execution` with the stops of the strategy, where it has some for validated `params`.

        Raises InvalidInput for a stop out of bounds, and for what only strategies of the other kind know.
        """
        foreign: Mapping[str, float | None]
        if self.weigh is None:
            kind, foreign = "signals", _FOR_WEIGHTS
        else:
            kind, foreign = "target weights", _FOR_SIGNALS
        errors = [
            FieldError(f"/execution/{name}", f"{name} must be left out: {self.name} gives {kind}")
            for name, default in foreign.items()
            if getattr(execution, name) != default
        ]
        if errors:
            raise InvalidInput("invalid_execution", "; ".join(e.detail for e in errors), errors)
        if self.stops is None:
            return execution
        own = {name: stop for name, stop in self.stops(params).items() if stop is not None}
        return replace(execution, **own)


def _require_object(params: object) -> None:
    if not isinstance(params, Mapping):
        detail = f"params must be an object, got {params!r}"
        raise InvalidInput("invalid_params", detail, [FieldError("/params", detail)])


def _check_signal(values: BoolArray, n: int) -> None:
    if values.dtype != np.bool_ or values.shape != (n,) or not values.flags.c_contiguous:
        raise TypeError(f"a signal must be a contiguous bool[{n}], got {values.dtype}{values.shape}")


def _check_order(order: EntryOrder, n: int) -> None:
    if order.type not in ("limit", "stop"):
        raise TypeError(f"an entry order must be limit or stop, got {order.type!r}")
    if order.price.dtype != np.float64 or order.price.shape != (n,):
        raise TypeError(
            f"the price of an order must be float64[{n}], got {order.price.dtype}{order.price.shape}"
        )
    if order.good_for is not None and order.good_for < 1:
        raise ValueError(f"an order must live for at least 1 bar, got {order.good_for}")


@kernel
def _first_finite(values: FloatArray) -> int:
    for i in range(len(values)):
        if np.isfinite(values[i]):
            return i
    return len(values)
