"""What holds for every run whatever the prices, signals and execution: of money, of scale, of time and of
direction."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cift_core.engine import Bars, EntryOrder, Execution, Panel, Result, run_backtest, run_portfolio
from tests.engine.samples import by_weights, each_told, given_signals, part
from tests.engine.test_against_reference import entry_orders, executions, real_bars, signal_tables
from tests.engine.test_portfolio_against_reference import (
    CASH,
    panels,
    signals_of,
    weight_executions,
    weight_rows,
)

Orders = tuple[EntryOrder | None, EntryOrder | None]

RICH = 1e7  # no entry of the fixed sizes drawn here is ever rejected, and nothing ruins
CURVES = ("equity", "cash", "position_value")
MONEY_OF_A_TRADE = ("entry_price", "exit_price", "pnl", "fees")
MONEY_FIGURES = ("final_equity", "expectancy", "fees_paid")
MONEY_OF_A_POSITION = ("entry_price", "mark_price", "unrealized_pnl")
real = settings(max_examples=60, suppress_health_check=[HealthCheck.data_too_large])


def scaled(bars: Bars, by: float) -> Bars:
    prices = {name: getattr(bars, name) * by for name in ("open", "high", "low", "close")}
    return Bars(time=bars.time, **prices, volume=bars.volume, interval=bars.interval)


def scaled_orders(orders: Orders, by: float) -> list[EntryOrder | None]:
    return [order and order._replace(price=order.price * by) for order in orders]


def scaled_execution(execution: Execution, by: float) -> Execution:
    size: Any = execution.size
    if size is not None and size["type"] == "notional":
        size = {"type": "notional", "value": size["value"] * by}
    return replace(
        execution,
        commission_fixed=execution.commission_fixed * by,
        min_trade_value=execution.min_trade_value * by,
        size=size,
    )


def money_scaled(result: Result, by: float) -> dict[str, Any]:
    """All that a result says, its amounts of money times `by`."""
    said: dict[str, Any] = {curve: getattr(result, curve) * by for curve in CURVES}
    said |= {"drawdown": result.drawdown, "time": result.time}
    said |= {
        n: result.trades[n] * (by if n in MONEY_OF_A_TRADE else 1) for n in result.trades.dtype.names or ()
    }
    left = result.metrics.get("open_positions") or [result.metrics["open_position"]]
    positions = [
        {n: x * by if n in MONEY_OF_A_POSITION else x for n, x in one.items()} for one in left if one
    ]
    figures = {n: x * by if n in MONEY_FIGURES and x is not None else x for n, x in result.metrics.items()}
    return said | figures | {"open_position": positions, "open_positions": positions}


def assert_sound(result: Result, cash: float) -> None:
    """The books balance, every number is one, and the trades of one symbol follow one another."""
    np.testing.assert_array_equal(result.cash + result.position_value, result.equity)
    json.dumps(result.metrics, allow_nan=False)
    assert all(np.isfinite(getattr(result, curve)).all() for curve in (*CURVES, "drawdown"))
    assert all(np.isfinite(result.trades[name]).all() for name in result.trades.dtype.names or ())
    lefts = result.metrics.get("open_positions") or [result.metrics["open_position"]]
    unrealized = sum(left["unrealized_pnl"] for left in lefts if left)
    gained = result.trades["pnl"].sum() + unrealized
    if result.metrics["ruined"]:
        assert gained <= -cash * (1 - 1e-9)
        assert result.metrics["final_equity"] == 0.0
    else:
        # what was ever traded bounds the error of the sums
        traded = (result.trades["size"] * result.trades["entry_price"]).sum()
        assert result.equity[-1] - cash == pytest.approx(gained, rel=1e-9, abs=1e-12 * (cash + traded))
    if not any(lefts):
        assert result.trades["fees"].sum() == pytest.approx(result.metrics["fees_paid"])
    assert (np.diff(result.trades["exit_time"]) >= 0).all()
    assert (result.trades["exit_time"] >= result.trades["entry_time"]).all()
    assert (result.trades["size"] > 0).all()
    assert len(result.trades) == result.metrics["trades"]


def assert_one_at_a_time(result: Result) -> None:
    for symbol in np.unique(result.trades["symbol"]):
        own = result.trades[result.trades["symbol"] == symbol]
        assert (own["entry_time"][1:] >= own["exit_time"][:-1]).all()


@real
@given(st.data())
def test_the_books_of_one_symbol_balance(data: st.DataObject) -> None:
    bars, execution, cash = data.draw(real_bars()), data.draw(executions()), data.draw(CASH)
    table = data.draw(signal_tables(len(bars)))
    long_order, short_order = data.draw(entry_orders(bars)), data.draw(entry_orders(bars))
    result = run_backtest(bars, given_signals(table, long_order, short_order), {}, execution, cash=cash)
    assert_sound(result, cash)
    assert_one_at_a_time(result)


@real
@given(st.data())
def test_the_books_of_several_symbols_balance(data: st.DataObject) -> None:
    panel, execution, cash = data.draw(panels()), data.draw(executions()), data.draw(CASH)
    result = run_portfolio(panel, each_told(panel, data.draw(signals_of(panel))), {}, execution, cash=cash)
    assert_sound(result, cash)
    assert_one_at_a_time(result)


@real
@given(st.data())
def test_the_books_of_target_weights_balance(data: st.DataObject) -> None:
    panel, execution, cash = data.draw(panels()), data.draw(weight_executions()), data.draw(CASH)
    weights = data.draw(weight_rows(len(Panel(panel)), len(panel)))
    assert_sound(run_portfolio(panel, by_weights(weights), {}, execution, cash=cash), cash)


@real
@given(st.data(), st.integers(-8, 8))
def test_a_power_of_two_scales_the_money_and_nothing_else(data: st.DataObject, power: int) -> None:
    by = 2.0**power  # exact in binary, so every rounding is the same
    bars, execution, cash = data.draw(real_bars()), data.draw(executions()), data.draw(CASH)
    table = data.draw(signal_tables(len(bars)))
    long_order, short_order = data.draw(entry_orders(bars)), data.draw(entry_orders(bars))
    one = run_backtest(bars, given_signals(table, long_order, short_order), {}, execution, cash=cash)
    strategy = given_signals(table, *scaled_orders((long_order, short_order), by))
    other = run_backtest(scaled(bars, by), strategy, {}, scaled_execution(execution, by), cash=cash * by)
    np.testing.assert_equal(money_scaled(other, 1.0), money_scaled(one, by))


@real
@given(st.data(), st.integers(-8, 8))
def test_a_power_of_two_scales_the_money_of_a_portfolio(data: st.DataObject, power: int) -> None:
    by = 2.0**power
    panel, execution, cash = data.draw(panels()), data.draw(weight_executions()), data.draw(CASH)
    strategy = by_weights(data.draw(weight_rows(len(Panel(panel)), len(panel))))
    one = run_portfolio(panel, strategy, {}, execution, cash=cash)
    dearer = {symbol: scaled(bars, by) for symbol, bars in panel.items()}
    other = run_portfolio(dearer, strategy, {}, scaled_execution(execution, by), cash=cash * by)
    np.testing.assert_equal(money_scaled(other, 1.0), money_scaled(one, by))


@real
@given(st.data(), st.floats(0.01, 100.0))
def test_any_factor_scales_the_money_within_rounding(data: st.DataObject, by: float) -> None:
    # fractions of a unit, and levels that no price can meet exactly: there a last bit would decide
    levels = {
        name: data.draw(st.sampled_from([None, np.pi / 100])) for name in ("stop_loss", "trailing_stop")
    }
    execution = replace(data.draw(executions()), fractional=True, take_profit=np.e / 50, **levels)
    bars = data.draw(real_bars())
    table = data.draw(signal_tables(len(bars)))
    one = run_backtest(bars, given_signals(table), {}, execution)
    execution = scaled_execution(execution, by)
    other = run_backtest(scaled(bars, by), given_signals(table), {}, execution, cash=10_000 * by)
    np.testing.assert_allclose(other.equity, one.equity * by, rtol=1e-6)
    for name in ("side", "entry_time", "exit_time", "exit_reason"):
        np.testing.assert_array_equal(other.trades[name], one.trades[name])


def fixed_units(data: st.DataObject, **fields: Any) -> Execution:
    """An execution whose fills depend on the prices and signals alone."""
    size = {"type": "units", "value": data.draw(st.integers(1, 120)) / 2}
    return replace(data.draw(executions()), size=size, fractional=True, stop_base="signal_close", **fields)


@real
@given(st.data())
def test_higher_costs_never_pay(data: st.DataObject) -> None:
    bars, execution = data.draw(real_bars()), fixed_units(data)
    table = data.draw(signal_tables(len(bars)))
    strategy = given_signals(table, *(data.draw(entry_orders(bars)) for _ in range(2)))
    one = run_backtest(bars, strategy, {}, execution, cash=RICH)
    cost = data.draw(st.sampled_from(["commission_rate", "commission_fixed", "slippage_rate"]))
    dearer = replace(execution, **{cost: getattr(execution, cost) + 0.001})
    other = run_backtest(bars, strategy, {}, dearer, cash=RICH)
    assert other.trades["exit_time"].tolist() == one.trades["exit_time"].tolist()
    assert (other.equity <= one.equity).all()
    if len(one.trades):
        assert other.equity[-1] < one.equity[-1]


@real
@given(st.data())
def test_two_parts_that_meet_flat_are_the_whole(data: st.DataObject) -> None:
    bars = data.draw(real_bars().filter(lambda bars: len(bars) > 3))
    n, cut = len(bars), data.draw(st.integers(2, len(bars) - 1))
    execution, table = fixed_units(data), data.draw(signal_tables(n))
    table[:, cut - 2], table[:, cut - 1] = [False, True, False, True], False  # leave everything, ask nothing
    orders = [data.draw(entry_orders(bars)) for _ in range(2)]

    def run(start: int, stop: int) -> Result:
        own = [order and order._replace(price=order.price[start:stop]) for order in orders]
        strategy = given_signals(table[:, start:stop], *own)
        return run_backtest(part(bars, start, stop), strategy, {}, execution, cash=RICH)

    whole, before, after = run(0, n), run(0, cut), run(cut, n)
    assert whole.trades.tolist() == [*before.trades.tolist(), *after.trades.tolist()]
    np.testing.assert_array_equal(whole.equity[:cut], before.equity)
    gained = before.equity[-1] - RICH
    np.testing.assert_allclose(whole.equity[cut:], after.equity + gained, rtol=1e-13)


def on_a_grid(prices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Prices in 64ths, of which sums, differences and products with the sizes drawn here are exact."""
    return np.round(prices * 64) / 64


