"""Stops and targets inside a bar, worked out by hand. The signal is on bar 0 and its close is 100."""

from typing import Any

import pytest

from cift_core.engine import Bars, Execution, run_backtest
from tests.engine.samples import bars_from, given_signals
from tests.engine.test_fills import fills

SIGNAL = (100, 100, 100, 100)
QUIET = (100, 101, 99, 100)
ONE_UNIT = {"type": "units", "value": 1}


def exits(bars: Bars, signals: dict[str, list[int]] | None = None, **execution: Any) -> list[tuple[Any, ...]]:
    """(exit bar, exit price, reason) of each trade."""
    strategy = given_signals(signals or {"long_entry": [0]})
    result = run_backtest(
        bars, strategy, {}, Execution(size=ONE_UNIT, allow_short=True, **execution), cash=1_000.0
    )
    return [row[3:] for row in fills(result)]


SHORT = {"short_entry": [0]}


@pytest.mark.parametrize(
    ("signals", "bar", "stop", "expected"),
    [
        (None, (100, 101, 95, 96), {"stop_loss": 0.05}, (2, 95.0, "stop_loss")),  # low on the level: touched
        (None, (100, 101, 95.01, 96), {"stop_loss": 0.05}, None),
        (None, (94, 96, 90, 95), {"stop_loss": 0.05}, (2, 94.0, "stop_loss")),  # gap: the open
        (None, (95, 96, 90, 95), {"stop_loss": 0.05}, (2, 95.0, "stop_loss")),
        (None, (100, 125, 99, 105), {"take_profit": 0.25}, (2, 125.0, "take_profit")),
        (None, (100, 124.9, 99, 105), {"take_profit": 0.25}, None),
        (None, (120, 130, 115, 125), {"take_profit": 0.1}, (2, 120.0, "take_profit")),  # gap: the open
        (SHORT, (100, 105, 99, 101), {"stop_loss": 0.05}, (2, 105.0, "stop_loss")),
        (SHORT, (100, 104.9, 99, 101), {"stop_loss": 0.05}, None),
        (SHORT, (107, 108, 99, 101), {"stop_loss": 0.05}, (2, 107.0, "stop_loss")),
        (SHORT, (100, 101, 90, 95), {"take_profit": 0.1}, (2, 90.0, "take_profit")),
        (SHORT, (100, 101, 90.1, 95), {"take_profit": 0.1}, None),
        (SHORT, (85, 101, 80, 95), {"take_profit": 0.1}, (2, 85.0, "take_profit")),
        # Both touched: the stop.
        (None, (100, 115, 90, 100), {"stop_loss": 0.05, "take_profit": 0.1}, (2, 95.0, "stop_loss")),
        (SHORT, (100, 115, 85, 100), {"stop_loss": 0.05, "take_profit": 0.1}, (2, 105.0, "stop_loss")),
        # Open beyond the target, low beyond the stop: the open comes first.
        (None, (112, 115, 90, 100), {"stop_loss": 0.05, "take_profit": 0.1}, (2, 112.0, "take_profit")),
        (SHORT, (88, 115, 85, 100), {"stop_loss": 0.05, "take_profit": 0.1}, (2, 88.0, "take_profit")),
    ],
)
def test_levels(
    signals: dict[str, list[int]] | None,
    bar: tuple[float, float, float, float],
    stop: dict[str, float],
    expected: tuple[Any, ...] | None,
) -> None:
    calm = (100, 101, 100, 100)
    got = exits(bars_from(SIGNAL, calm, bar, calm), signals, **stop)
    assert got[0] == pytest.approx(expected or (3, 100.0, "end"))


def test_entry_bar_is_already_live() -> None:
    assert exits(bars_from(SIGNAL, (100, 101, 94, 99), QUIET), stop_loss=0.05) == [(1, 95.0, "stop_loss")]


def test_entry_beyond_the_level_leaves_at_that_open() -> None:
    gap_down = bars_from(SIGNAL, (94, 99, 93, 98), QUIET)
    assert exits(gap_down, stop_loss=0.05) == [(1, 94.0, "stop_loss")]
    assert exits(gap_down, stop_loss=0.05, stop_base="fill") == [(2, 100.0, "end")]
    gap_up = bars_from(SIGNAL, (111, 112, 105, 106), QUIET)
    assert exits(gap_up, take_profit=0.1) == [(1, 111.0, "take_profit")]


def test_stop_base_fill_is_the_price_after_slippage() -> None:
    bars = bars_from(SIGNAL, (110, 111, 109, 110), (110, 110, 105, 106))
    # Bought at 110 x 1.01 = 111.1; 5 % below is 105.545, sold 1 % below that.
    (row,) = exits(bars, stop_loss=0.05, stop_base="fill", slippage_rate=0.01)
    assert row == (2, pytest.approx(111.1 * 0.95 * 0.99), "stop_loss")
    # From the close of the signal: 95, not touched.
    (row,) = exits(bars, stop_loss=0.05, slippage_rate=0.01)
    assert row[2] == "end"


