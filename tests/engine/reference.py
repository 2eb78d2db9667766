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
class Run:
    cash: float
    execution: Any
    position: Position | None = None
    trades: list[dict[str, Any]] = field(default_factory=list)
    equity: list[float] = field(default_factory=list)
    cash_curve: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    rejected: int = 0
    ruined: bool = False
    fees: float = 0.0
    notional: float = 0.0

    def fee(self, notional: float) -> float:
        return self.execution.commission_rate * notional + self.execution.commission_fixed

    def units(self, price: float) -> float:
        e, value = self.execution, self.execution.size["value"]
        kind = e.size["type"]
        if kind == "equity_fraction":
            wanted = (value * self.cash - e.commission_fixed) / (price * (1 + e.commission_rate))
        elif kind == "units":
            wanted = value
        else:
            wanted = value / price
        units = math.floor(wanted * 1e8) / 1e8 if e.fractional else float(math.floor(wanted))
        if units <= 0:
            return 0.0
        if kind != "equity_fraction":
            cost = units * price * (1 + e.commission_rate) + e.commission_fixed
            if cost > self.cash:
                return 0.0
        return units

    def open(self, bar: int, side: int, market: float, signal_close: float) -> None:
        slip = self.execution.slippage_rate
        price = market * (1 + slip) if side == 1 else market * (1 - slip)
        units = self.units(price)
        if units == 0:
            self.rejected += 1
            return
        fee = self.fee(units * price)
        self.cash = self.cash - side * (units * price) - fee
        self.fees += fee
        self.notional += units * price
        base = price if self.execution.stop_base == "fill" else signal_close
        self.position = Position(side, units, price, fee, bar, base, base)

    def close(self, bar: int, market: float, reason: str) -> None:
        p, slip = self.position, self.execution.slippage_rate
        assert p is not None
        price = market * (1 - slip) if p.side == 1 else market * (1 + slip)
        fee = self.fee(p.units * price)
        fees = p.fee + fee
        pnl = p.side * p.units * (price - p.price) - fees
        self.cash = self.cash + p.side * (p.units * price) - fee
        self.fees += fee
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
        self, bar: int, market: float, signal_close: float, signals: tuple[bool, bool, bool, bool]
    ) -> None:
        long_entry, long_exit, short_entry, short_exit = signals
        if not self.execution.allow_short:
            short_entry = short_exit = False
        if long_exit:
            long_entry = False
        if short_exit:
            short_entry = False
        if long_entry and short_entry:
            long_entry = short_entry = False
        if (self.position and self.position.side == 1 and (long_exit or short_entry)) or (
            self.position and self.position.side == -1 and (short_exit or long_entry)
        ):
            self.close(bar, market, "signal")
        if self.position is None:
            if long_entry:
                self.open(bar, 1, market, signal_close)
            if short_entry:
                self.open(bar, -1, market, signal_close)

    def check_levels(self, bar: int, o: float, h: float, low: float) -> None:  # noqa: C901
        p, e = self.position, self.execution
        assert p is not None
        stops = []
        if e.stop_loss is not None:
            stops.append((p.base * (1 - p.side * e.stop_loss), "stop_loss"))
        if e.trailing_stop is not None:
            stops.append((p.best * (1 - p.side * e.trailing_stop), "trailing_stop"))
        # The tighter stop is the higher one of a long, the lower one of a short; of equals the first.
        stop = (max if p.side == 1 else min)(stops, key=lambda s: s[0]) if stops else None
        target = None if e.take_profit is None else p.base * (1 + p.side * e.take_profit)
        if p.side == 1:
            if stop and o <= stop[0]:
                self.close(bar, o, stop[1])
            elif target is not None and o >= target:
                self.close(bar, o, "take_profit")
            elif stop and low <= stop[0]:
                self.close(bar, stop[0], stop[1])
            elif target is not None and h >= target:
                self.close(bar, target, "take_profit")
        elif stop and o >= stop[0]:
            self.close(bar, o, stop[1])
        elif target is not None and o <= target:
            self.close(bar, o, "take_profit")
        elif stop and h >= stop[0]:
            self.close(bar, stop[0], stop[1])
        elif target is not None and low <= target:
            self.close(bar, target, "take_profit")

    def marked(self, close: float) -> float:
        return self.cash + (self.position.side * self.position.units * close if self.position else 0.0)


def simulate(bars: Any, signals: Any, execution: Any, cash: float) -> Run:  # noqa: C901
    """The run of `signals` (four sequences of bools) over `bars`."""
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
            run.obey(i, o[i], c[i - 1], at[i - 1])
        if run.position:
            run.check_levels(i, o[i], h[i], low[i])
        if run.marked(c[i]) > 0:
            if run.position:
                run.position.best = (max if run.position.side == 1 else min)(run.position.best, c[i])
            if execution.fill == "same_close" and i < n - 1:
                run.obey(i, c[i], c[i], at[i])
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