@real
@given(st.data())
def test_in_a_mirror_longs_are_shorts(data: st.DataObject) -> None:
    drawn = data.draw(real_bars())
    o, h, low, c = (on_a_grid(x) for x in (drawn.open, drawn.high, drawn.low, drawn.close))
    bars = Bars(time=drawn.time, open=o, high=h, low=low, close=c, interval="1d")
    top = 1.0 + np.ceil(h.max())
    mirror = Bars(time=bars.time, open=top - o, high=top - low, low=top - h, close=top - c, interval="1d")
    execution = Execution(
        allow_short=True,
        size=fixed_units(data).size,
        fill=data.draw(st.sampled_from(["next_open", "same_close"])),
        good_for=data.draw(st.integers(1, 5)),
        close_at_end=data.draw(st.booleans()),
    )
    table = data.draw(signal_tables(len(bars)))
    long_order, short_order = (data.draw(entry_orders(bars)) for _ in range(2))
    long_order, short_order = (
        order and order._replace(price=on_a_grid(order.price)) for order in (long_order, short_order)
    )
    one = run_backtest(bars, given_signals(table, long_order, short_order), {}, execution, cash=RICH)
    swapped = [order and order._replace(price=top - order.price) for order in (short_order, long_order)]
    other = run_backtest(mirror, given_signals(table[[2, 3, 0, 1]], *swapped), {}, execution, cash=RICH)
    np.testing.assert_array_equal(other.equity, one.equity)
    np.testing.assert_array_equal(other.trades["side"], 1 - one.trades["side"])
    for price in ("entry_price", "exit_price"):
        np.testing.assert_array_equal(other.trades[price], top - one.trades[price])
    for name in ("size", "entry_time", "exit_time", "pnl", "bars_held", "exit_reason"):
        np.testing.assert_array_equal(other.trades[name], one.trades[name])
