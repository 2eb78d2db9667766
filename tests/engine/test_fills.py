"""Which bar and price a signal fills at, worked out by hand."""

from typing import Any

import pytest

from cift_core.engine import EXIT_REASONS, SIDES, Bars, Execution, Result, run_backtest
from tests.engine.samples import bars_from, given_signals

DAY_NS = 86_400_000_000_000
# open, high, low, close
FIVE = bars_from(
    (100, 110, 90, 105), (110, 120, 100, 115), (120, 130, 110, 125), (80, 90, 70, 85), (50, 60, 40, 55)
)
ONE_UNIT = {"type": "units", "value": 1}


def run(bars: Bars, signals: dict[str, list[int]], cash: float = 1_000.0, **execution: Any) -> Result:
    return run_backtest(bars, given_signals(signals), {}, Execution(**execution), cash=cash)


def fills(result: Result) -> list[tuple[Any, ...]]:
    """(side, entry bar, entry price, exit bar, exit price, reason) of each trade."""
    return [
        (
            SIDES[t["side"]],
            t["entry_time"] // DAY_NS,
            t["entry_price"],
            t["exit_time"] // DAY_NS,
            t["exit_price"],
            EXIT_REASONS[t["exit_reason"]],
        )
        for t in result.trades
    ]


def test_a_signal_fills_at_the_next_open() -> None:
    result = run(FIVE, {"long_entry": [0], "long_exit": [2]}, size=ONE_UNIT)
    assert fills(result) == [("long", 1, 110.0, 3, 80.0, "signal")]
    assert result.cash.tolist() == [1000, 890, 890, 970, 970]
    assert result.position_value.tolist() == [0, 115, 125, 0, 0]
    assert result.equity.tolist() == [1000, 1005, 1015, 970, 970]
    assert result.trades["pnl"].tolist() == [-30]
    assert result.trades["return"].tolist() == [-30 / 110]
    assert result.trades["bars_held"].tolist() == [2]


def test_same_close_fills_at_the_close_of_the_signal() -> None:
    result = run(FIVE, {"long_entry": [0], "long_exit": [2]}, size=ONE_UNIT, fill="same_close")
    assert fills(result) == [("long", 0, 105.0, 2, 125.0, "signal")]
    assert result.equity.tolist() == [1000, 1010, 1020, 1020, 1020]
    assert result.position_value.tolist() == [105, 115, 0, 0, 0]


@pytest.mark.parametrize("fill", ["next_open", "same_close"])
def test_a_signal_on_the_last_bar_fills_nothing(fill: str) -> None:
    result = run(FIVE, {"long_entry": [4]}, size=ONE_UNIT, fill=fill)
    assert fills(result) == []
    assert result.metrics["rejected_orders"] == 0
    result = run(FIVE, {"long_entry": [0], "long_exit": [4]}, size=ONE_UNIT, fill=fill)
    assert fills(result)[0][3:] == (4, 55.0, "end")


def test_costs_on_both_fills() -> None:
    result = run(
        FIVE,
        {"long_entry": [0], "long_exit": [2]},
        size={"type": "units", "value": 2},
        commission_rate=0.01,
        commission_fixed=3,
        slippage_rate=0.1,
    )
    # Bought at 110 x 1.1 = 121, sold at 80 x 0.9 = 72; fees 1 % of 242 and of 144, and 3 each.
    (trade,) = result.trades
    assert trade["entry_price"] == pytest.approx(121)
    assert trade["exit_price"] == pytest.approx(72)
    assert trade["fees"] == pytest.approx(2.42 + 3 + 1.44 + 3)
    assert trade["pnl"] == pytest.approx(2 * (72 - 121) - 9.86)
    assert trade["return"] == pytest.approx((2 * (72 - 121) - 9.86) / 242)
    assert result.metrics["final_equity"] == pytest.approx(1000 - 98 - 9.86)
    assert result.metrics["fees_paid"] == pytest.approx(9.86)


