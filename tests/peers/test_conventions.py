"""What `docs/conventions.md` says that others do with orders at their defaults, on a few bars each."""

import math
from collections.abc import Callable
from typing import Any

import backtesting
import backtrader
import numpy as np
import pandas as pd
import pytest
from backtesting.lib import crossover

from cift_core.engine import Execution, run_backtest
from cift_core.engine.signals import crosses
from tests.engine.samples import bars_from, given_signals
from tests.peers.defaults import (
    Rows,
    on_backtesting_at_defaults,
    on_backtrader_at_defaults,
    on_bar,
    on_vectorbt_at_defaults,
    ours,
    table_of,
)

# backtesting.py 0.6.6 itself uses what pandas 3.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:DatetimeIndex.dayofweek is deprecated")

CALM: Rows = [
    (10.0, 11.0, 9.0, 10.5),
    (12.0, 13.0, 11.0, 12.5),
    (14.0, 15.0, 13.0, 14.5),
    (16.0, 17.0, 15.0, 16.5),
]
LEVEL: Rows = [(100.0, 100.0, 100.0, 100.0)] * 3


def test_a_market_order_fills_at() -> None:
    assert ours(CALM, {"long_entry": [1]}, size={"type": "units", "value": 5}) == [(2, 5.0, 14.0)]
    assert on_vectorbt_at_defaults(CALM, {"entries": [1]}, size=5.0) == [(1, 5.0, 12.5)]
    assert on_backtrader_at_defaults(CALM, on_bar(1, lambda s: s.buy(size=5))) == [(2, 5, 14.0)]
    act = on_bar(1, lambda s: s.buy(size=5))
    assert on_backtesting_at_defaults(CALM, act, finalize_trades=True)[0] == (2, 5, 14.0)


def test_first_signal() -> None:
    rows, first = [*CALM, *CALM], {}

    class OnBacktrader(backtrader.Strategy):  # type: ignore[misc]
        def __init__(self) -> None:
            self.mean = backtrader.indicators.SMA(period=3)

        def next(self) -> None:
            first.setdefault("backtrader", len(self.data) - 1)

    class OnBacktesting(backtesting.Strategy):  # type: ignore[misc]
        def init(self) -> None:
            self.mean = self.I(lambda: pd.Series(self.data.Close).rolling(3).mean())

        def next(self) -> None:
            first.setdefault("backtesting.py", len(self.data) - 1)

    cerebro = backtrader.Cerebro(stdstats=False)
    cerebro.adddata(backtrader.feeds.PandasData(dataname=table_of(rows)))
    cerebro.addstrategy(OnBacktrader)
    cerebro.run()
    backtesting.Backtest(table_of(rows), OnBacktesting).run()
    assert first == {"backtrader": 2, "backtesting.py": 3}  # the mean of three is defined from bar 2 on


def test_a_cross_after_a_tie() -> None:
    a, b = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0])
    up, _ = crosses(a, b)
    assert up.tolist() == [False, False, True]
    assert not crossover(a, b)
    assert pd.Series(a).vbt.crossed_above(pd.Series(b)).tolist() == [False, False, True]
    seen = []

    class OnBacktrader(backtrader.Strategy):  # type: ignore[misc]
        def __init__(self) -> None:
            self.cross = backtrader.indicators.CrossOver(self.data.close, self.data.open)

        def next(self) -> None:
            seen.append(self.cross[0])

    cerebro = backtrader.Cerebro(stdstats=False)
    rows = [(two, 3.0, 1.0, one) for one, two in zip(a, b, strict=True)]
    cerebro.adddata(backtrader.feeds.PandasData(dataname=table_of(rows)))
    cerebro.addstrategy(OnBacktrader)
    cerebro.run()
    assert seen[-1] == 1.0


def test_long_and_short_entry_on_one_bar() -> None:
    assert ours(CALM, {"long_entry": [1], "short_entry": [1]}) == []
    assert on_vectorbt_at_defaults(CALM, {"entries": [1], "short_entries": [1]}, size=5.0) == []
    both = on_bar(1, lambda s: s.buy(size=5), lambda s: s.sell(size=5))
    assert on_backtrader_at_defaults(CALM, both) == [(2, 5, 14.0), (2, -5, 14.0)]
    assert on_backtesting_at_defaults(CALM, both) == [(2, 5, 14.0), (2, -5, 14.0)]


def test_entry_and_exit_of_a_side_on_one_bar() -> None:
    """Of a long position."""
    rows = [*CALM, (18.0, 19.0, 17.0, 18.5)]
    size: Any = {"type": "units", "value": 5}
    assert ours(rows, {"long_entry": [1, 2], "long_exit": [2]}, size=size) == [
        (2, 5.0, 14.0),
        (3, -5.0, 16.0),
    ]
    assert on_vectorbt_at_defaults(rows, {"entries": [1, 2], "exits": [2]}, size=5.0) == [(1, 5.0, 12.5)]

    def act(strategy: Any, i: int, leave: Callable[[Any], Any]) -> None:
        if i == 1:
            strategy.buy(size=5)
        if i == 2:
            strategy.buy(size=3)
            leave(strategy)

    fills = on_backtrader_at_defaults(rows, lambda s, i: act(s, i, lambda s: s.close()))
    assert fills == [(2, 5, 14.0), (3, 3, 16.0), (3, -5, 16.0)]
    with pytest.warns(UserWarning, match="trades remain open at the end"):
        fills = on_backtesting_at_defaults(rows, lambda s, i: act(s, i, lambda s: s.position.close()))
    assert fills == [(2, 5, 14.0), (3, -5, 16.0)]  # and 3 are still open: the exit came first


