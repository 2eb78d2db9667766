"""The compiled engine does exactly, to the last bit, what the slow reference does."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cift_core.engine import (
    EXIT_REASONS,
    SIDES,
    Bars,
    EntryOrder,
    Execution,
    Result,
    run_backtest,
    run_sweep,
)
from tests.engine import reference
from tests.engine.samples import given_signals, part, sample

RATES = st.sampled_from([0.0, 0.0005, 0.002, 0.03])
LEVELS = st.none() | st.floats(0.001, 0.2)


@st.composite
def executions(draw: st.DrawFn) -> Execution:
    kind = draw(st.sampled_from(["default", "equity_fraction", "units", "notional"]))
    value: Any = {
        "default": st.none(),
        "equity_fraction": st.floats(0.05, 1.0),
        "units": st.floats(0.5, 60.0),
        "notional": st.floats(50.0, 6_000.0),
    }[kind]
    return Execution(
        fill=draw(st.sampled_from(["next_open", "same_close"])),
        commission_rate=draw(RATES),
        commission_fixed=draw(st.sampled_from([0.0, 1.0, 25.0])),
        slippage_rate=draw(RATES),
        allow_short=draw(st.booleans()),
        size=None if kind == "default" else {"type": kind, "value": draw(value)},
        fractional=draw(st.booleans()),
        stop_loss=draw(LEVELS),
        take_profit=draw(LEVELS),
        trailing_stop=draw(LEVELS),
        stop_base=draw(st.sampled_from(["signal_close", "fill"])),
        close_at_end=draw(st.booleans()),
        good_for=draw(st.integers(1, 5)),
    )


@st.composite
def real_bars(draw: st.DrawFn) -> Bars:
    whole = sample(draw(st.sampled_from(["AAPL", "IBM", "MSFT", "XAUUSD"])))
    n = draw(st.integers(1, 400))
    start = draw(st.integers(0, len(whole) - n))
    return part(whole, start, start + n)


@st.composite
def signal_tables(draw: st.DrawFn, n: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    share = draw(st.sampled_from([0.01, 0.1, 0.5]))
    seed = draw(st.integers(0, 2**32 - 1))
    return np.random.default_rng(seed).random((4, n)) < share


@st.composite
def entry_orders(draw: st.DrawFn, bars: Bars) -> EntryOrder | None:
    """At the market, or all at a price around each close, on it, or at times none."""
    kind: Any = draw(st.sampled_from([None, "limit", "stop"]))
    if kind is None:
        return None
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    width, good_for = draw(st.sampled_from([0.0, 0.002, 0.02])), draw(st.none() | st.integers(1, 30))
    price = bars.close * (1 + width * random.standard_normal(len(bars)))
    price[random.random(len(bars)) < 0.1] = np.nan
    return EntryOrder(kind, price, good_for)


def assert_equal(result: Result, run: reference.Run, bars: Bars) -> None:
    assert result.equity.tolist() == run.equity
    assert result.cash.tolist() == run.cash_curve
    assert result.position_value.tolist() == run.values
    assert result.metrics["rejected_orders"] == run.rejected
    assert result.metrics["ruined"] is run.ruined
    assert result.metrics["fees_paid"] == run.fees
    rows = [
        {
            "side": SIDES[t["side"]],
            "size": t["size"],
            "entry_price": t["entry_price"],
            "exit_price": t["exit_price"],
            "pnl": t["pnl"],
            "return": t["return"],
            "fees": t["fees"],
            "exit_reason": EXIT_REASONS[t["exit_reason"]],
            "entry_bar": int(np.searchsorted(bars.time, t["entry_time"])),
            "exit_bar": int(np.searchsorted(bars.time, t["exit_time"])),
        }
        for t in result.trades
    ]
    assert rows == run.trades
    assert [t["bars_held"] for t in result.trades] == [t["exit_bar"] - t["entry_bar"] for t in run.trades]
    left = result.metrics["open_position"]
    assert (left is None) == (run.position is None)
    if run.position:
        assert left["size"] == run.position.units
        assert left["side"] == ("long" if run.position.side == 1 else "short")
        assert left["entry_price"] == run.position.price
        assert left["bars_held"] == len(bars) - 1 - run.position.bar


@settings(max_examples=400, suppress_health_check=[HealthCheck.data_too_large])
@given(st.data())
def test_kernel_equals_reference(data: st.DataObject) -> None:
    bars, execution = data.draw(real_bars()), data.draw(executions())
    table = data.draw(signal_tables(len(bars)))
    cash = data.draw(st.sampled_from([300.0, 10_000.0, 1e6]))
    long_order, short_order = data.draw(entry_orders(bars)), data.draw(entry_orders(bars))
    strategy = given_signals(table, long_order, short_order)
    result = run_backtest(bars, strategy, {}, execution, cash=cash)
    orders = {1: long_order, -1: short_order}
    assert_equal(result, reference.simulate(bars, table, execution, cash, orders), bars)

    swept = run_sweep(bars, strategy, [{}], execution, cash=cash)
    for name, value in result.metrics.items():
        if name == "open_position":
            assert bool(swept[name][0]) == (value is not None)
        elif value is None:
            assert np.isnan(swept[name][0])
        else:
            assert swept[name][0] == value


@pytest.mark.parametrize("symbol", ["AAPL", "IBM", "MSFT", "XAUUSD"])
def test_kernel_equals_reference_on_all_bars(symbol: str) -> None:
    bars = sample(symbol)
    table = np.random.default_rng(7).random((4, len(bars))) < 0.05
    execution = Execution(
        commission_rate=0.0002,
        slippage_rate=0.0001,
        allow_short=True,
        size={"type": "equity_fraction", "value": 0.5},
        stop_loss=0.04,
        take_profit=0.06,
        trailing_stop=0.05,
    )
    result = run_backtest(bars, given_signals(table), {}, execution, cash=50_000)
    assert result.metrics["trades"] > 50
    assert_equal(result, reference.simulate(bars, table, execution, 50_000.0), bars)
