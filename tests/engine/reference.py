"""The execution model once more, slowly and plainly: Python floats, lists, one branch per sentence.

Written against the specification alone; it shares no code with the engine, and its branches
mirror the sentences even where they make a function long.
"""

import math
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Position:
    side: int  # 1 long, -1 short
    units: float
    price: float
    fee: float
    bar: int
    base: float
    best: float


@dataclass
class Order:
    """One that rests: until the last bar it may fill in."""

    side: int
    kind: str
    price: float
    last_bar: int
    signal_close: float


def fee(execution: Any, notional: float) -> float:
    return execution.commission_rate * notional + execution.commission_fixed


def slipped(execution: Any, market: float, side: int) -> float:
    """What a buy (1) or a sale (-1) is filled at."""
    return market * (1 + side * execution.slippage_rate)


def floored(execution: Any, units: float) -> float:
    return math.floor(units * 1e8) / 1e8 if execution.fractional else float(math.floor(units))


def obeyed(execution: Any, signals: tuple[bool, bool, bool, bool]) -> tuple[bool, bool, bool, bool]:
    """What is left of the signals of one bar once they agree."""
    long_entry, long_exit, short_entry, short_exit = signals
    if not execution.allow_short:
        short_entry = short_exit = False
    if long_exit:
        long_entry = False
    if short_exit:
        short_entry = False
    if long_entry and short_entry:
        long_entry = short_entry = False
    return long_entry, long_exit, short_entry, short_exit


def reached_at_open(order: Order, o: float) -> bool:
    from_above = (order.kind == "limit") == (order.side == 1)
    return o <= order.price if from_above else o >= order.price


def reached_inside(order: Order, h: float, low: float) -> bool:
    from_above = (order.kind == "limit") == (order.side == 1)
    return low <= order.price if from_above else h >= order.price


def tighter_stop(p: Position, execution: Any) -> tuple[float, str] | None:
    stops = []
    if execution.stop_loss is not None:
        stops.append((p.base * (1 - p.side * execution.stop_loss), "stop_loss"))
    if execution.trailing_stop is not None:
        stops.append((p.best * (1 - p.side * execution.trailing_stop), "trailing_stop"))
    # The tighter stop is the higher one of a long, the lower one of a short; of equals the first.
    return (max if p.side == 1 else min)(stops, key=lambda s: s[0]) if stops else None


def beyond_at_open(p: Position, execution: Any, o: float) -> tuple[float, str] | None:
    """The exit at the open by a level that it is already beyond: price before slippage and reason."""
    stop = tighter_stop(p, execution)
    target = None if execution.take_profit is None else p.base * (1 + p.side * execution.take_profit)
    if stop and (o <= stop[0] if p.side == 1 else o >= stop[0]):
        return o, stop[1]
    if target is not None and (o >= target if p.side == 1 else o <= target):
        return o, "take_profit"
    return None


def touched(p: Position, execution: Any, o: float, h: float, low: float) -> tuple[float, str] | None:
    """The exit by a level in a bar: price before slippage and reason."""
    stop = tighter_stop(p, execution)
    target = None if execution.take_profit is None else p.base * (1 + p.side * execution.take_profit)
    if at_open := beyond_at_open(p, execution, o):
        return at_open
    if stop and (low <= stop[0] if p.side == 1 else h >= stop[0]):
        return stop
    if target is not None and (h >= target if p.side == 1 else low <= target):
        return target, "take_profit"
    return None


def stopped_after_fill(
    p: Position, execution: Any, price: float, h: float, low: float
) -> tuple[float, str] | None:
    """The exit of an entry that was filled at `price` inside a bar, in the same bar."""
    stop = tighter_stop(p, execution)
    if stop and p.side == 1 and low <= stop[0]:
        return min(stop[0], price), stop[1]
    if stop and p.side == -1 and h >= stop[0]:
        return max(stop[0], price), stop[1]
    return None


