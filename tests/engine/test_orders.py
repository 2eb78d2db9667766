"""Limit and stop entries, worked out by hand. The signal is on bar 0, whose close is 100; one unit each."""

from typing import Any, Literal

import numpy as np
import pytest

from cift_core.engine import Bars, EntryOrder, Execution, Result, run_backtest, run_sweep
from tests.engine.samples import bars_from, given_signals
from tests.engine.test_fills import fills

Prices = float | list[float]
SIGNAL = (100, 100, 100, 100)
QUIET = (100, 101, 99, 100)
LONG, SHORT = {"long_entry": [0]}, {"short_entry": [0]}
NAN = float("nan")


def order(
    kind: Literal["limit", "stop"], price: Prices, bars: Bars, good_for: int | None = None
) -> EntryOrder:
    return EntryOrder(kind, np.broadcast_to(np.array(price, np.float64), len(bars)), good_for)


def run(
    bars: Bars,
    signals: dict[str, list[int]],
    long: EntryOrder | None = None,
    short: EntryOrder | None = None,
    **execution: Any,
) -> Result:
    strategy = given_signals(signals, long, short)
    options = {"size": {"type": "units", "value": 1}, "allow_short": True} | execution
    return run_backtest(bars, strategy, {}, Execution(**options), cash=1_000.0)


@pytest.mark.parametrize(
    ("side", "kind", "price", "bar", "expected"),
    [
        ("long", "limit", 95, (100, 101, 95, 96), 95),  # the low on the price: filled there
        ("long", "limit", 95, (100, 101, 95.01, 96), None),
        ("long", "limit", 95, (94, 96, 90, 95), 94),  # the open is better: the open
        ("long", "stop", 105, (100, 105, 99, 104), 105),
        ("long", "stop", 105, (100, 104.99, 99, 104), None),
        ("long", "stop", 105, (107, 108, 106, 107), 107),  # the open is worse: the open
        ("short", "limit", 105, (100, 105, 99, 104), 105),
        ("short", "limit", 105, (100, 104.99, 99, 104), None),
        ("short", "limit", 105, (107, 108, 106, 107), 107),
        ("short", "stop", 95, (100, 101, 95, 96), 95),
        ("short", "stop", 95, (100, 101, 95.01, 96), None),
        ("short", "stop", 95, (94, 96, 90, 95), 94),
    ],
)
def test_where_an_order_fills(
    side: str,
    kind: Literal["limit", "stop"],
    price: float,
    bar: tuple[float, float, float, float],
    expected: float | None,
) -> None:
    bars = bars_from(SIGNAL, bar, QUIET)
    placed = {side: order(kind, price, bars)}
    result = run(bars, LONG if side == "long" else SHORT, **placed)
    assert [row[:3] for row in fills(result)] == ([] if expected is None else [(side, 1, expected)])
    assert result.metrics["rejected_orders"] == 0


@pytest.mark.parametrize(("good_for", "filled"), [(1, False), (2, False), (3, True), (None, True)])
def test_an_order_lives_for_so_many_bars(good_for: int | None, filled: bool) -> None:
    bars = bars_from(SIGNAL, QUIET, QUIET, (100, 101, 95, 96), QUIET)
    result = run(bars, LONG, order("limit", 95, bars, good_for), good_for=3)
    assert len(result.trades) == filled


def test_slippage_and_fees_come_on_top_of_the_orders_price() -> None:
    bars = bars_from(SIGNAL, (100, 101, 95, 96), QUIET)
    result = run(bars, LONG, order("limit", 95, bars), slippage_rate=0.01, commission_rate=0.002)
    assert result.trades["entry_price"].tolist() == [95 * 1.01]
    assert result.cash[1] == 1_000 - 95 * 1.01 - 0.002 * (95 * 1.01)


def test_no_price_is_no_order_and_leaves_the_one_that_rests() -> None:
    bars = bars_from(SIGNAL, QUIET, (100, 101, 95, 96), QUIET)
    none = run(bars, LONG, order("limit", NAN, bars))
    assert len(none.trades) == none.metrics["rejected_orders"] == 0
    rests = run(bars, {"long_entry": [0, 1]}, order("limit", [95, NAN, NAN, NAN], bars, 2))
    assert [row[:3] for row in fills(rests)] == [("long", 2, 95.0)]


def test_a_new_signal_replaces_the_order() -> None:
    bars = bars_from(SIGNAL, QUIET, (100, 101, 95, 96), QUIET)
    result = run(bars, {"long_entry": [0, 1]}, order("limit", [95, 90, 90, 90], bars, 5))
    assert len(result.trades) == 0


@pytest.mark.parametrize("signal", ["long_exit", "short_entry"])
def test_an_opposite_signal_cancels_the_order(signal: str) -> None:
    bars = bars_from(SIGNAL, QUIET, (100, 101, 95, 96), QUIET)
    far = order("limit", 1_000, bars)
    result = run(bars, LONG | {signal: [1]}, order("limit", 95, bars, 5), far)
    assert len(result.trades) == 0
    ignored = run(bars, LONG | {"short_entry": [1]}, order("limit", 95, bars, 5), far, allow_short=False)
    assert [row[:3] for row in fills(ignored)] == [("long", 2, 95.0)]