def test_default_size_and_units() -> None:
    rows = [(7.0, 7.0, 7.0, 7.0)] * 4
    assert ours(rows, {"long_entry": [1]}) == [(2, math.floor(1000 / 7 * 1e8) / 1e8, 7.0)]
    assert on_vectorbt_at_defaults(rows, {"entries": [1]}, size=np.inf) == [(1, 1000 / 7, 7.0)]
    assert on_vectorbt_at_defaults(rows, {"entries": [1]}, size=1.5e-8) == [(1, 1.5e-8, 7.0)]
    assert on_vectorbt_at_defaults(rows, {"entries": [1]}, size=0.5e-8) == []
    assert on_backtrader_at_defaults(rows, on_bar(1, lambda s: s.buy())) == [(2, 1, 7.0)]
    assert on_backtrader_at_defaults(rows, on_bar(1, lambda s: s.buy(size=1e-9))) == [(2, 1e-9, 7.0)]
    act = on_bar(1, lambda s: s.buy())
    assert on_backtesting_at_defaults(rows, act, finalize_trades=True)[0] == (2, 142, 7.0)


def test_too_little_money() -> None:
    assert ours(LEVEL, {"long_entry": [0]}, size={"type": "units", "value": 20}) == []
    assert on_vectorbt_at_defaults(LEVEL, {"entries": [0]}, size=20.0) == [(0, 10.0, 100.0)]
    too_much = on_bar(0, lambda s: s.buy(size=20))
    assert on_backtrader_at_defaults(LEVEL, too_much, refused=1) == []
    act = on_bar(1, lambda s: s.buy(size=20))
    with pytest.warns(UserWarning, match="canceled the order due to insufficient margin"):
        assert on_backtesting_at_defaults([*LEVEL, *LEVEL], act, finalize_trades=True) == []


def test_slippage() -> None:
    rows: Rows = [(100, 100, 100, 100), (100, 101, 99, 100), (100, 101, 80, 90), (90, 90, 90, 90)]
    size: Any = {"type": "units", "value": 1}
    slipped = ours(rows, {"long_entry": [0]}, size=size, slippage_rate=0.05, stop_loss=0.1)
    assert [price for *_, price in slipped] == [105.0, pytest.approx(90 * 0.95)]
    options = {"size": 1.0, "slippage": 0.05, "sl_stop": 0.1}
    fills = on_vectorbt_at_defaults(rows, {"entries": [1]}, **options)
    assert [price for *_, price in fills] == [105.0, 90.0]  # a stop does not slip
    stop = on_bar(
        0,
        lambda s: s.buy(size=1),
        lambda s: s.sell(size=1, exectype=backtrader.Order.Stop, price=90.0),
    )
    fills = on_backtrader_at_defaults(rows, stop, perc=0.05)
    assert [price for *_, price in fills] == [101.0, 85.5]  # the first at the high
    target = on_bar(
        0,
        lambda s: s.buy(size=1),
        lambda s: s.sell(size=1, exectype=backtrader.Order.Limit, price=100.5),
    )
    assert on_backtrader_at_defaults(rows, target, perc=0.05)[1][2] == 100.5  # a target does not
    act = on_bar(1, lambda s: s.buy(size=1, sl=90.0))
    fills = on_backtesting_at_defaults([rows[0], *rows], act, spread=0.05)
    assert [price for *_, price in fills] == [105.0, 90.0]


def test_stop_base_and_first_bar() -> None:
    # entered at the open 100 of bar 1, which closes at 110 after a low of 80
    rows: Rows = [(100, 100, 100, 100), (100, 115, 80, 110), (110, 110, 98, 105), (105, 105, 105, 105)]
    assert ours(rows, {"long_entry": [0]}, stop_loss=0.1) == [(1, 10.0, 100.0), (1, -10.0, 90.0)]
    at_open = {"price": np.array(rows, np.float64)[:, 0].copy(), "size": 10.0, "sl_stop": 0.1}
    assert on_vectorbt_at_defaults(rows, {"entries": [1]}, **at_open) == [(1, 10.0, 100.0), (2, -10.0, 99.0)]
    bracket = on_bar(
        0,
        lambda s: s.buy_bracket(size=10, exectype=backtrader.Order.Market, stopprice=99.0, limitprice=200.0),
    )
    assert on_backtrader_at_defaults(rows, bracket) == [(1, 10, 100.0), (2, -10, 99.0)]
    act = on_bar(1, lambda s: s.buy(size=10, sl=90.0))
    assert on_backtesting_at_defaults([rows[0], *rows], act) == [(2, 10, 100.0), (2, -10, 90.0)]