def test_short_slips_the_other_way() -> None:
    result = run(
        FIVE, {"short_entry": [1], "short_exit": [3]}, size=ONE_UNIT, allow_short=True, slippage_rate=0.1
    )
    assert fills(result) == [("short", 2, 120 * 0.9, 4, 50 * 1.1, "signal")]
    assert result.cash[2] == 1000 + 108
    assert result.position_value[2] == -125
    assert result.trades["pnl"].tolist() == pytest.approx([53])


def test_short_signals_are_ignored_unless_allowed() -> None:
    assert fills(run(FIVE, {"short_entry": [0]}, size=ONE_UNIT)) == []
    held = run(FIVE, {"long_entry": [0], "short_entry": [1]}, size=ONE_UNIT)
    assert fills(held) == [("long", 1, 110.0, 4, 55.0, "end")]
    together = run(FIVE, {"long_entry": [0], "short_entry": [0]}, size=ONE_UNIT)
    assert fills(together) == [("long", 1, 110.0, 4, 55.0, "end")]


def test_entry_in_the_direction_held_does_nothing() -> None:
    result = run(FIVE, {"long_entry": [0, 1, 2]}, size=ONE_UNIT)
    assert fills(result) == [("long", 1, 110.0, 4, 55.0, "end")]
    assert result.metrics["rejected_orders"] == 0


def test_exit_of_a_side_wins_over_its_entry() -> None:
    assert fills(run(FIVE, {"long_entry": [0], "long_exit": [0]}, size=ONE_UNIT)) == []
    held = run(FIVE, {"long_entry": [0, 1], "long_exit": [1]}, size=ONE_UNIT)
    assert fills(held) == [("long", 1, 110.0, 2, 120.0, "signal")]


def test_long_and_short_entry_together_are_neither() -> None:
    flat = run(FIVE, {"long_entry": [0], "short_entry": [0]}, size=ONE_UNIT, allow_short=True)
    assert fills(flat) == []
    held = run(FIVE, {"long_entry": [0, 1], "short_entry": [1]}, size=ONE_UNIT, allow_short=True)
    assert fills(held) == [("long", 1, 110.0, 4, 55.0, "end")]


def test_exit_that_cancels_the_long_leaves_the_short() -> None:
    signals = {"long_entry": [0], "long_exit": [0], "short_entry": [0]}
    assert fills(run(FIVE, signals, size=ONE_UNIT, allow_short=True)) == [("short", 1, 110.0, 4, 55.0, "end")]


def test_exit_signals_when_flat_do_nothing() -> None:
    assert fills(run(FIVE, {"long_exit": [0, 1], "short_exit": [2]}, size=ONE_UNIT, allow_short=True)) == []


def test_reversal_sizes_on_the_equity_after_the_closing_fee() -> None:
    result = run(
        FIVE, {"long_entry": [0], "short_entry": [1]}, allow_short=True, commission_rate=0.25, cash=1375
    )
    # Long 1375 / (110 x 1.25) = 10 units: pays 1100 + 275. Closed at 120: 1200 - 300 = 900 in cash, so short
    # 900 / (120 x 1.25) = 6 units at the same price, which costs 180: 900 + 720 - 180 = 1440 in cash.
    assert fills(result)[0] == ("long", 1, 110.0, 2, 120.0, "signal")
    assert fills(result)[1][:3] == ("short", 2, 120.0)
    assert result.trades["size"].tolist() == [10, 6]
    assert result.cash[2] == 1440
    assert result.equity[2] == 1440 - 6 * 125


def test_close_at_end_closes_at_the_last_close_with_costs() -> None:
    result = run(FIVE, {"long_entry": [0]}, size=ONE_UNIT, commission_rate=0.1, slippage_rate=0.2)
    assert fills(result) == [("long", 1, 132.0, 4, 44.0, "end")]
    assert result.equity[-1] == pytest.approx(1000 - 132 * 1.1 + 44 * 0.9)
    assert result.position_value[-1] == 0
    assert result.metrics["open_position"] is None


