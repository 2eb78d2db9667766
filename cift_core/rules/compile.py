"""Rules, as they come in JSON, into a strategy like any other."""

import re
from collections.abc import Callable, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final, Literal, TypeVar

import numpy as np

from cift_core.engine.execution import MAX_GOOD_FOR, Execution
from cift_core.engine.signals import EntryOrder, Signals
from cift_core.engine.strategy import Param, Params, Series, Strategy
from cift_core.errors import FieldError, InvalidInput, did_you_mean, pointer_to
from cift_core.rules.evaluate import Evaluation
from cift_core.rules.functions import FUNCTIONS, MAX_NUMBER, Argument
from cift_core.rules.parser import COLUMNS, CROSSES, ELEMENTWISE, Expression, Parser, RuleError, read
from cift_core.rules.program import Kind, Program

MAX_INDICATORS: Final = 100
STOPS: Final = ("stop_loss", "take_profit", "trailing_stop")
_SIDES: Final = ("long", "short")
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}")
_PARAMETER: Final = re.compile(r"\$([A-Za-z][A-Za-z0-9_]{0,31})")
_RESERVED: Final = {
    *COLUMNS,
    *CROSSES,
    *ELEMENTWISE,
    *FUNCTIONS,
    "and",
    "or",
    "not",
    "if",
    "else",
    "in",
    "is",
}
T = TypeVar("T")


def compile_rules(rules: Any) -> Strategy:
    """The strategy of `{"indicators", "long", "short", "stops"}`: see docs/strategies.md.

    Its parameters are those that the rules use as `$name`; each must be given.

    Raises:
        InvalidInput: with every wrong expression or field, pointers below `/rules`.
    """
    return _Compiler(rules).strategy()


class _Order:
    """How a side enters: the type, the place of its price, and how many bars it lives (a number, `$name`)."""

    def __init__(self, kind: Literal["limit", "stop"], price: int, good_for: Any) -> None:
        self.kind = kind
        self.price = price
        self.good_for = good_for