def test_same_close_is_live_from_the_bar_after() -> None:
    bars = bars_from((100, 101, 80, 100), (100, 101, 94, 99), QUIET)
    assert exits(bars, stop_loss=0.05, fill="same_close") == [(1, 95.0, "stop_loss")]


def test_ordered_exit_fills_at_the_open_before_any_level() -> None:
    bars = bars_from(SIGNAL, QUIET, (80, 120, 70, 90), QUIET)
    signals = {"long_entry": [0], "long_exit": [1]}
    assert exits(bars, signals, stop_loss=0.05, take_profit=0.1) == [(2, 80.0, "signal")]


def test_reversal_at_the_open_then_the_new_levels_in_that_bar() -> None:
    bars = bars_from(SIGNAL, QUIET, (100, 106, 99, 103), QUIET)
    signals = {"long_entry": [0], "short_entry": [1]}
    # Long closed at the open of 100; short from 100, its stop (5 % over the close of bar 1) touched at once.
    assert exits(bars, signals, stop_loss=0.05) == [(2, 100.0, "signal"), (2, 105.0, "stop_loss")]


def test_trailing_stop_follows_the_best_close_of_earlier_bars() -> None:
    bars = bars_from(
        SIGNAL,
        (100, 108, 100, 105),  # level 90; best close becomes 105
        (105, 130, 104, 110),  # level 94.5: the high of 130 moves nothing; best 110
        (106, 108, 99.5, 101),  # level 99: not touched
        (101, 102, 98, 100),  # level 99 still: touched
        QUIET,
    )
    assert exits(bars, trailing_stop=0.1) == [(4, 99.0, "trailing_stop")]


def test_trailing_stop_of_a_short() -> None:
    bars = bars_from(SIGNAL, (100, 101, 92, 95), (95, 96, 88, 90), (90, 99.5, 89, 98), QUIET)
    # Levels 110, 104.5, then 90 x 1.1 = 99: touched on bar 3.
    assert exits(bars, SHORT, trailing_stop=0.1) == [(3, pytest.approx(99.0), "trailing_stop")]


def test_trailing_stop_gap() -> None:
    bars = bars_from(SIGNAL, (100, 121, 100, 120), (100, 100, 100, 100), QUIET)
    assert exits(bars, trailing_stop=0.1) == [(2, 100.0, "trailing_stop")]


def test_trailing_stop_starts_at_the_stop_base() -> None:
    bars = bars_from(SIGNAL, (110, 111, 98, 105), (105, 106, 91, 92), QUIET)
    # From the signal's close: 90 on the entry bar, then 105 x 0.9 = 94.5. From the fill: 99 on the entry bar.
    assert exits(bars, trailing_stop=0.1) == [(2, 94.5, "trailing_stop")]
    assert exits(bars, trailing_stop=0.1, stop_base="fill") == [(1, 99.0, "trailing_stop")]


def test_the_tighter_of_stop_and_trail_fills_and_gives_the_reason() -> None:
    falls = bars_from(SIGNAL, QUIET, (100, 100, 80, 85), QUIET)
    assert exits(falls, stop_loss=0.05, trailing_stop=0.1) == [(2, 95.0, "stop_loss")]
    assert exits(falls, stop_loss=0.1, trailing_stop=0.05) == [(2, 95.0, "trailing_stop")]
    assert exits(falls, stop_loss=0.05, trailing_stop=0.05) == [(2, 95.0, "stop_loss")]  # level: the stop
    rises = bars_from(SIGNAL, (100, 120, 100, 120), (120, 120, 80, 85), QUIET)
    assert exits(rises, stop_loss=0.05, trailing_stop=0.1) == [(2, 108.0, "trailing_stop")]


def test_after_a_stop_the_next_entry_signal_counts() -> None:
    bars = bars_from(SIGNAL, (100, 101, 94, 99), (99, 100, 98, 99), QUIET)
    assert exits(bars, {"long_entry": [0, 1]}, stop_loss=0.05) == [(1, 95.0, "stop_loss"), (3, 100.0, "end")]


def test_short_target_of_the_whole_price_is_never_touched() -> None:
    bars = bars_from(SIGNAL, (100, 100, 0.01, 50), QUIET)
    assert exits(bars, SHORT, take_profit=1.0) == [(2, 100.0, "end")]


def test_slippage_on_a_stop() -> None:
    bars = bars_from(SIGNAL, QUIET, (100, 100, 90, 91), QUIET)
    assert exits(bars, stop_loss=0.05, slippage_rate=0.01) == [(2, pytest.approx(95 * 0.99), "stop_loss")]
