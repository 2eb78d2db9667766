"""How orders are filled, sized and charged."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from math import nan
from numbers import Real
from sys import float_info
from typing import Any, Final, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from cift_core.errors import FieldError, InvalidInput, did_you_mean, pointer_to


class Size(TypedDict):
    """How large an entry is: a share of the equity in (0, 1], a number of units, or an amount of money."""

    type: Literal["equity_fraction", "units", "notional"]
    value: float


@dataclass(frozen=True, kw_only=True)
class Execution:
    """The execution model of a run; `docs/conventions.md` says what each field does.

    Rates are fractions of the traded notional, `commission_fixed` is account currency per fill; `stop_loss`,
    `take_profit` and `trailing_stop` are fractions of the stop base; `good_for` is in bars. `size` None is an
    equal share of the equity for each symbol; `min_trade_value` (account currency) is for target weights.

    Raises InvalidInput with every wrong field.
    """

    fill: Literal["next_open", "same_close"] = "next_open"
    commission_rate: float = 0.0
    commission_fixed: float = 0.0
    slippage_rate: float = 0.0
    allow_short: bool = False
    size: Size | None = field(default=None, hash=False)
    fractional: bool = True
    stop_loss: float | None = None
    take_profit: float | None = None
    trailing_stop: float | None = None
    stop_base: Literal["signal_close", "fill"] = "signal_close"
    close_at_end: bool = True
    good_for: int = 1
    min_trade_value: float = 0.0
    risk_free_rate: float = 0.0
    periods_per_year: float | None = None

    def __post_init__(self) -> None:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        errors = list(_field_errors(values))
        if errors:
            raise _invalid(errors)
        for name in (*_NUMBERS, *_OPTIONAL_NUMBERS):
            if values[name] is not None:
                object.__setattr__(self, name, float(values[name]))
        object.__setattr__(self, "good_for", int(self.good_for))
        if self.size is not None:
            object.__setattr__(self, "size", Size(type=self.size["type"], value=float(self.size["value"])))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "Execution":
        """An Execution from decoded JSON; what is left out has its default.

        Raises InvalidInput with every wrong or unknown field, each with its pointer below `/execution`.
        """
        _require_object(values)
        names = [f.name for f in fields(cls)]
        errors = [
            FieldError(
                pointer_to("/execution", name), f'unknown field "{name}"{did_you_mean(str(name), names)}'
            )
            for name in values
            if name not in names
        ]
        known = {name: value for name, value in values.items() if name in names}
        if errors:
            raise _invalid([*errors, *_field_errors(known)])
        return cls(**known)

    def sized(self, symbols: int) -> Size:
        """The size of an entry in a run over so many symbols."""
        return Size(type="equity_fraction", value=1.0 / symbols) if self.size is None else self.size

    def terms(self, cash: float, periods_per_year: float | None, symbols: int = 1) -> NDArray[np.void]:
        """TERMS[1]: this, the starting cash and the bars in a year, as the simulation reads them."""
        size = self.sized(symbols)
        terms = np.zeros(1, TERMS)
        terms[0] = (
            cash,
            self.fill == "same_close",
            self.commission_rate,
            self.commission_fixed,
            self.slippage_rate,
            self.allow_short,
            SIZE_TYPES.index(size["type"]),
            size["value"],
            self.fractional,
            nan if self.stop_loss is None else self.stop_loss,
            nan if self.take_profit is None else self.take_profit,
            nan if self.trailing_stop is None else self.trailing_stop,
            self.stop_base == "fill",
            self.close_at_end,
            self.min_trade_value,
            self.risk_free_rate,
            nan if periods_per_year is None else periods_per_year,
        )
        return terms


# A stop that is not set and a figure that does not exist are NaN.
TERMS: Final = np.dtype(
    [
        ("cash", np.float64),
        ("same_close", np.bool_),
        ("commission_rate", np.float64),
        ("commission_fixed", np.float64),
        ("slippage_rate", np.float64),
        ("allow_short", np.bool_),
        ("size_type", np.int64),
        ("size_value", np.float64),
        ("fractional", np.bool_),
        ("stop_loss", np.float64),
        ("take_profit", np.float64),
        ("trailing_stop", np.float64),
        ("base_is_fill", np.bool_),
        ("close_at_end", np.bool_),
        ("min_trade_value", np.float64),
        ("risk_free_rate", np.float64),
        ("ppy", np.float64),
    ],
    align=True,
)

MAX_GOOD_FOR: Final = 1_000_000
SIZE_TYPES: Final = ("equity_fraction", "units", "notional")

_CHOICES = {"fill": ("next_open", "same_close"), "stop_base": ("signal_close", "fill")}
_FLAGS = ("allow_short", "fractional", "close_at_end")
# name: (says what is right, is it right?)
_Rule = tuple[str, Callable[[float], bool]]
_NUMBERS: dict[str, _Rule] = {
    "commission_rate": ("at least 0 and below 1", lambda x: 0 <= x < 1),
    "commission_fixed": ("at least 0", lambda x: x >= 0),
    "slippage_rate": ("at least 0 and below 1", lambda x: 0 <= x < 1),
    "min_trade_value": ("at least 0", lambda x: x >= 0),
    "risk_free_rate": ("above -1", lambda x: x > -1),
    "good_for": (f"that is whole, 1 to {MAX_GOOD_FOR}", lambda x: x % 1 == 0 and 1 <= x <= MAX_GOOD_FOR),
}
_OPTIONAL_NUMBERS: dict[str, _Rule] = {
    "stop_loss": ("above 0 and below 1", lambda x: 0 < x < 1),
    "take_profit": ("above 0", lambda x: x > 0),
    "trailing_stop": ("above 0 and below 1", lambda x: 0 < x < 1),
    "periods_per_year": ("above 0", lambda x: x > 0),
}


def _field_errors(values: Mapping[str, Any]) -> Iterable[FieldError]:
    for name, value in values.items():
        pointer = f"/execution/{name}"
        if name in _CHOICES:
            if value not in _CHOICES[name]:
                near = did_you_mean(str(value), _CHOICES[name])
                yield FieldError(
                    pointer, f"{name} must be {' or '.join(_CHOICES[name])}, got {_shown(value)}{near}"
                )
        elif name in _FLAGS:
            if not isinstance(value, bool):
                yield FieldError(pointer, f"{name} must be true or false, got {_shown(value)}")
        elif name == "size":
            if value is not None:
                yield from _size_errors(value)
        elif not (name in _OPTIONAL_NUMBERS and value is None):
            bounds, holds = _NUMBERS.get(name) or _OPTIONAL_NUMBERS[name]
            if not (is_number(value) and holds(value)):
                null = ", or null" if name in _OPTIONAL_NUMBERS else ""
                yield FieldError(pointer, f"{name} must be a number {bounds}{null}, got {_shown(value)}")


def _require_object(values: object) -> None:
    if not isinstance(values, Mapping):
        raise _invalid([FieldError("/execution", f"execution must be an object, got {_shown(values)}")])


def _size_errors(size: Any) -> Iterable[FieldError]:
    if not isinstance(size, Mapping):
        yield FieldError(
            "/execution/size", f'size must be an object {{"type", "value"}}, or null, got {_shown(size)}'
        )
        return
    for name in size:
        if name not in ("type", "value"):
            near = did_you_mean(str(name), ("type", "value"))
            yield FieldError(pointer_to("/execution/size", name), f'unknown field "{name}"{near}')
    kind: Any = size.get("type")
    value: Any = size.get("value")
    if kind not in SIZE_TYPES:
        near = did_you_mean(str(kind), SIZE_TYPES)
        yield FieldError(
            "/execution/size/type", f"type must be one of {', '.join(SIZE_TYPES)}, got {_shown(kind)}{near}"
        )
    fraction = kind == "equity_fraction"
    if not (is_number(value) and value > 0 and not (fraction and value > 1)):
        bounds = "above 0 and at most 1" if fraction else "above 0"
        yield FieldError("/execution/size/value", f"value must be a number {bounds}, got {_shown(value)}")


def is_number(value: Any) -> bool:
    """Whether `value` is a finite real number (no bool)."""
    number = type(value) in (float, int) or (isinstance(value, Real) and not isinstance(value, bool))
    return number and bool(-float_info.max <= value <= float_info.max)


def _shown(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)


def _invalid(errors: list[FieldError]) -> InvalidInput:
    return InvalidInput("invalid_execution", "; ".join(e.detail for e in errors), errors)
