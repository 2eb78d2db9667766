"""Random rules on real bars: equal to the slow evaluation, no look at the future, never a crash or a NaN."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cift_core.engine import Bars, Execution, Series, run_backtest
from cift_core.rules import compile_rules
from tests.engine.samples import part, sample
from tests.rules import slow

COLUMNS = ("open", "high", "low", "close", "volume")
WINDOWED = {"highest": max, "lowest": min}


@dataclass(frozen=True)
class Rule:
    """A text of the language, its slow value, and the indicators in it, which delay the first signal."""

    text: str
    value: slow.Series
    indicators: tuple[slow.Series, ...]


def numbers(bars: Bars) -> st.SearchStrategy[Rule]:
    columns = {name: [float(x) for x in getattr(bars, name)] for name in COLUMNS}
    leaves = st.sampled_from(COLUMNS).map(lambda name: Rule(name, columns[name], ())) | st.sampled_from(
        [0.0, 1.0, 2.5, 100.0, -3.0]
    ).map(lambda x: Rule(f"({x})", [x] * len(bars), ()))

    def grow(inner: st.SearchStrategy[Rule]) -> st.SearchStrategy[Rule]:
        return (
            st.builds(_arithmetic, st.sampled_from("+-*/"), inner, inner)
            | st.builds(_extreme, st.sampled_from(["min", "max"]), inner, inner)
            | st.builds(_back, inner, st.integers(0, 5))
            | st.builds(_windowed, st.sampled_from(sorted(WINDOWED)), inner, st.integers(1, 6))
        )

    return st.recursive(leaves, grow, max_leaves=6)


def conditions(bars: Bars) -> st.SearchStrategy[Rule]:
    number = numbers(bars)
    leaves = st.builds(_compare, st.sampled_from(sorted(slow.COMPARISONS)), number, number) | st.builds(
        _crosses, st.sampled_from(["above", "below"]), number, number
    )

    def grow(inner: st.SearchStrategy[Rule]) -> st.SearchStrategy[Rule]:
        return st.builds(_logic, st.sampled_from(["and", "or"]), inner, inner) | st.builds(_not, inner)

    return st.recursive(leaves, grow, max_leaves=4)


def _both(a: Rule, b: Rule) -> tuple[slow.Series, ...]:
    return (*a.indicators, *b.indicators)


def _arithmetic(op: str, a: Rule, b: Rule) -> Rule:
    function = {
        "+": lambda x, y: slow.finite(x + y),
        "-": lambda x, y: slow.finite(x - y),
        "*": lambda x, y: slow.finite(x * y),
        "/": slow.divide,
    }[op]
    return Rule(f"({a.text} {op} {b.text})", slow.pointwise(function, a.value, b.value), _both(a, b))


def _extreme(name: str, a: Rule, b: Rule) -> Rule:
    function = {"min": min, "max": max}[name]
    return Rule(f"{name}({a.text}, {b.text})", slow.pointwise(function, a.value, b.value), _both(a, b))


def _back(a: Rule, bars: int) -> Rule:
    value = slow.back(a.value, bars)
    return Rule(f"{a.text}[{bars}]", value, (*a.indicators, value))


def _windowed(name: str, a: Rule, size: int) -> Rule:
    value = slow.window(a.value, size, WINDOWED[name])
    return Rule(f"{name}({a.text}, {size})", value, (*a.indicators, value))


def _compare(op: str, a: Rule, b: Rule) -> Rule:
    value = slow.pointwise(slow.COMPARISONS[op], a.value, b.value)
    return Rule(f"({a.text} {op} {b.text})", value, _both(a, b))


def _crosses(direction: str, a: Rule, b: Rule) -> Rule:
    value = slow.crosses(a.value, b.value, 1 if direction == "above" else -1)
    return Rule(f"crosses_{direction}({a.text}, {b.text})", value, _both(a, b))


def _logic(op: str, a: Rule, b: Rule) -> Rule:
    function = {"and": lambda x, y: x and y, "or": lambda x, y: x or y}[op]
    return Rule(f"({a.text} {op} {b.text})", slow.pointwise(function, a.value, b.value), _both(a, b))


def _not(a: Rule) -> Rule:
    return Rule(f"(not {a.text})", slow.pointwise(lambda x: not x, a.value), a.indicators)


def expected(rule: Rule) -> list[bool]:
    """The signal: true where defined and true, from the bar after all indicators are defined."""
    n = len(rule.value)
    first = 0
    if rule.indicators:
        defined = [i for i in range(n) if all(series[i] is not None for series in rule.indicators)]
        first = defined[0] + 1 if defined else n
    return [i >= first and rule.value[i] is True for i in range(n)]


@st.composite
def cases(draw: st.DrawFn) -> tuple[Bars, Rule]:
    whole = sample(draw(st.sampled_from(["AAPL", "IBM", "MSFT"])))
    start = draw(st.integers(0, len(whole) - 60))
    bars = part(whole, start, start + 60)
    return bars, draw(conditions(bars))


@settings(max_examples=300)
@given(cases())
def test_random_rules_equal_the_slow_evaluation(case: tuple[Bars, Rule]) -> None:
    bars, rule = case
    strategy = compile_rules({"long": {"entry": rule.text}})
    signals = strategy.signals(Series(bars), {})
    assert signals.long_entry.tolist() == expected(rule), rule.text


@settings(max_examples=100)
@given(cases(), st.integers(0, 58))
def test_no_rule_looks_ahead_and_every_one_runs(case: tuple[Bars, Rule], i: int) -> None:
    bars, rule = case
    strategy = compile_rules({"long": {"entry": rule.text, "exit": f"not {rule.text}"}})
    whole = strategy.signals(Series(bars), {})
    cut = strategy.signals(Series(part(bars, 0, i + 1)), {})
    for full, short in zip(whole.flags, cut.flags, strict=True):
        np.testing.assert_array_equal(short, full[: i + 1])
    result = run_backtest(bars, strategy, {}, Execution(), cash=10_000.0)
    values: list[Any] = [value for value in result.metrics.values() if isinstance(value, float)]
    assert np.isfinite(result.equity).all()
    assert np.isfinite(values).all()