class _Compiler:
    def __init__(self, rules: Any) -> None:
        self._errors: list[FieldError] = []
        self._program = Program()
        self._parser = Parser(self._program)
        self._conditions: dict[tuple[str, str], int] = {}
        self._orders: dict[str, _Order] = {}
        self._stops: dict[str, Any] = {}
        if self._object(rules, "/rules", ("indicators", *_SIDES, "stops")):
            self._indicators(rules.get("indicators") or {})
            for side in _SIDES:
                if rules.get(side) is not None:
                    self._side(side, rules[side])
            self._read_stops(rules.get("stops") or {})
            if not self._errors and not self._conditions:
                self._error("/rules", 'has no entry: give "long" or "short" an "entry"')
        self._params = self._parameters()
        if self._errors:
            raise InvalidInput(
                "invalid_rules", "; ".join(error.detail for error in self._errors[:10]), self._errors
            )

    def strategy(self) -> Strategy:
        program, conditions, orders, stops = self._program, self._conditions, self._orders, self._stops

        def compute(series: Series, params: Params) -> Signals:
            evaluation = Evaluation(program, series, params)
            never = np.zeros(len(series.bars), np.bool_)

            def flag(side: str, part: str) -> Any:
                place = conditions.get((side, part))
                return never if place is None else evaluation.condition(place)

            def order(side: str) -> EntryOrder | None:
                placed = orders.get(side)
                if placed is None:
                    return None
                good_for = None if placed.good_for is None else int(_given(placed.good_for, params))
                return EntryOrder(placed.kind, evaluation.series(placed.price), good_for)

            return Signals(
                flag("long", "entry"),
                flag("long", "exit"),
                flag("short", "entry"),
                flag("short", "exit"),
                order("long"),
                order("short"),
            )

        def stops_of(params: Params) -> dict[str, float]:
            return {name: _given(value, params) for name, value in stops.items()}

        return Strategy(
            name="rules",
            title="Rules",
            rule="As given.",
            source="The rules themselves.",
            params=self._params,
            compute=compute,
            stops=stops_of if stops else None,
        )

    def _indicators(self, indicators: Any) -> None:
        if not isinstance(indicators, Mapping):
            self._error("/rules/indicators", "must be an object of names and expressions")
            return
        if len(indicators) > MAX_INDICATORS:
            self._error(
                "/rules/indicators", f"has {len(indicators)} names, at most {MAX_INDICATORS} are read"
            )
            return
        read_ones: dict[str, Expression] = {}
        for name, text in indicators.items():
            pointer = pointer_to("/rules/indicators", name)
            if not _NAME.fullmatch(name) or name in _RESERVED:
                taken = "stands for something already" if name in _RESERVED else "is no name"
                detail = f'"{name}" {taken}; use a letter, then letters, digits and _, 32 in all'
                self._error(pointer, detail)
            elif (expression := self._try(pointer, lambda text=text: read(text))) is not None:  # type: ignore[misc]
                read_ones[name] = expression
        for name in self._ordered(read_ones):
            place = self._parse(f"/rules/indicators/{name}", read_ones[name], "series")
            if place is not None:
                self._parser.named[name] = place
                if self._program.steps[place].kind == "series":
                    self._program.named.add(place)

    def _ordered(self, expressions: Mapping[str, Expression]) -> list[str]:
        uses = {name: expression.names() & expressions.keys() for name, expression in expressions.items()}
        try:
            return list(TopologicalSorter(uses).static_order())
        except CycleError as error:
            names = " uses ".join(reversed(error.args[1]))
            self._error(f"/rules/indicators/{error.args[1][0]}", f"is defined by itself: {names}")
            return []

    def _side(self, side: str, rules: Any) -> None:
        pointer = f"/rules/{side}"
        if not self._object(rules, pointer, ("entry", "exit", "order")):
            return
        if rules.get("entry") is None:
            self._error(f"{pointer}/entry", "is missing")
        for part in ("entry", "exit"):
            if rules.get(part) is not None:
                place = self._parse_text(f"{pointer}/{part}", rules[part], "condition")
                if place is not None:
                    self._conditions[side, part] = place
        if rules.get("order") is not None:
            self._order(side, f"{pointer}/order", rules["order"])

    def _order(self, side: str, pointer: str, order: Any) -> None:
        if not self._object(order, pointer, ("type", "price", "good_for")):
            return
        if order.get("type") not in ("limit", "stop"):
            self._error(f"{pointer}/type", f"must be limit or stop, got {order.get('type')!r}")
        good_for = order.get("good_for")
        if good_for is not None:
            self._number(f"{pointer}/good_for", good_for, Argument("good_for", "whole", 1, MAX_GOOD_FOR))
        place = self._parse_text(f"{pointer}/price", order.get("price"), "series")
        if place is not None:
            self._orders[side] = _Order(order.get("type"), place, good_for)

    def _read_stops(self, stops: Any) -> None:
        if self._object(stops, "/rules/stops", STOPS):
            for name in STOPS:
                if (value := stops.get(name)) is not None:
                    self._number(f"/rules/stops/{name}", value, Argument(name, "number", 0.0))
                    self._stops[name] = value

    def _number(self, pointer: str, value: Any, argument: Argument) -> None:
        """Note a parameter's use, or check a number."""
        if isinstance(value, str) and (match := _PARAMETER.fullmatch(value)):
            self._parser.parameters.setdefault(match[1], []).append(argument)
            return
        if argument.kind == "whole":
            problem = Param("it", "int", 1, argument.min, argument.max, "").problem(value)
            if problem:
                self._error(
                    pointer, f"must be a whole number from {argument.min:g} to {argument.max:g}, or $name"
                )
            return
        try:
            Execution(**{argument.name: value})
        except InvalidInput as error:
            self._error(pointer, f"{error.errors[0].detail}; or $name")

    def _parameters(self) -> tuple[Param, ...]:
        return tuple(self._parameter(name, uses) for name, uses in sorted(self._parser.parameters.items()))

    def _parameter(self, name: str, uses: list[Argument]) -> Param:
        low = max((use.min for use in uses), default=-MAX_NUMBER)
        high = min((use.max for use in uses), default=MAX_NUMBER)
        whole = any(use.kind == "whole" for use in uses)
        doc = ", ".join(dict.fromkeys(use.name for use in uses)) or "a number"
        return Param(name, "int" if whole else "float", None, low, high, f"used as {doc}")

    def _parse_text(self, pointer: str, text: Any, kind: Kind) -> int | None:
        expression = self._try(pointer, lambda: read(text))
        return None if expression is None else self._parse(pointer, expression, kind)

    def _parse(self, pointer: str, expression: Expression, kind: Kind) -> int | None:
        return self._try(pointer, lambda: self._parser.parse(expression, kind))

    def _try(self, pointer: str, work: Callable[[], T]) -> T | None:
        try:
            return work()
        except RuleError as error:
            self._error(pointer, str(error))
            return None

    def _object(self, value: Any, pointer: str, known: tuple[str, ...]) -> bool:
        if not isinstance(value, Mapping):
            self._error(pointer, f"must be an object with {', '.join(known)}")
            return False
        for name in value:
            if name not in known:
                near = did_you_mean(str(name), known) or f"; these are: {', '.join(known)}"
                self._error(pointer_to(pointer, name), f"is not a field here{near}")
        return True

    def _error(self, pointer: str, detail: str) -> None:
        self._errors.append(FieldError(pointer, detail))


def _given(value: Any, params: Params) -> float:
    return float(params[value[1:]] if isinstance(value, str) else value)
