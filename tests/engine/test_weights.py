"""Target weights, worked out by hand: a symbol a row for the prices of its bars, a column for its weights."""

from typing import Any

import numpy as np
import pytest

from cift_core.engine import Execution, Result, run_portfolio
from cift_core.errors import InvalidInput
from tests.engine.samples import at_prices, by_weights, shown

NAN = float("nan")


def run(
    prices: list[list[float]],
    weights: list[list[float]],
    execution: Execution | None = None,
    cash: float = 1_000.0,
) -> Result:
    """On bars whose four prices are one, at the same times for all symbols; rows of weights by time."""
    panel = {f"S{s}": at_prices(*row) for s, row in enumerate(prices)}
    rows = weights + [[NAN] * len(prices)] * (len(prices[0]) - len(weights))
    return run_portfolio(panel, by_weights(np.array(rows)), {}, execution or Execution(), cash=cash)


def test_a_weight_is_bought_at_the_next_open_and_left_alone() -> None:
    result = run([[10, 20, 40]], [[0.5]])
    assert shown(result) == [(0, "long", 25.0, 20.0, 40.0, 500.0, "end")]
    assert result.equity.tolist() == [1000.0, 1000.0, 1500.0]


def test_with_same_close_a_weight_is_bought_at_its_own_close_but_for_the_last() -> None:
    result = run([[10, 20, 40]], [[0.5], [NAN], [1.0]], Execution(fill="same_close"))
    assert shown(result) == [(0, "long", 50.0, 10.0, 40.0, 1500.0, "end")]


def test_additions_move_the_entry_price_to_the_mean_by_units() -> None:
    # 25 at 20 for a fee of 4; at 40 the equity is 1000 - 504 + 1000 = 1496, 0.8 of it 29.92: 4.92 more
    result = run([[20, 20, 40, 40]], [[0.5], [0.8]], Execution(commission_fixed=4))
    mean = (25 * 20 + (29.92 - 25) * 40) / 29.92
    assert shown(result) == [(0, "long", 29.92, mean, 40.0, pytest.approx(25 * 20 - 12), "end")]
    assert result.trades["fees"].tolist() == [12.0]
    assert result.trades["entry_time"].tolist() == [result.time[1]]
    assert result.trades["bars_held"].tolist() == [2]


def test_a_reduction_is_a_trade_with_its_share_of_the_entry_fee() -> None:
    # 25 at 20 for a fee of 20; at 40 the equity is 1000 - 520 + 1000 = 1480, 0.25 of it 9.25: 15.75 go
    result = run([[20, 20, 40, 40]], [[0.5], [0.25]], Execution(commission_fixed=20))
    assert shown(result) == [
        (0, "long", 15.75, 20.0, 40.0, 15.75 * 20 - 32.6, "signal"),  # 20 * 15.75 / 25, and 20
        (0, "long", 9.25, 20.0, 40.0, 9.25 * 20 - 27.4, "end"),
    ]
    assert result.trades["fees"].tolist() == [32.6, 27.4]
    assert result.metrics["fees_paid"] == 60


def test_from_long_to_short_closes_whole_and_then_enters() -> None:
    # 50 at 20, out at 40: 2000; short 0.5 of it at 40 are 25, back at 30
    result = run([[20, 20, 40, 30]], [[1.0], [-0.5]], Execution(allow_short=True))
    assert shown(result) == [
        (0, "long", 50.0, 20.0, 40.0, 1000.0, "signal"),
        (0, "short", 25.0, 40.0, 30.0, 250.0, "end"),
    ]


def test_below_zero_is_zero_without_short() -> None:
    result = run([[20, 20, 40, 30]], [[1.0], [-0.5]])
    assert shown(result) == [(0, "long", 50.0, 20.0, 40.0, 1000.0, "signal")]
    assert result.metrics["rejected_orders"] == 0


def test_what_shrinks_comes_first_and_pays_for_what_grows() -> None:
    # all in the second symbol, then all in the first: it can be bought because the other is sold before
    result = run([[10, 10, 10, 20], [50, 50, 100, 100]], [[0.0, 1.0], [1.0, 0.0]])
    assert shown(result) == [
        (1, "long", 20.0, 50.0, 100.0, 1000.0, "signal"),
        (0, "long", 200.0, 10.0, 20.0, 2000.0, "end"),
    ]


