"""Crossings, comparisons and their tie rule."""

import numpy as np
import pytest
from numpy.typing import NDArray

from cift_core.engine import Execution, Signals, run_backtest
from cift_core.engine.bars import Bars
from cift_core.engine.indicators import sma
from cift_core.engine.signals import above, above_level, below_level, crosses
from cift_core.engine.strategy import Param, Params, Series, Strategy
from tests.engine.samples import bars_from

NAN = float("nan")
TIED = 1 + 5e-12
UNTIED = 1 + 2e-11


def at(values: NDArray[np.bool_]) -> list[int]:
    return np.flatnonzero(values).tolist()


@pytest.mark.parametrize(
    ("a", "up", "down"),
    [
        ([0, 2, 0, 2], [1, 3], [2]),
        ([2, 2, 0], [], [2]),
        ([2, 2, 2], [], []),
        ([0, 1, 2], [2], []),  # level in between: the bar below counts
        ([0, 1, 1, 1, 2], [4], []),
        ([2, 1, 2], [], []),  # touched and turned
        ([1, 2, 0], [], [2]),  # level since the start: no earlier side
        ([0, TIED, 2], [2], []),
        ([0, UNTIED, 2], [1], []),
        ([2, 1 - 5e-12, 2], [], []),
        ([0, NAN, 2], [2], []),  # undefined in between
        ([NAN, 2, 0, 2], [3], [2]),
        ([NAN, NAN], [], []),
    ],
)
def test_crosses_one(a: list[float], up: list[int], down: list[int]) -> None:
    series, one = np.array(a, np.float64), np.ones(len(a))
    ours = crosses(series, one)
    assert (at(ours[0]), at(ours[1])) == (up, down)
    mirrored = crosses(one, series)
    assert (at(mirrored[0]), at(mirrored[1])) == (down, up)


def test_ties_are_relative() -> None:
    a, b = np.array([-1e9, 1e9]), np.array([-1e9 - 1e-3, 1e9 - 1e-3])
    assert at(above(a, b)) == []
    assert at(above(a, b - 0.1)) == [0, 1]
    assert at(above(np.array([1e-15, 0.0]), np.zeros(2))) == [0]


def test_comparisons() -> None:
    a = np.array([0.5, 1.0, TIED, UNTIED, 1.5, NAN])
    assert at(above(a, np.ones(6))) == [3, 4]
    assert at(above(np.ones(6), a)) == [0]
    assert at(above_level(a, 1.0)) == [3, 4]
    assert at(below_level(a, 1.0)) == [0]


def flat_bars(n: int) -> Bars:
    return bars_from(*[(10, 10, 10, 10)] * n)


def test_no_signal_before_the_bar_after_the_warm_up() -> None:
    def compute(series: Series, _: Params) -> Signals:
        series.indicator(sma, "close", 3)
        series.indicator(sma, "close", 5)
        return Signals(*(np.ones(len(series.bars), np.bool_) for _ in range(4)))

    signals = Strategy("s", "S", "-", "-", (), compute).signals(Series(flat_bars(8)), {})
    # Both means are defined from bar 4 on, so the first signal is on bar 5.
    for values in signals.flags:
        assert values.tolist() == [False] * 5 + [True] * 3


def test_warm_up_waits_until_all_are_finite_at_once() -> None:
    def gap(_: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([1.0, NAN, NAN, NAN, 1.0, 1.0])

    def late(_: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([NAN, NAN, 1.0, 1.0, 1.0, NAN])

    def compute(series: Series, _: Params) -> Signals:
        series.indicator(gap, "close")
        series.indicator(late, "close")
        return Signals(*(np.ones(len(series.bars), np.bool_) for _ in range(4)))

    signals = Strategy("s", "S", "-", "-", (), compute).signals(Series(flat_bars(6)), {})
    assert at(signals.long_entry) == [5]


def test_without_indicators_bar_0_may_signal() -> None:
    def compute(series: Series, _: Params) -> Signals:
        return Signals(*(np.ones(len(series.bars), np.bool_) for _ in range(4)))

    signals = Strategy("s", "S", "-", "-", (), compute).signals(Series(flat_bars(2)), {})
    assert at(signals.long_entry) == [0, 1]


def test_each_distinct_indicator_is_computed_once() -> None:
    calls: list[int] = []

    def counted(x: NDArray[np.float64], window: int) -> NDArray[np.float64]:
        calls.append(window)
        return sma(x, window)

    def compute(series: Series, params: Params) -> Signals:
        first = series.indicator(counted, "close", params["window"])
        assert series.indicator(counted, "close", params["window"]) is first
        with pytest.raises(ValueError, match="read-only"):
            first[0] = 1.0
        return Signals(*(np.zeros(len(series.bars), np.bool_) for _ in range(4)))

    strategy = Strategy("s", "S", "-", "-", (Param("window", "int", 2, 1, 9, "-"),), compute)
    series = Series(flat_bars(6))
    for window in (2, 3, 2, 3):
        strategy.signals(series, strategy.validate({"window": window}))
    assert calls == [2, 3]


def test_beyond_the_budget_indicators_are_computed_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cift_core.engine.strategy.REMEMBERED_BYTES", 2 * 6 * 8)
    series = Series(flat_bars(6))
    first = {window: series.indicator(sma, "close", window) for window in (2, 3, 4)}
    again = {window: series.indicator(sma, "close", window) for window in (2, 3, 4)}
    assert [window for window in first if first[window] is again[window]] == [2, 3]
    np.testing.assert_array_equal(first[4], again[4])


def test_wrong_signals_are_a_programming_error() -> None:
    def compute(series: Series, _: Params) -> Signals:
        return Signals(*(np.ones(len(series.bars) + 1, np.bool_) for _ in range(4)))

    with pytest.raises(TypeError, match=r"contiguous bool\[3\]"):
        run_backtest(flat_bars(3), Strategy("s", "S", "-", "-", (), compute), {}, Execution())
