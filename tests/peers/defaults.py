"""A few bars as each library runs them at its defaults."""

from collections.abc import Callable
from typing import Any

import backtesting
import backtrader
import numpy as np
import pandas as pd

from cift_core.engine import Execution, run_backtest
from tests.engine.samples import bars_from, given_signals
from tests.peers import on_vectorbt

Rows = list[tuple[float, float, float, float]]
# What a strategy of either library does on bar i.
Act = Callable[[Any, int], Any]
Fills = list[tuple[int, float, float]]


def table_of(rows: Rows) -> pd.DataFrame:
    index = pd.date_range("2020-01-01", periods=len(rows))
    return pd.DataFrame(rows, index=index, columns=["Open", "High", "Low", "Close"])


def ours(rows: Rows, signals: dict[str, list[int]], cash: float = 1000.0, **execution: Any) -> Fills:
    """Bar, units (below 0: sold) and price of each fill."""
    bars = bars_from(*rows)
    execution = {"allow_short": True, "close_at_end": False} | execution
    result = run_backtest(bars, given_signals(signals), {}, Execution(**execution), cash=cash)
    fills = []
    for t in result.trades:
        units = t["size"] * (1 - 2 * t["side"])
        fills.append((int(np.searchsorted(bars.time, t["entry_time"])), units, t["entry_price"]))
        fills.append((int(np.searchsorted(bars.time, t["exit_time"])), -units, t["exit_price"]))
    left = result.metrics["open_position"]
    if left:
        sign = 1 if left["side"] == "long" else -1
        fills.append((len(rows) - 1 - left["bars_held"], sign * left["size"], left["entry_price"]))
    return fills


def portfolio_on_vectorbt(
    rows: Rows, signals: dict[str, list[int]], cash: float = 1000.0, **given: Any
) -> Any:
    columns = dict(zip(("open", "high", "low", "close"), np.array(rows, np.float64).T.copy(), strict=True))
    for name in ("entries", "exits", "short_entries", "short_exits"):
        columns[name] = np.zeros(len(rows), np.bool_)
        columns[name][signals.get(name, [])] = True
    columns["price"] = given.pop("price", np.full(len(rows), np.inf))  # the default: the close
    return on_vectorbt.from_signals(columns, init_cash=cash, **given)


def on_vectorbt_at_defaults(*given: Any, **options: Any) -> Fills:
    orders = portfolio_on_vectorbt(*given, **options).orders.records.to_dict("records")
    return [(o["idx"], o["size"] * (1 - 2 * o["side"]), o["price"]) for o in orders]


def on_backtrader_at_defaults(
    rows: Rows, act: Act, cash: float = 1000.0, *, refused: int = 0, **slippage: Any
) -> Fills:
    fills: Fills = []
    statuses: list[int] = []

    class Peer(backtrader.Strategy):  # type: ignore[misc]
        def next(self) -> None:
            act(self, len(self.data) - 1)

        def notify_order(self, order: Any) -> None:
            statuses.append(order.status)
            if order.status == order.Completed:
                fills.append((len(self.data) - 1, order.executed.size, order.executed.price))

    cerebro = backtrader.Cerebro(stdstats=False)
    cerebro.adddata(backtrader.feeds.PandasData(dataname=table_of(rows)))
    cerebro.addstrategy(Peer)
    cerebro.broker.set_cash(cash)
    if slippage:
        cerebro.broker.set_slippage_perc(**slippage)
    cerebro.run()
    assert statuses.count(backtrader.Order.Margin) == refused
    return fills


def on_backtesting_at_defaults(rows: Rows, act: Act, cash: float = 1000.0, **given: Any) -> Fills:
    class Peer(backtesting.Strategy):  # type: ignore[misc]
        def init(self) -> None:
            pass

        def next(self) -> None:
            act(self, len(self.data) - 1)

    trades = backtesting.Backtest(table_of(rows), Peer, cash=cash, **given).run()["_trades"]
    fills = []
    for t in trades.itertuples():
        fills += [(t.EntryBar, float(t.Size), t.EntryPrice), (t.ExitBar, -float(t.Size), t.ExitPrice)]
    return fills


def on_bar(number: int, *orders: Callable[[Any], Any]) -> Act:
    """Gives these orders, in order, on one bar."""
    return lambda strategy, i: [order(strategy) for order in orders if i == number]