def test_what_grows_is_cut_to_the_buying_power_in_the_order_of_symbols() -> None:
    # 0.8 of 1000 at 10 are 80, bought at 10.1; what is left buys of the second what it can at 20.2
    result = run(
        [[10, 10, 10], [20, 20, 20], [5, 5, 5]],
        [[0.8, 0.8, 0.8]],
        Execution(slippage_rate=0.01, commission_fixed=10, fractional=False),
    )
    left = 1000 - 80 * 10.1 - 10
    assert [(s, size) for s, _, size, *_ in shown(result)] == [(0, 80.0), (1, (left - 10) // 20.2)]
    # the third finds 1000 - 808 - 10 - 8 * 20.2 - 10 = 10.4 and no unit at 5.05 after a fee of 10
    assert result.metrics["rejected_orders"] == 1


def test_a_short_uses_up_buying_power_as_a_long_does() -> None:
    result = run([[10, 10, 10], [10, 10, 10]], [[-0.7, 0.7]], Execution(allow_short=True))
    assert [(side, size) for _, side, size, *_ in shown(result)] == [("short", 70.0), ("long", 30.0)]


@pytest.mark.parametrize(("least", "trades"), [(0, 2), (200, 2), (200.1, 1)])
def test_a_difference_below_min_trade_value_is_not_traded(least: float, trades: int) -> None:
    # 0.5 of 1000 at 10, then 0.3: a sale of 20 for 200
    result = run([[10, 10, 10, 10]], [[0.5], [0.3]], Execution(min_trade_value=least))
    assert [size for _, _, size, *_ in shown(result)] == ([20.0, 30.0] if trades == 2 else [50.0])


def test_min_trade_value_looks_at_what_the_buying_power_leaves() -> None:
    # 0.9 of the first leave 100 for the 500 that are wanted of the second
    prices, weights = [[10, 10, 10], [10, 10, 10]], [[0.9, 0.5]]
    assert len(run(prices, weights, Execution(min_trade_value=100)).trades) == 2
    assert len(run(prices, weights, Execution(min_trade_value=101)).trades) == 1


def test_min_trade_value_looks_at_each_leg_of_a_reversal() -> None:
    short = Execution(allow_short=True, min_trade_value=150)
    # 100 long of 10, and then 500 short: the closing leg is too small, so the position stays
    kept = run([[10, 10, 10, 10]], [[0.2], [-0.5]], short)
    assert [(side, size) for _, side, size, *_ in shown(kept)] == [("long", 20.0), ("short", 50.0)]
    kept = run([[10, 10, 5, 5]], [[0.2], [-0.5]], short)
    assert [(side, size) for _, side, size, *_ in shown(kept)] == [("long", 20.0)]
    # 500 long, and then 100 short: only the entry is too small
    closed = run([[10, 10, 10, 10]], [[0.5], [-0.1]], short)
    assert [(side, size) for _, side, size, *_ in shown(closed)] == [("long", 50.0)]


@pytest.mark.parametrize(
    ("weights", "execution", "rejected"),
    [
        ([[0.009]], {"fractional": False}, 1),  # 9 buys nothing whole at 10
        ([[0.009]], {"fractional": False, "min_trade_value": 50}, 1),
        ([[0.04]], {"min_trade_value": 50}, 0),  # 40 is below what the caller wants traded
        ([[0.5]], {"commission_fixed": 1000}, 1),  # a fee that nobody can pay
        ([[1.0], [2.0]], {}, 0),  # an addition that can't be paid is no rejected entry
        ([[0.0]], {}, 0),
        ([[-0.5]], {}, 0),  # no short is asked for where none is allowed
        (
            [[1.0], [0.009]],
            {"fractional": False},
            1,
        ),  # all is sold, and an entry in its place comes to nothing
    ],
)
def test_entries_that_come_to_nothing_are_counted(
    weights: list[list[float]], execution: dict[str, Any], rejected: int
) -> None:
    assert run([[10, 10, 10, 10]], weights, Execution(**execution)).metrics["rejected_orders"] == rejected


def test_a_weight_waits_for_the_next_bar_of_its_symbol_and_a_later_one_replaces_it() -> None:
    panel = {"A": at_prices(10, 10, 10, 10, 10), "B": at_prices(5, 5, 8, days=[0, 3, 4])}
    rows = [[NAN, NAN], [NAN, 0.2], [NAN, 0.4], [NAN, NAN], [NAN, NAN]]
    result = run_portfolio(panel, by_weights(np.array(rows)), {}, cash=1_000)
    assert shown(result) == [(1, "long", 80.0, 5.0, 8.0, 240.0, "end")]
    assert result.trades["entry_time"].tolist() == [result.time[3]]


def test_equity_below_zero_at_the_open_closes_and_shorts_nothing() -> None:
    # short 100 at 10, then the open is at 25: equity 2000 - 2500 is below 0, and so is no target
    result = run([[10, 10, 25, 5]], [[-1.0], [2.0]], Execution(allow_short=True))
    assert shown(result) == [(0, "short", 100.0, 10.0, 25.0, -1500.0, "signal")]
    assert result.metrics["ruined"] is True
    assert result.equity.tolist() == [1000.0, 1000.0, 0.0, 0.0]


def test_the_same_weights_at_the_same_prices_trade_nothing() -> None:
    # 50 - (50 - 16.66666666) is not 16.66666666 in binary; the rest is not for sale
    result = run([[3, 3, 3, 3, 3]], [[0.15], [0.05], [0.05], [0.05]])
    assert [size for _, _, size, *_ in shown(result)] == [50 - 16.66666666, 16.66666666]


@pytest.mark.parametrize(
    ("execution", "pointer"),
    [
        ({"size": {"type": "units", "value": 1}}, "size"),
        ({"stop_loss": 0.1}, "stop_loss"),
        ({"take_profit": 0.1}, "take_profit"),
        ({"trailing_stop": 0.1}, "trailing_stop"),
    ],
)
def test_what_only_signals_know_is_refused(execution: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{pointer} must be left out: given gives target weights$") as e:
        run([[10, 10]], [[0.5]], Execution(**execution))
    assert [error.pointer for error in e.value.errors] == [f"/execution/{pointer}"]