BOTH: Rows = [*LEVEL[:2], (100, 120, 80, 100), (100, 100, 100, 100)]
BEYOND: Rows = [*LEVEL[:2], (115, 120, 80, 100), (100, 100, 100, 100)]


@pytest.mark.parametrize(("rows", "at_target"), [(BOTH, 110.0), (BEYOND, 115.0)], ids=["inside", "beyond"])
def test_stop_and_target_in_one_bar(rows: Rows, at_target: float) -> None:
    execution: Any = {"size": {"type": "units", "value": 5}, "stop_loss": 0.1, "take_profit": 0.1}
    left = ours(rows, {"long_entry": [0]}, **execution)[1][2]
    assert left == (pytest.approx(at_target) if rows is BEYOND else 90.0)
    fills = on_vectorbt_at_defaults(rows, {"entries": [1]}, size=5.0, sl_stop=0.1, tp_stop=0.1)
    assert fills[1] == (2, -5.0, 90.0)
    act = on_bar(1, lambda s: s.buy(size=5, sl=90.0, tp=110.0))
    assert on_backtesting_at_defaults([LEVEL[0], *rows], act)[1] == (3, -5, 90.0)

    def pair(strategy: Any, first: str) -> None:
        stop = {"exectype": backtrader.Order.Stop, "price": 90.0}
        target = {"exectype": backtrader.Order.Limit, "price": 110.0}
        one, other = (stop, target) if first == "stop" else (target, stop)
        order = strategy.sell(size=5, **one)
        strategy.sell(size=5, oco=order, **other)

    for first, price in (("stop", 90.0), ("target", at_target)):
        in_order = on_bar(0, lambda s: s.buy(size=5), lambda s, first=first: pair(s, first))
        assert on_backtrader_at_defaults(rows, in_order)[1] == (2, -5, price)


def test_exit_ordered_on_the_bar_before_and_a_stop_touched() -> None:
    rows: Rows = [*LEVEL, (99, 99, 80, 95)]
    size: Any = {"type": "units", "value": 5}
    assert ours(rows, {"long_entry": [0], "long_exit": [2]}, size=size, stop_loss=0.1)[1] == (3, -5.0, 99.0)
    at_open = {"price": np.array(rows, np.float64)[:, 0].copy(), "size": 5.0, "sl_stop": 0.1}
    assert on_vectorbt_at_defaults(rows, {"entries": [1], "exits": [3]}, **at_open)[1] == (3, -5.0, 90.0)

    def act(strategy: Any, i: int) -> None:
        if i == 0:
            strategy.buy(size=5)
            strategy.guard = strategy.sell(size=5, exectype=backtrader.Order.Stop, price=90.0)
        if i == 2:
            strategy.close(oco=strategy.guard)

    assert on_backtrader_at_defaults(rows, act)[1] == (3, -5, 90.0)

    later = [LEVEL[0], *rows]
    held = on_bar(1, lambda s: s.buy(size=5, sl=90.0))

    def then(strategy: Any, i: int, leave: Callable[[Any], Any]) -> None:
        held(strategy, i)
        if i == 3:
            leave(strategy)

    closed = on_backtesting_at_defaults(later, lambda s, i: then(s, i, lambda s: s.position.close()))
    assert closed == [(2, 5, 100.0), (4, -5, 99.0)]
    sold = on_backtesting_at_defaults(
        later, lambda s, i: then(s, i, lambda s: s.sell(size=5)), finalize_trades=True
    )
    assert sold[:2] == [(2, 5, 100.0), (4, -5, 90.0)]


def test_open_position_at_the_end() -> None:
    assert [fill[0] for fill in ours(CALM, {"long_entry": [1]}, close_at_end=True)] == [2, 3]
    assert len(on_vectorbt_at_defaults(CALM, {"entries": [1]}, size=5.0)) == 1
    act = on_bar(1, lambda s: s.buy(size=5))
    assert len(on_backtrader_at_defaults(CALM, act)) == 1
    with pytest.warns(UserWarning, match="trades remain open at the end"):
        assert on_backtesting_at_defaults(CALM, act) == []
    assert on_backtesting_at_defaults(CALM, act, finalize_trades=True)[1] == (3, -5, 16.0)


def test_a_reversal_and_a_fixed_commission() -> None:
    bars = bars_from(*CALM)
    execution = Execution(
        allow_short=True, commission_fixed=1.0, size={"type": "units", "value": 5}, close_at_end=False
    )
    signals = given_signals({"long_entry": [0], "short_entry": [1]})
    assert run_backtest(bars, signals, {}, execution, cash=1000.0).metrics["fees_paid"] == 3.0
    fills = on_vectorbt_at_defaults(
        CALM, {"entries": [0], "short_entries": [1]}, size=5.0, fixed_fees=1.0, upon_opposite_entry="reverse"
    )
    assert [units for _, units, _ in fills] == [5.0, -10.0]