@dataclass
class Run:
    cash: float
    execution: Any
    position: Position | None = None
    order: Order | None = None
    trades: list[dict[str, Any]] = field(default_factory=list)
    equity: list[float] = field(default_factory=list)
    cash_curve: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    rejected: int = 0
    ruined: bool = False
    fees: float = 0.0
    notional: float = 0.0

    def units(self, price: float) -> float:
        e, size = self.execution, self.execution.size or {"type": "equity_fraction", "value": 1.0}
        kind, value = size["type"], size["value"]
        if kind == "equity_fraction":
            wanted = (value * self.cash - e.commission_fixed) / (price * (1 + e.commission_rate))
        elif kind == "units":
            wanted = value
        else:
            wanted = value / price
        units = floored(e, wanted)
        if units <= 0:
            return 0.0
        if kind != "equity_fraction":
            cost = units * price * (1 + e.commission_rate) + e.commission_fixed
            if cost > self.cash:
                return 0.0
        return units

    def open(self, bar: int, side: int, market: float, signal_close: float) -> None:
        price = slipped(self.execution, market, side)
        units = self.units(price)
        if units == 0:
            self.rejected += 1
            return
        paid = fee(self.execution, units * price)
        self.cash = self.cash - side * (units * price) - paid
        self.fees += paid
        self.notional += units * price
        base = price if self.execution.stop_base == "fill" else signal_close
        self.position = Position(side, units, price, paid, bar, base, base)

    def close(self, bar: int, market: float, reason: str) -> None:
        p = self.position
        assert p is not None
        price = slipped(self.execution, market, -p.side)
        paid = fee(self.execution, p.units * price)
        fees = p.fee + paid
        pnl = p.side * p.units * (price - p.price) - fees
        self.cash = self.cash + p.side * (p.units * price) - paid
        self.fees += paid
        self.notional += p.units * price
        self.trades.append(
            {
                "side": "long" if p.side == 1 else "short",
                "size": p.units,
                "entry_bar": p.bar,
                "entry_price": p.price,
                "exit_bar": bar,
                "exit_price": price,
                "pnl": pnl,
                "return": pnl / (p.units * p.price),
                "fees": fees,
                "exit_reason": reason,
            }
        )
        self.position = None

    def obey(
        self,
        bar: int,
        market: float,
        signal_bar: int,
        signal_close: float,
        signals: tuple[bool, bool, bool, bool],
        orders: dict[int, Any],
    ) -> None:
        long_entry, long_exit, short_entry, short_exit = obeyed(self.execution, signals)
        if self.order and self.order.side == 1 and (long_exit or short_entry):
            self.order = None
        if self.order and self.order.side == -1 and (short_exit or long_entry):
            self.order = None
        for side, entry, exits in ((1, long_entry, short_exit), (-1, short_entry, long_exit)):
            against = self.position is not None and self.position.side == -side
            market_order = orders[side] is None
            if against and (exits or (entry and market_order)):
                self.close(bar, market, "signal")
            if entry and not (self.position and self.position.side == side):
                if market_order:
                    self.open(bar, side, market, signal_close)
                elif not math.isnan(orders[side].price[signal_bar]):
                    good_for = orders[side].good_for or self.execution.good_for
                    self.order = Order(
                        side,
                        orders[side].type,
                        float(orders[side].price[signal_bar]),
                        signal_bar + good_for,
                        signal_close,
                    )

    def fill_order(self, bar: int, market: float) -> None:
        order, self.order = self.order, None
        assert order is not None
        if self.position and self.position.side == -order.side:
            self.close(bar, market, "signal")
        self.open(bar, order.side, market, order.signal_close)

    def order_at_open(self, bar: int, o: float) -> None:
        order = self.order
        assert order is not None
        if bar > order.last_bar:
            self.order = None
        elif reached_at_open(order, o):
            self.fill_order(bar, o)

    def order_inside(self, bar: int, h: float, low: float) -> None:
        order = self.order
        assert order is not None
        if not reached_inside(order, h, low):
            return
        self.fill_order(bar, order.price)
        if self.position is None:
            return
        stop = stopped_after_fill(self.position, self.execution, order.price, h, low)
        if stop:
            self.close(bar, *stop)

    def check_levels(self, bar: int, o: float, h: float, low: float) -> None:
        assert self.position is not None
        level = touched(self.position, self.execution, o, h, low)
        if level:
            self.close(bar, *level)

    def marked(self, close: float) -> float:
        return self.cash + (self.position.side * self.position.units * close if self.position else 0.0)


def simulate(  # noqa: C901
    bars: Any, signals: Any, execution: Any, cash: float, orders: dict[int, Any] | None = None
) -> Run:
    """The run of `signals` (four sequences of bools) over `bars`, entries of side 1 and -1 by `orders`."""
    orders = orders or {1: None, -1: None}
    run = Run(cash, execution)
    n = len(bars)
    o, h, low, c = (column.tolist() for column in (bars.open, bars.high, bars.low, bars.close))
    at = [tuple(bool(s[i]) for s in signals) for i in range(n)]
    for i in range(n):
        if run.ruined:
            run.equity.append(0.0)
            run.cash_curve.append(0.0)
            run.values.append(0.0)
            continue
        if execution.fill == "next_open" and i > 0:
            run.obey(i, o[i], i - 1, c[i - 1], at[i - 1], orders)
        if run.order:
            run.order_at_open(i, o[i])
        if run.position:
            run.check_levels(i, o[i], h[i], low[i])
        if run.order:
            run.order_inside(i, h[i], low[i])
        if run.marked(c[i]) > 0:
            if run.position:
                run.position.best = (max if run.position.side == 1 else min)(run.position.best, c[i])
            if execution.fill == "same_close" and i < n - 1:
                run.obey(i, c[i], i, c[i], at[i], orders)
            if i == n - 1 and execution.close_at_end and run.position:
                run.close(i, c[i], "end")
        if run.marked(c[i]) <= 0:
            if run.position:
                run.close(i, c[i], "ruin")
            run.ruined = True
            run.cash = 0.0
        value = run.position.side * run.position.units * c[i] if run.position else 0.0
        run.equity.append(run.cash + value)
        run.cash_curve.append(run.cash)
        run.values.append(value)
    return run
