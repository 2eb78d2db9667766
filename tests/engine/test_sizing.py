"""How many units an entry gets, worked out by hand."""

from typing import Any

import pytest

from cift_core.engine import Execution, Result, run_backtest
from tests.engine.samples import bars_from, given_signals

FLAT_AT_30 = bars_from(*[(30, 30, 30, 30)] * 4)


def run(cash: float = 1_000.0, **execution: Any) -> Result:
    signals = {"long_entry": [0]} if not execution.get("allow_short") else {"short_entry": [0]}
    return run_backtest(FLAT_AT_30, given_signals(signals), {}, Execution(**execution), cash=cash)


@pytest.mark.parametrize(
    ("execution", "units"),
    [
        ({}, 33.33333333),
        ({"fractional": False}, 33.0),
        ({"size": {"type": "equity_fraction", "value": 0.5}}, 16.66666666),
        ({"commission_rate": 0.01}, 33.00330033),  # 1000 / 30.3
        ({"commission_fixed": 10}, 33.0),  # 990 / 30
        ({"commission_fixed": 10, "size": {"type": "equity_fraction", "value": 0.5}}, 16.33333333),
        ({"slippage_rate": 0.1}, 30.30303030),  # 1000 / 33
        ({"slippage_rate": 0.1, "allow_short": True}, 37.03703703),  # 1000 / 27
        ({"size": {"type": "units", "value": 7.123456789}}, 7.12345678),
        ({"size": {"type": "units", "value": 7.9}, "fractional": False}, 7.0),
        ({"size": {"type": "notional", "value": 500}}, 16.66666666),
        ({"size": {"type": "notional", "value": 500}, "fractional": False}, 16.0),
        ({"size": {"type": "notional", "value": 500}, "slippage_rate": 0.25}, 13.33333333),  # at 37.5
        ({"size": {"type": "notional", "value": 1000}, "fractional": False}, 33.0),
    ],
)
def test_units(execution: dict[str, Any], units: float) -> None:
    result = run(**execution)
    assert result.trades["size"].tolist() == [units]
    assert result.metrics["rejected_orders"] == 0


@pytest.mark.parametrize(
    "execution",
    [
        {"size": {"type": "units", "value": 34}},  # 1020 of 1000
        {"size": {"type": "units", "value": 33.3}, "commission_fixed": 2},  # 999 + 2
        {"size": {"type": "units", "value": 33}, "commission_rate": 0.02},  # 990 + 19.8
        {"size": {"type": "units", "value": 34}, "allow_short": True},
        {"size": {"type": "notional", "value": 1001}},
        {"size": {"type": "units", "value": 0.9}, "fractional": False},  # floored to 0
        {"size": {"type": "notional", "value": 29}, "fractional": False},
        {"size": {"type": "equity_fraction", "value": 0.02}, "fractional": False},  # 20 buys nothing whole
        {"commission_fixed": 1_000},  # nothing is left to buy with
        {"size": {"type": "equity_fraction", "value": 1e-11}},  # floored to 0 at 1e-8
    ],
)
def test_rejected_orders_are_counted(execution: dict[str, Any]) -> None:
    result = run(**execution)
    assert result.metrics["trades"] == 0
    assert result.metrics["rejected_orders"] == 1
    assert result.equity.tolist() == [1000.0] * 4
    assert result.metrics["fees_paid"] == 0


def test_exactly_all_the_money_is_within_buying_power() -> None:
    assert run(cash=900, size={"type": "units", "value": 30}).metrics["trades"] == 1
    assert run(cash=900, size={"type": "notional", "value": 900}).metrics["trades"] == 1


def test_rejected_reversal_still_closes() -> None:
    bars = bars_from(*[(30, 30, 30, 30)] * 3, (60, 60, 60, 60))
    result = run_backtest(
        bars,
        given_signals({"long_entry": [0], "short_entry": [1]}),
        {},
        Execution(allow_short=True, size={"type": "units", "value": 33}, commission_fixed=8),
        cash=1_000.0,
    )
    # 990 + 8 bought, 990 - 8 back: 984 in cash, not enough to sell 33 units short for 990 + 8.
    assert result.metrics["trades"] == 1
    assert result.metrics["rejected_orders"] == 1
    assert result.equity.tolist() == [1000, 992, 984, 984]


def test_equity_fraction_follows_the_equity() -> None:
    bars = bars_from(*[(30, 30, 30, 30)] * 2, *[(60, 60, 60, 60)] * 3)
    signals = {"long_entry": [0, 2], "long_exit": [1]}
    half = {"type": "equity_fraction", "value": 0.5}
    result = run_backtest(bars, given_signals(signals), {}, Execution(size=half), cash=900)
    # 15 units at 30, sold at 60: 1350. Then 675 / 60.
    assert result.trades["size"].tolist() == [15.0, 11.25]


def test_units_beyond_what_a_float_can_floor() -> None:
    tiny = bars_from(*[(1e-15, 1e-15, 1e-15, 1e-15)] * 3)
    result = run_backtest(tiny, given_signals({"long_entry": [0]}), {}, Execution(), cash=1e6)
    assert result.trades["size"].tolist() == pytest.approx([1e21])
    assert result.metrics["final_equity"] == pytest.approx(1e6)
