"""Runs a program of rules over bars: NumPy and the engine's kernels, each step once."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from cift_core.engine.bars import BoolArray, FloatArray
from cift_core.engine.signals import above, above_level, below_level, crosses
from cift_core.engine.strategy import Params, Series
from cift_core.errors import InvalidInput
from cift_core.rules.functions import FUNCTIONS, Function, apply
from cift_core.rules.program import Program, Step

Value = FloatArray | float
_ELEMENTWISE: Final[Mapping[str, Callable[..., Any]]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "**": np.power,
    "-x": np.negative,
    "abs": np.abs,
    "min": np.minimum,
    "max": np.maximum,
}
_SHARED_KEY_SIZE: Final = 64


class Evaluation:
    """The values of a program's steps for some bars and parameters.

    Numbers: float64[n] with NaN where undefined, or a constant. Conditions: bool[n], false where undefined;
    what is undefined is asked for only under `not` and `or`, where it decides.
    """

    def __init__(self, program: Program, series: Series, params: Params) -> None:
        self._program = program
        self._series = series
        self._params = params
        self._n = len(series.bars)
        self._values: list[Any] = []
        self._keys: list[tuple[int, Any]] = []
        self._undefined: dict[int, BoolArray] = {}
        self._crosses: dict[tuple[int, ...], tuple[BoolArray, BoolArray]] = {}
        with np.errstate(all="ignore"):
            for place, step in enumerate(program.steps):
                self._keys.append(self._key(step))
                self._values.append(self._value(place, step))
                if place in program.named:
                    self._note(place)

    def condition(self, place: int) -> BoolArray:
        """bool[n]: a condition's value."""
        values: BoolArray = self._values[place]
        return values

    def series(self, place: int) -> FloatArray:
        """float64[n]: a number's value at each bar."""
        return self._array(place)

    def _value(self, place: int, step: Step) -> Any:
        if step.op in _ELEMENTWISE:
            return self._elementwise(step)
        if step.op == "number":
            return step.value
        if step.op == "parameter":
            return float(self._params[step.value])
        if step.op == "column":
            return self._column(step.value)
        if step.op in ("call", "back"):
            return self._indicator(step, self._keys[place][1])
        return self._condition(step)

    def _note(self, place: int) -> None:
        """Let the first signal wait for a named series that is no call or look-back too."""
        self._series.derived(self._keys[place][1], lambda: self._array(place))

    def _column(self, name: str) -> FloatArray:
        if name != "volume":
            return self._series[name]
        volume = self._series.bars.volume
        if volume is None:
            raise InvalidInput("no_volume", "The rules use volume, and these bars have none.")
        return volume

    def _elementwise(self, step: Step) -> Value:
        out = _ELEMENTWISE[step.op](*(self._values[place] for place in step.args))
        if step.kind == "constant":
            return float(out) if np.isfinite(out) else float("nan")
        out[np.isinf(out)] = np.nan
        return _read_only(out)

    def _indicator(self, step: Step, key: Any) -> FloatArray:
        if step.op == "back":
            series, bars = self._array(step.args[0]), int(self._values[step.args[1]])
            return self._series.derived(key, lambda: _back(series, bars))
        return self._series.derived(key, lambda: self._call(FUNCTIONS[step.value], step))

    def _call(self, function: Function, step: Step) -> FloatArray:
        series, constants, steps = [], list[float](), self._program.steps
        has_gaps = "volume" in function.columns
        for argument, place in zip(function.arguments, step.args, strict=True):
            if argument.kind == "series":
                series.append(self._array(place))
                has_gaps |= steps[place].op != "column" or steps[place].value == "volume"
            else:
                value = self._values[place]
                constants.append(int(value) if argument.kind == "whole" else value)
        series += map(self._column, function.columns)
        return apply(function, series, constants) if has_gaps else function.compute(*series, *constants)

    def _condition(self, step: Step) -> BoolArray:
        if step.op in ("crosses_above", "crosses_below"):
            if step.args not in self._crosses:
                self._crosses[step.args] = crosses(*map(self._array, step.args))
            return self._crosses[step.args][step.op == "crosses_below"]
        if step.op in ("and", "or", "not"):
            return self._logic(step)
        return self._compare(step.op, *step.args)

    def _compare(self, op: str, left: int, right: int) -> BoolArray:
        if op == "<":
            return self._above(right, left)
        if op in (">", "<="):
            greater = self._above(left, right)
            return greater if op == ">" else ~(greater | self._not_defined(left, right))
        less = self._above(right, left)
        if op == ">=":
            return ~(less | self._not_defined(left, right))
        differs = less | self._above(left, right)
        return differs if op == "!=" else ~(differs | self._not_defined(left, right))

    def _logic(self, step: Step) -> BoolArray:
        values = [self.condition(place) for place in step.args]
        if step.op == "and":
            return values[0] & values[1]
        unclear = self._not_defined(*step.args)
        return ~(values[0] | unclear) if step.op == "not" else (values[0] | values[1]) & ~unclear

    def _above(self, a: int, b: int) -> BoolArray:
        left, right = self._values[a], self._values[b]
        if isinstance(right, float):
            return above_level(self._array(a), right)
        if isinstance(left, float):
            return below_level(right, left)
        return above(left, right)

    def _not_defined(self, *places: int) -> BoolArray:
        """bool[n]: where one of these steps is undefined."""
        result = self._undefined_at(places[0])
        for place in places[1:]:
            result = result | self._undefined_at(place)
        return result

    def _undefined_at(self, place: int) -> BoolArray:
        if place not in self._undefined:
            step = self._program.steps[place]
            if step.kind == "condition":
                self._undefined[place] = self._not_defined(*step.args)
            else:
                self._undefined[place] = np.isnan(self._array(place))
        return self._undefined[place]

    def _array(self, place: int) -> FloatArray:
        value = self._values[place]
        return _read_only(np.full(self._n, value)) if isinstance(value, float) else value

    def _key(self, step: Step) -> tuple[int, Any]:
        """How many names a value's own name is made of, and that name: equal in every run of a sweep that has
        the same. Very long ones are not shared."""
        if step.op == "parameter":
            return 1, float(self._params[step.value])
        if not step.args:
            return 1, step.value
        arguments = [self._keys[place] for place in step.args]
        size = 1 + sum(count for count, _ in arguments)
        if size > _SHARED_KEY_SIZE:
            return size, object()
        return size, (step.op, step.value, *(key for _, key in arguments))


def _back(series: FloatArray, bars: int) -> FloatArray:
    out = np.full(len(series), np.nan)
    if bars < len(series):
        out[bars:] = series[: len(series) - bars]
    return out


def _read_only(values: FloatArray) -> FloatArray:
    # one array type, or each kernel would be compiled once more
    values.flags.writeable = False
    return values
