"""Cases as backtrader 1.9.78.123 runs them.

How the conventions are aligned: cheat-on-open, so that orders of the last close fill at this open; the
strategy sizes its entries by our rule; stop and target are orders that cancel one another, the stop given
first; before a signal's order both are cancelled. Slippage may leave the range of the bar (`slip_out`), and
the money is checked when an order fills (`checksubmit=False`).
"""

import math
from typing import Any

import backtrader
import numpy as np
import pandas as pd

from tests.peers.cases import CASH, COST, LEVEL, UNITS, Case, Departure, Expected, Run, Trade
from tests.peers.cases import stop_before_an_open_beyond_the_target as stop_first


def can(case: Case) -> bool:
    """Without fees per fill (there is no such scheme) and fills at the close (its equity shows them late)."""
    return case.cost != "commission_fixed" and case.fill == "next_open"


class Peer(backtrader.Strategy):  # type: ignore[misc]
    params = (("case", None),)

    def __init__(self) -> None:
        self.case: Case = self.p.case
        self.asked = self.case.signals
        self.fills: list[tuple[int, float, float]] = []
        self.pnls: list[float] = []
        self.equity: list[float] = []
        self.resting: list[Any] = []

    def notify_order(self, order: Any) -> None:
        assert order.status != order.Margin
        if order.status == order.Completed:
            self.fills.append((len(self.data) - 1, order.executed.size, order.executed.price))

    def notify_trade(self, trade: Any) -> None:
        if trade.isclosed:
            self.pnls.append(trade.pnlcomm)

    def next(self) -> None:
        self.equity.append(self.broker.getvalue())

    def next_open(self) -> None:
        i = len(self.data) - 1
        if i == 0:
            return
        long_entry, long_exit, short_entry, short_exit = self.asked[:, i - 1]
        go_long, go_short = long_entry and not long_exit, short_entry and not short_exit
        if go_long and go_short:
            go_long = go_short = False
        held, equity = self.position.size, self.broker.getcash()
        if (held > 0 and (long_exit or go_short)) or (held < 0 and (short_exit or go_long)):
            for order in self.resting:
                self.cancel(order)
            self.close()
            price = self.fill_price(-held)
            equity += held * price - self.rate * abs(held) * price
            held = 0
        side = int(go_long) - int(go_short)
        if held == 0 and side:
            self.enter(side, equity)

    @property
    def rate(self) -> float:
        return COST["commission_rate"] if self.case.cost == "commission_rate" else 0.0

    def fill_price(self, side: float) -> float:
        slip = COST["slippage_rate"] if self.case.cost == "slippage_rate" else 0.0
        return float(self.data.open[0] * (1 + math.copysign(slip, side)))

    def enter(self, side: int, equity: float) -> None:
        price = self.fill_price(side)
        units = equity / (price * (1 + self.rate)) if self.case.all_in else UNITS
        units = math.floor(units * 1e8) / 1e8 if self.case.fractional else float(math.floor(units))
        opens, closes = (self.buy, self.sell) if side == 1 else (self.sell, self.buy)
        opens(size=units)
        base = price if self.case.stop_base == "fill" else float(self.data.close[-1])
        self.resting = []
        for name, exectype, sign in (("stop_loss", "Stop", -1), ("take_profit", "Limit", 1)):
            if name in self.case.levels:
                level = base * (1 + sign * side * LEVEL[name])
                kind = getattr(backtrader.Order, exectype)
                oco = self.resting[0] if self.resting else None
                self.resting.append(closes(size=units, exectype=kind, price=level, oco=oco))


def run(case: Case) -> Run:
    bars = case.bars
    table = pd.DataFrame(
        {name: getattr(bars, name) for name in ("open", "high", "low", "close")},
        index=pd.to_datetime(bars.time),
    )
    cerebro = backtrader.Cerebro(stdstats=False, cheat_on_open=True)
    cerebro.adddata(backtrader.feeds.PandasData(dataname=table))
    cerebro.addstrategy(Peer, case=case)
    cerebro.broker.set_cash(CASH)
    cerebro.broker.set_checksubmit(False)
    if case.cost == "commission_rate":
        cerebro.broker.setcommission(commission=COST["commission_rate"])
    if case.cost == "slippage_rate":
        cerebro.broker.set_slippage_perc(COST["slippage_rate"], slip_out=True)
    (peer,) = cerebro.run()
    trades = []
    for number, (entry, leave) in enumerate(zip(peer.fills[::2], [*peer.fills[1::2], None], strict=False)):
        bar, units, price = entry
        trade = Trade(1 if units > 0 else -1, abs(units), bar, price)
        if leave:
            assert leave[1] == -units
            trade = trade._replace(exit_bar=leave[0], exit_price=leave[2], pnl=peer.pnls[number])
        trades.append(trade)
    return Run(trades, np.array(peer.equity))


def targets_do_not_slip(case: Case, expected: Expected, reasons: list[str]) -> None:
    """A target is a limit order: where the range of a bar reaches it, it fills there, without slippage."""
    if case.cost != "slippage_rate":
        return
    opens = case.bars.open
    for number, reason in enumerate(reasons):
        trade = expected.run.trades[number]
        unslipped = trade.exit_price / (1 - trade.side * COST["slippage_rate"]) if trade.exit_price else 0.0
        if reason == "take_profit" and not math.isclose(unslipped, opens[trade.exit_bar], rel_tol=1e-12):
            expected.leave_at(number, unslipped, 0.0, "a target inside the bar does not slip")


DEPARTURES: tuple[Departure, ...] = (targets_do_not_slip, stop_first)
SAMPLE = 80
