"""The functions of the rules language: one registry, from which they are parsed, computed and documented."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np
import talib
from talib import abstract

from cift_core.engine import indicators
from cift_core.engine.bars import FloatArray
from cift_core.errors import InvalidInput

MAX_WINDOW: Final = 100_000
MAX_NUMBER: Final = 1e15
_SKIPPED_GROUPS: Final = {"Math Operators", "Math Transform"}
# Marks a bar as a swing only when later bars have confirmed it.
_LOOKS_AHEAD: Final = {"FRACTAL"}
_OUTPUT_NAMES: Final = {"upperband": "upper", "middleband": "middle", "lowerband": "lower"}


@dataclass(frozen=True)
class Argument:
    """One argument: a series, or a constant (whole or any number) from `min` to `max`, both included."""

    name: str
    kind: Literal["series", "whole", "number"]
    min: float = -MAX_NUMBER
    max: float = MAX_NUMBER
    default: float | None = None


@dataclass(frozen=True)
class Function:
    """`compute(*series, *constants)` gives float64[n]; the series (float64[n]) are without NaN: the written
    ones, then the `columns` of the bars that it reads besides. A `recursive` function carries everything from
    the first bar on, the others see the window that is their first constant.
    """

    name: str
    columns: tuple[str, ...]
    arguments: tuple[Argument, ...]
    doc: str
    source: str
    compute: Callable[..., FloatArray]
    recursive: bool = True

    @property
    def signature(self) -> str:
        """As it is written, such as `sma(series, window)`; optional arguments with their default."""
        written = (
            argument.name if argument.default is None else f"{argument.name}={argument.default:g}"
            for argument in self.arguments
        )
        return f"{self.name}({', '.join(written)})"


def apply(function: Function, series: list[FloatArray], constants: list[float]) -> FloatArray:
    """`function` where all `series` are defined: from their first defined bar on, and up to the next gap.

    A gap (NaN) makes undefined what it touches: the windows that hold it, or all that follows where the
    function is recursive.
    """
    n = len(series[0])
    gaps = np.isnan(series[0])
    for other in series[1:]:
        gaps |= np.isnan(other)
    out = np.full(n, np.nan)
    defined = np.flatnonzero(~gaps)
    if not len(defined):
        return out
    first = int(defined[0])
    holes = np.flatnonzero(gaps[first:])
    stop = first + int(holes[0]) if len(holes) and function.recursive else n
    out[first:stop] = function.compute(*(np.ascontiguousarray(s[first:stop]) for s in series), *constants)
    if len(holes) and not function.recursive:
        window = int(constants[0])
        hit = np.convolve(gaps[first:], np.ones(window))[: n - first] > 0.5
        out[first:][hit] = np.nan
    return out


def _sum(x: FloatArray, window: int) -> FloatArray:
    return indicators.sma(x, window) * window


def _windowed(name: str, compute: Callable[..., FloatArray], doc: str, source: str) -> Function:
    arguments = Argument("series", "series"), Argument("window", "whole", 1, MAX_WINDOW)
    return Function(name, (), arguments, doc, source, compute, recursive=False)


def _recursive(name: str, compute: Callable[..., FloatArray], doc: str, source: str) -> Function:
    arguments = Argument("series", "series"), Argument("window", "whole", 2, MAX_WINDOW)
    return Function(name, (), arguments, doc, source, compute)


_OWN: Final = (
    _windowed("sma", indicators.sma, "Mean of the last `window` values.", "cift_core/engine/indicators.py"),
    _windowed("mean", indicators.sma, "The same as `sma`.", "cift_core/engine/indicators.py"),
    _windowed("sum", _sum, "Sum of the last `window` values.", "the mean times `window`"),
    _windowed("highest", indicators.highest, "Largest of the last `window` values.", "TA-Lib's MAX"),
    _windowed("lowest", indicators.lowest, "Smallest of the last `window` values.", "TA-Lib's MIN"),
    _windowed(
        "stdev",
        indicators.stdev,
        "Population standard deviation of the last `window` values.",
        "Chan, Golub, LeVeque (1983)",
    ),
    _recursive(
        "ema", indicators.ema, "Exponential mean, seeded with the mean of the first values.", "TA-Lib"
    ),
    _recursive("rsi", indicators.rsi, "Wilder's relative strength index, 0 to 100.", "Wilder (1978)"),
)


def _talib() -> Iterator[Function]:
    for group, names in talib.get_function_groups().items():  # type: ignore[no-untyped-call]
        if group in _SKIPPED_GROUPS:
            continue
        for name in names:
            if name not in _LOOKS_AHEAD:
                yield from _outputs(abstract.Function(name).info)  # type: ignore[attr-defined]


def _outputs(info: Mapping[str, Any]) -> Iterator[Function]:
    name, outputs = info["name"], list(info["output_names"])
    columns: list[str] = []
    arguments: list[Argument] = []
    for key, value in info["input_names"].items():
        if key == "prices":
            columns += value
        else:
            arguments.append(Argument("series" if key == "price" else key, "series"))
    arguments += [_constant(key, value) for key, value in info["parameters"].items()]
    for place, output in enumerate(outputs):
        yield Function(
            name=_output_name(name.lower(), output, len(outputs)),
            columns=tuple(columns),
            arguments=tuple(arguments),
            doc=f"{info['display_name']}{'' if len(outputs) == 1 else f': {output}'}.",
            source=f"TA-Lib's {name}",
            compute=_talib_call(name, place),
        )


def _output_name(name: str, output: str, outputs: int) -> str:
    """`macd`, `macd_signal`, `macd_hist`, `bbands_upper`, ...: the function's name and what is left of the
    output's."""
    rest = _OUTPUT_NAMES.get(output, output.removeprefix(name))
    return name if outputs == 1 or not rest else f"{name}_{rest}"


def _constant(name: str, default: float) -> Argument:
    if name.endswith("matype"):
        return Argument(name, "whole", 0, 20, default)
    if isinstance(default, int):
        return Argument(name, "whole", 1, MAX_WINDOW, default)
    return Argument(name, "number", default=default)


def _talib_call(name: str, output: int) -> Callable[..., FloatArray]:
    function = getattr(talib, name)

    def call(*values: Any) -> FloatArray:
        try:
            found = function(*values)
        except Exception as error:
            given = ", ".join(f"{value:g}" for value in values if not isinstance(value, np.ndarray))
            raise InvalidInput("bad_rule", f"TA-Lib's {name} can't be computed with {given}.") from error
        out = np.asarray(found[output] if isinstance(found, tuple) else found, np.float64)
        out[np.isinf(out)] = np.nan
        return out

    return call


FUNCTIONS: Final[Mapping[str, Function]] = MappingProxyType(
    {function.name: function for function in (*_talib(), *_OWN)}
)
