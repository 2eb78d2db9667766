"""Several symbols on one cash account, worked out by hand."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cift_core.engine import (
    Bars,
    EntryOrder,
    Execution,
    Result,
    Signals,
    run_backtest,
    run_portfolio,
)
from cift_core.errors import InvalidInput
from cift_core.strategies import STRATEGIES
from tests.engine.samples import at_prices, bars_from, each_told, given_signals, part, sample, shown
from tests.engine.test_against_reference import executions, signal_tables

UNITS_10 = {"type": "units", "value": 10}


def told(bars: Bars, orders: dict[str, EntryOrder] | None = None, **at: list[int]) -> Signals:
    """Signals at the given bars of one symbol, by name."""
    flags = [np.zeros(len(bars), np.bool_) for _ in range(4)]
    for name, numbers in at.items():
        flags[Signals._fields.index(name)][numbers] = True
    return Signals(*flags, **(orders or {}))


def run(
    panel: dict[str, Bars], signals: list[dict[str, Any]], cash: float = 1_000.0, **execution: Any
) -> Result:
    strategy = each_told(panel, [told(b, **s) for b, s in zip(panel.values(), signals, strict=True)])
    return run_portfolio(panel, strategy, {}, Execution(**execution), cash=cash)


@pytest.mark.parametrize("fill", ["next_open", "same_close"])
def test_an_exit_pays_for_the_entry_of_an_earlier_symbol(fill: str) -> None:
    panel = {"A": at_prices(10, 10, 10, 10, 12), "B": at_prices(5, 5, 5, 6, 6)}
    first = [{"long_entry": [2]}, {"long_entry": [0], "long_exit": [2]}]
    result = run(panel, first, fill=fill, size={"type": "equity_fraction", "value": 1.0})
    money = 1200 if fill == "next_open" else 1000
    assert shown(result) == [
        (1, "long", 200.0, 5.0, money / 200, money - 1000.0, "signal"),
        (0, "long", money / 10, 10.0, 12.0, money / 10 * 2.0, "end"),
    ]
    assert result.metrics["rejected_orders"] == 0


def test_a_reversal_pays_for_the_entry_of_an_earlier_symbol_that_leaves_nothing() -> None:
    # B turns from long to short: its money goes to A, then nothing is left to go short on
    panel = {"A": at_prices(10, 10, 10, 12), "B": at_prices(5, 5, 5, 5)}
    signals = [{"long_entry": [1]}, {"long_entry": [0], "short_entry": [1]}]
    size = {"type": "equity_fraction", "value": 1.0}
    result = run(panel, signals, size=size, allow_short=True)
    assert shown(result) == [
        (1, "long", 200.0, 5.0, 5.0, 0.0, "signal"),
        (0, "long", 100.0, 10.0, 12.0, 200.0, "end"),
    ]
    assert result.metrics["rejected_orders"] == 1


def test_a_level_that_the_open_is_beyond_pays_for_an_entry_and_one_inside_the_bar_does_not() -> None:
    entries = [{"long_entry": [1]}, {"long_entry": [0]}]
    a = at_prices(10, 10, 10, 10)
    all_in = {"size": {"type": "equity_fraction", "value": 1.0}, "stop_loss": 0.1}
    gap = bars_from((5, 5, 5, 5), (5, 5, 5, 5), (4, 4, 4, 4), (4, 4, 4, 4))
    result = run({"A": a, "B": gap}, entries, **all_in)
    assert shown(result)[:1] == [(1, "long", 200.0, 5.0, 4.0, -200.0, "stop_loss")]
    assert shown(result)[1:] == [(0, "long", 80.0, 10.0, 10.0, 0.0, "end")]
    inside = bars_from((5, 5, 5, 5), (5, 5, 5, 5), (5, 5, 4, 4), (4, 4, 4, 4))
    result = run({"A": a, "B": inside}, entries, **all_in)
    assert shown(result) == [(1, "long", 200.0, 5.0, 4.5, -100.0, "stop_loss")]
    assert result.metrics["rejected_orders"] == 1


def test_a_stop_inside_the_bar_pays_for_a_limit_that_is_reached_in_it() -> None:
    a = bars_from((10, 10, 10, 10), (10, 10, 10, 10), (10, 10, 8, 10), (10, 10, 10, 10))
    b = bars_from((5, 5, 5, 5), (5, 5, 5, 5), (5, 5, 4, 4), (4, 4, 4, 4))
    limit = {"long_order": EntryOrder("limit", np.full(4, 9.0))}
    size = {"type": "equity_fraction", "value": 1.0}
    signals: list[dict[str, Any]] = [
        {"long_entry": [1], "orders": limit},
        {"long_entry": [0], "orders": {"long_order": EntryOrder("limit", np.full(4, 5.0))}},
    ]
    result = run({"A": a, "B": b}, signals, size=size, stop_loss=0.05)
    assert shown(result)[0] == (1, "long", 200.0, 5.0, 4.75, -50.0, "stop_loss")
    # 950 at 9, stopped in the same bar at 0.95 of the signal's close
    assert shown(result)[1][:5] == (0, "long", 105.55555555, 9.0, 9.0)


def test_each_symbol_places_its_orders_in_its_own_way() -> None:
    panel = {
        "A": at_prices(10, 10, 9, 9, 12),
        "B": at_prices(10, 11, 9, 9, 12),
        "C": at_prices(10, 10, 11, 12, 12),
        "D": at_prices(10, 10, 10, 9, 12),
    }
    limit = EntryOrder("limit", np.full(5, 9.0), good_for=2)
    signals: list[dict[str, Any]] = [
        {"long_entry": [0], "orders": {"long_order": limit}},
        {"long_entry": [0], "short_entry": [2]},
        {"long_entry": [0], "orders": {"long_order": EntryOrder("stop", np.full(5, 10.5), good_for=3)}},
        {"long_entry": [0], "orders": {"long_order": limit}},
    ]
    result = run(panel, signals, size={"type": "units", "value": 1}, allow_short=True)
    fills = sorted((symbol, side, entry) for symbol, side, _, entry, *_ in shown(result))
    assert fills == [(0, "long", 9.0), (1, "long", 11.0), (1, "short", 9.0), (2, "long", 11.0)]


def test_an_equal_share_of_the_equity_is_the_default() -> None:
    panel = {name: at_prices(10, 10, 20) for name in "ABCD"}
    result = run(panel, [{"long_entry": [0]}] * 4)
    assert [(s, size) for s, _, size, *_ in shown(result)] == [(0, 25.0), (1, 25.0), (2, 25.0), (3, 25.0)]


@pytest.mark.parametrize("side", ["long", "short"])
def test_a_share_is_cut_to_the_buying_power_whatever_the_side_of_the_others(side: str) -> None:
    # 0.7 of 1000 each, long or short; 300 are left for the second, less its fees
    panel = {"A": at_prices(10, 10, 10), "B": at_prices(10, 10, 10)}
    size = {"type": "equity_fraction", "value": 0.7}
    signals = [{f"{side}_entry": [0]}, {"long_entry": [0]}]
    result = run(panel, signals, size=size, allow_short=True, commission_fixed=20)
    # (700 - 20) / 10; then the equity is 980, less 680
    assert [size for _, _, size, *_ in shown(result)] == [68.0, 28.0]


def test_units_beyond_the_buying_power_are_rejected() -> None:
    for prices, rejected in (((60, 40), 0), ((60, 40.1), 1), ((60.1, 40), 1)):
        panel = {name: at_prices(*[price] * 3) for name, price in zip("AB", prices, strict=True)}
        for side in ("long_entry", "short_entry"):
            result = run(panel, [{side: [0]}, {"long_entry": [0]}], size=UNITS_10, allow_short=True)
            assert result.metrics["rejected_orders"] == rejected
            assert len(result.trades) == 2 - rejected


def test_entries_are_sized_on_the_equity_at_the_opens_of_their_time() -> None:
    # A is bought for 500 at 10; at B's entry it opens at 14 (equity 1200) and closes at 20
    a = bars_from((10, 10, 10, 10), (10, 10, 10, 10), (14, 20, 14, 20), (20, 20, 20, 20))
    panel = {"A": a, "B": at_prices(10, 10, 10, 10)}
    result = run(panel, [{"long_entry": [0]}, {"long_entry": [1]}])
    assert [size for _, _, size, *_ in shown(result)] == [50.0, 50.0]  # 600, but 500 of cash
    half = {"type": "equity_fraction", "value": 0.4}
    result = run(panel, [{"long_entry": [0]}, {"long_entry": [1]}], size=half)
    assert [size for _, _, size, *_ in shown(result)] == [40.0, 46.4]  # 0.4 * (600 + 40 * 14) / 10


def test_a_symbol_without_a_bar_is_not_traded_and_marked_at_its_last_close() -> None:
    # A has no bar on day 2: its exit of day 1 fills on day 3, and B's entry of day 2 is sized on A at 11
    a = at_prices(10, 10, 14, 14, days=[0, 1, 3, 4])
    a = Bars(
        time=a.time,
        open=a.open,
        high=np.array([10.0, 11.0, 14.0, 14.0]),
        low=a.low,
        close=np.array([10.0, 11.0, 14.0, 14.0]),
        interval="1d",
    )
    panel = {"A": a, "B": at_prices(5, 5, 5, 5, 5)}
    size = {"type": "equity_fraction", "value": 0.4}
    result = run(panel, [{"long_entry": [0], "long_exit": [1]}, {"long_entry": [1]}], size=size)
    assert shown(result) == [
        (0, "long", 40.0, 10.0, 14.0, 160.0, "signal"),
        (1, "long", 83.2, 5.0, 5.0, 0.0, "end"),  # 0.4 * (600 + 40 * 11) / 5
    ]
    assert result.trades["exit_time"].tolist() == [result.time[3], result.time[4]]
    assert result.trades["bars_held"].tolist() == [1, 2]
    assert result.equity.tolist() == [1000.0, 1040.0, 1040.0, 1160.0, 1160.0]
    assert result.metrics["exposure"] == 3 / 5


def test_a_symbol_that_ends_earlier_is_closed_at_its_own_last_bar() -> None:
    panel = {"A": at_prices(10, 10, 15), "B": at_prices(10, 10, 10, 10, 20)}
    result = run(panel, [{"long_entry": [0]}, {"long_entry": [2]}], commission_fixed=1)
    # (1000 / 2 - 1) / 10; then (0.5 * (1000 - 2 + 49.9 * 5) - 1) / 10
    assert shown(result) == [
        (0, "long", 49.9, 10.0, 15.0, 49.9 * 5 - 2, "end"),
        (1, "long", 62.275, 10.0, 20.0, 62.275 * 10 - 2, "end"),
    ]
    assert result.trades["exit_time"].tolist() == [result.time[2], result.time[4]]


def test_what_is_left_open_stays_marked_at_its_last_close() -> None:
    panel = {"A": at_prices(10, 10, 15), "B": at_prices(10, 10, 10, 10, 20)}
    result = run(panel, [{"long_entry": [0]}, {"long_entry": [2]}], close_at_end=False)
    assert shown(result) == []
    assert result.equity.tolist() == [1000.0, 1000.0, 1250.0, 1250.0, 1750.0]  # 500 of cash for the second
    left = result.metrics["open_positions"]
    assert [(p["symbol"], p["size"], p["mark_price"], p["bars_held"]) for p in left] == [
        ("A", 50.0, 15.0, 1),
        ("B", 50.0, 20.0, 1),
    ]
    assert result.metrics["exposure"] == 4 / 5


def test_signals_of_a_symbols_last_bar_fill_nothing_at_the_same_close() -> None:
    panel = {"A": at_prices(10, 10), "B": at_prices(10, 10, 10)}
    result = run(panel, [{"long_entry": [1]}, {"long_entry": [1]}], fill="same_close")
    assert [(s, size) for s, _, size, *_ in shown(result)] == [(1, 50.0)]
    assert result.metrics["rejected_orders"] == 0


def test_ruin_closes_every_position_one_without_a_bar_at_its_last_close() -> None:
    # short 50 of A at 10, long 50 of B at 10; B has no bar when A goes to 40
    panel = {"A": at_prices(10, 10, 10, 40, 5), "B": at_prices(10, 10, 11, 12, days=[0, 1, 2, 4])}
    result = run(panel, [{"short_entry": [0]}, {"long_entry": [0]}], allow_short=True)
    assert shown(result) == [
        (0, "short", 50.0, 10.0, 40.0, -1500.0, "ruin"),
        (1, "long", 50.0, 10.0, 11.0, 50.0, "ruin"),
    ]
    assert result.trades["exit_time"].tolist() == [result.time[3], result.time[3]]
    assert result.trades["bars_held"].tolist() == [2, 1]
    assert result.equity.tolist() == [1000.0, 1000.0, 1050.0, 0.0, 0.0]
    assert result.metrics["ruined"] is True


def test_bars_of_different_intervals_are_refused() -> None:
    panel = {"AAPL": sample("AAPL"), "XAUUSD": sample("XAUUSD")}
    detail = "the symbols of a run must have bars of one interval, got AAPL 1d, XAUUSD 1h"
    with pytest.raises(InvalidInput, match=f"^{detail}$") as caught:
        run_portfolio(panel, STRATEGIES["sma_cross"], {})
    assert [error.pointer for error in caught.value.errors] == ["/bars"]


def test_no_symbols_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"got no symbols$") as caught:
        run_portfolio({}, STRATEGIES["sma_cross"], {})
    assert caught.value.code == "invalid_bars"


def test_min_trade_value_is_refused_with_signals() -> None:
    detail = "min_trade_value must be left out: sma_cross gives signals"
    with pytest.raises(InvalidInput, match=f"^{detail}$") as caught:
        run_portfolio({"IBM": sample("IBM")}, STRATEGIES["sma_cross"], {}, Execution(min_trade_value=1.0))
    assert [error.pointer for error in caught.value.errors] == ["/execution/min_trade_value"]


@settings(max_examples=60)
@given(st.data())
def test_one_symbol_is_run_backtest_to_the_last_bit(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, 2_800))
    bars = part(sample(data.draw(st.sampled_from(["AAPL", "IBM", "XAUUSD"]))), start, start + 400)
    strategy, execution = given_signals(data.draw(signal_tables(400))), data.draw(executions())
    one = run_backtest(bars, strategy, {}, execution)
    several = run_portfolio({"X": bars}, strategy, {}, execution)
    assert several.trades.tobytes() == one.trades.tobytes()
    for curve in ("time", "equity", "cash", "position_value", "drawdown"):
        assert getattr(several, curve).tobytes() == getattr(one, curve).tobytes()
    left, lefts = one.metrics["open_position"], several.metrics["open_positions"]
    assert lefts == ([{"symbol": "X", **left}] if left else [])
    assert {**several.metrics, "open_position": left} == {**one.metrics, "open_positions": lefts}