def test_left_open_it_is_marked_and_no_trade() -> None:
    result = run(FIVE, {"long_entry": [0]}, size=ONE_UNIT, commission_rate=0.1, close_at_end=False)
    assert fills(result) == []
    assert result.equity[-1] == 1000 - 110 * 1.1 + 55
    assert result.metrics["open_position"] == {
        "side": "long",
        "size": 1.0,
        "entry_time": "1970-01-02T00:00:00Z",
        "entry_price": 110.0,
        "mark_price": 55.0,
        "unrealized_pnl": 55 - 110 - 11,
        "bars_held": 3,
    }
    assert result.metrics["trades"] == 0
    assert result.metrics["win_rate"] is None
    assert result.metrics["fees_paid"] == 11


def test_ruin_closes_at_that_close_and_pins_equity_to_zero() -> None:
    bars = bars_from(
        (100, 100, 100, 100), (100, 110, 90, 100), (150, 260, 150, 250), (10, 10, 10, 10), (9, 9, 9, 9)
    )
    result = run(
        bars,
        {"short_entry": [0], "long_entry": [2, 3]},
        allow_short=True,
        commission_rate=0.0,
        slippage_rate=0.01,
    )
    # Sold 1000 / 99 = 10.1010101 units at 99; at the close of 250 the account is far below zero.
    assert fills(result) == [("short", 1, 99.0, 2, 252.5, "ruin")]
    assert result.equity[1] == pytest.approx(1000 - 10.1010101)
    for curve in (result.equity, result.cash, result.position_value):
        assert curve[2:].tolist() == [0, 0, 0]
    metrics = result.metrics
    assert metrics["ruined"] is True
    assert metrics["total_return"] == -1.0
    assert metrics["annual_return"] == -1.0
    assert metrics["max_drawdown"] == 1.0
    assert result.drawdown[2:].tolist() == [1, 1, 1]
    # Three bars up to the ruin, of which one holds a position at its close.
    assert metrics["exposure"] == pytest.approx(1 / 3)
    assert metrics["trades"] == 1
    assert metrics["rejected_orders"] == 0


def test_an_equity_of_exactly_zero_is_ruin() -> None:
    bars = bars_from((100, 100, 100, 100), (100, 100, 100, 100), (200, 200, 200, 200), (100, 100, 100, 100))
    result = run(bars, {"short_entry": [0]}, allow_short=True, size={"type": "units", "value": 10})
    assert fills(result) == [("short", 1, 100.0, 2, 200.0, "ruin")]
    assert result.equity.tolist() == [1000, 1000, 0, 0]
    assert result.metrics["ruined"] is True


def test_ruin_by_fees_alone_leaves_no_position() -> None:
    result = run(
        FIVE,
        {"long_entry": [0], "long_exit": [2]},
        cash=112,
        size=ONE_UNIT,
        commission_fixed=1,
        fill="same_close",
    )
    assert fills(result)[0][5] == "signal"
    assert result.metrics["ruined"] is False
    result = run(
        FIVE,
        {"long_entry": [0], "long_exit": [2]},
        cash=116,
        size=ONE_UNIT,
        commission_fixed=6,
        stop_loss=0.5,
    )
    # Bought at 110 for 116 in all; sold at the open of 80 less 6 leaves 74.
    assert result.equity.tolist() == [116, 115, 125, 74, 74]
    poor = bars_from((100, 100, 100, 100), (100, 100, 100, 100), (1, 1, 1, 1), (1, 1, 1, 1))
    result = run(poor, {"long_entry": [0], "long_exit": [1]}, cash=105, size=ONE_UNIT, commission_fixed=5)
    # 105 - 100 - 5 = 0; sold for 1 - 5: below zero without a position.
    assert fills(result) == [("long", 1, 100.0, 2, 1.0, "signal")]
    assert result.equity.tolist() == [105, 100, 0, 0]
    assert result.metrics["ruined"] is True


def test_one_bar() -> None:
    result = run(bars_from((100, 110, 90, 105)), {"long_entry": [0]})
    assert result.equity.tolist() == [1000]
    assert result.metrics["sharpe"] is None
    assert result.metrics["annual_volatility"] is None
    assert result.metrics["total_return"] == 0