def test_an_order_against_the_position_turns_it_at_the_orders_price() -> None:
    bars = bars_from(SIGNAL, QUIET, (100, 106, 99, 104), QUIET)
    result = run(bars, LONG | {"short_entry": [1]}, None, order("limit", 105, bars))
    assert fills(result) == [("long", 1, 100.0, 2, 105.0, "signal"), ("short", 2, 105.0, 3, 100.0, "end")]
    kept = run(bars, LONG | {"short_entry": [1]}, None, order("limit", 107, bars))
    assert fills(kept) == [("long", 1, 100.0, 3, 100.0, "end")]


def test_an_exit_does_not_wait_for_the_order_that_comes_with_it() -> None:
    bars = bars_from(SIGNAL, QUIET, (98, 106, 97, 104), QUIET)
    result = run(bars, LONG | {"long_exit": [1], "short_entry": [1]}, None, order("limit", 105, bars))
    assert fills(result) == [("long", 1, 100.0, 2, 98.0, "signal"), ("short", 2, 105.0, 3, 100.0, "end")]


def test_levels_of_the_position_come_before_an_order_inside_the_bar() -> None:
    bars = bars_from(SIGNAL, QUIET, (100, 101, 90, 92), QUIET)
    result = run(bars, LONG | {"short_entry": [1]}, None, order("stop", 94, bars), stop_loss=0.05)
    assert fills(result)[0] == ("long", 1, 100.0, 2, 95.0, "stop_loss")
    assert fills(result)[1][:3] == ("short", 2, 94.0)


@pytest.mark.parametrize(
    ("kind", "price", "bar", "options", "expected"),
    [
        # Filled inside the bar: the stop is looked at, the target is not.
        ("limit", 98, (100, 115, 94, 110), {"stop_loss": 0.05}, (1, 95.0, "stop_loss")),
        ("limit", 98, (100, 115, 96, 110), {"take_profit": 0.1}, (2, 110.0, "take_profit")),
        ("stop", 102, (100, 115, 94, 110), {"stop_loss": 0.05}, (1, 95.0, "stop_loss")),
        ("limit", 98, (100, 101, 94, 96), {"trailing_stop": 0.05}, (1, 95.0, "trailing_stop")),
        # A stop above the fill: out again at the fill's price.
        ("limit", 94, (100, 101, 93, 96), {"stop_loss": 0.05}, (1, 94.0, "stop_loss")),
        # Filled at the open: every level is live.
        ("limit", 98, (97, 115, 96, 110), {"take_profit": 0.1}, (1, 110.0, "take_profit")),
    ],
)
def test_levels_in_the_bar_of_the_fill(
    kind: Literal["limit", "stop"],
    price: float,
    bar: tuple[float, float, float, float],
    options: dict[str, float],
    expected: tuple[Any, ...],
) -> None:
    bars = bars_from(SIGNAL, bar, (110, 111, 109, 110))
    (row,) = fills(run(bars, LONG, order(kind, price, bars), **options))
    assert row[3:] == (expected[0], pytest.approx(expected[1]), expected[2])


def test_with_same_close_an_order_rests_from_the_next_bar_on() -> None:
    bars = bars_from(SIGNAL, (100, 101, 95, 96), QUIET)
    result = run(bars, LONG, order("limit", 102, bars), fill="same_close")
    assert [row[:3] for row in fills(result)] == [("long", 1, 100.0)]


def test_an_order_that_can_not_be_paid_is_rejected_when_it_fills() -> None:
    bars = bars_from(SIGNAL, QUIET, (100, 101, 95, 96), QUIET)
    size = {"type": "units", "value": 100}
    result = run(bars, LONG, order("limit", 95, bars, 2), size=size)
    assert (len(result.trades), result.metrics["rejected_orders"]) == (0, 1)


def test_two_trades_in_one_bar_are_both_recorded() -> None:
    bars = bars_from(SIGNAL, (100, 106, 94, 100), QUIET)
    signals = {"long_entry": [0], "short_entry": [1]}
    result = run(bars, signals, order("limit", 98, bars), None, stop_loss=0.05, fill="same_close")
    assert fills(result) == [("long", 1, 98.0, 1, 95.0, "stop_loss"), ("short", 1, 100.0, 2, 100.0, "end")]


@pytest.mark.parametrize(
    "wrong",
    [
        EntryOrder("market", np.ones(3)),  # type: ignore[arg-type]
        EntryOrder("limit", np.ones(2)),
        EntryOrder("limit", np.ones(3, np.int64)),  # type: ignore[arg-type]
        EntryOrder("limit", np.ones(3), 0),
    ],
)
def test_what_is_no_order_is_the_strategys_defect(wrong: EntryOrder) -> None:
    bars = bars_from(SIGNAL, QUIET, QUIET)
    for place in ({"long": wrong}, {"short": wrong}):
        with pytest.raises((TypeError, ValueError), match="order"):
            run(bars, LONG, **place)


def test_stops_of_the_strategy_win_over_those_of_the_execution() -> None:
    bars = bars_from(SIGNAL, QUIET, (100, 101, 90, 92), QUIET)
    plain = given_signals(LONG)
    own = type(plain)(**{**vars(plain), "stops": lambda _: {"stop_loss": 0.02, "take_profit": None}})
    execution = Execution(stop_loss=0.05, take_profit=0.5)
    for strategy, price in ((plain, 95.0), (own, 98.0)):
        result = run_backtest(bars, strategy, {}, execution, cash=1_000.0)
        assert [row[3:] for row in fills(result)] == [(2, price, "stop_loss")]
        assert strategy.execution(execution, {}).take_profit == 0.5
        swept = run_sweep(bars, strategy, [{}], execution, cash=1_000.0)
        assert swept["final_equity"][0] == result.metrics["final_equity"]
