"""Several symbols on one cash account, and target weights, slowly and plainly.

Written against the specification alone, as `reference.py`, which has the sentences on one bar of one symbol
(levels, resting orders, signals that disagree); money and the order of events are its own.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.engine import reference as bar_rules
from tests.engine.reference import Order, Position


@dataclass
class Book:
    """One symbol: its bars (time, open, high, low, close), what it was told, what it holds."""

    symbol: int
    bars: list[tuple[int, float, float, float, float]]
    signals: Any
    bar: int = -1  # the latest one that is known
    trades_now: bool = False
    position: Position | None = None
    order: Order | None = None
    entry: tuple[int, float] | None = None  # side and signal close of a fill that this moment owes
    weight: float | None = None  # one that waits

    def go_to(self, time: int) -> None:
        self.trades_now = self.bar + 1 < len(self.bars) and self.bars[self.bar + 1][0] == time
        self.bar += self.trades_now

    @property
    def ohl(self) -> tuple[float, float, float]:
        return self.bars[self.bar][1:4]

    def ends(self) -> bool:
        return self.bar == len(self.bars) - 1

    def open_or_last_close(self) -> float:
        return self.bars[self.bar][1 if self.trades_now else 4]

    def close(self, back: int = 0) -> float:
        return self.bars[self.bar - back][4]


Price = Callable[[Book], float]


@dataclass
class Run:
    cash: float
    execution: Any
    books: list[Book]
    now: int = 0
    trades: list[dict[str, Any]] = field(default_factory=list)
    curves: list[tuple[float, float, float]] = field(default_factory=list)  # equity, cash, position value
    bars_held: int = 0
    rejected: int = 0
    ruined: bool = False
    fees: float = 0.0

    def value(self, price: Price) -> float:
        total = 0.0
        for book in self.books:
            if book.position:
                total += book.position.side * book.position.units * price(book)
        return total

    def marked(self, price: Price) -> float:
        return self.cash + self.value(price)

    def buying_power(self, price: Price, but_for: Book | None = None) -> float:
        """The equity less the unsigned worth of all positions (but for one symbol's)."""
        gross = 0.0
        for book in self.books:
            if book.position and book is not but_for:
                gross += book.position.units * price(book)
        return self.marked(price) - gross

    def affordable(self, money: float, price: float) -> float:
        e = self.execution
        return bar_rules.floored(e, (money - e.commission_fixed) / (price * (1 + e.commission_rate)))

    def entry_units(self, book: Book, price: float, mark: Price) -> float:
        e = self.execution
        size = e.size or {"type": "equity_fraction", "value": 1 / len(self.books)}
        kind, value = size["type"], size["value"]
        power = self.buying_power(mark, book)
        if kind == "equity_fraction":
            units = min(self.affordable(value * self.marked(mark), price), self.affordable(power, price))
            return max(units, 0.0)
        units = bar_rules.floored(e, value if kind == "units" else value / price)
        cost = units * price * (1 + e.commission_rate) + e.commission_fixed
        return 0.0 if cost > power else units

    def pay(self, side: int, units: float, price: float) -> float:
        """Buys (1) or sells (-1); returns the fee."""
        paid = bar_rules.fee(self.execution, units * price)
        self.cash = self.cash - side * (units * price) - paid
        self.fees += paid
        return paid

    def enter(self, book: Book, side: int, market: float, signal_close: float, mark: Price) -> None:
        price = bar_rules.slipped(self.execution, market, side)
        units = self.entry_units(book, price, mark)
        if units == 0:
            self.rejected += 1
            return
        base = price if self.execution.stop_base == "fill" else signal_close
        book.position = Position(side, units, price, self.pay(side, units, price), book.bar, base, base)

    def leave(self, book: Book, market: float, reason: str, kept: float = 0.0) -> None:
        p = book.position
        assert p is not None
        units = p.units - kept
        price = bar_rules.slipped(self.execution, market, -p.side)
        entry_fee = p.fee * (units / p.units)
        fees = entry_fee + self.pay(-p.side, units, price)
        pnl = p.side * units * (price - p.price) - fees
        self.trades.append(
            {
                "symbol": book.symbol,
                "side": "long" if p.side == 1 else "short",
                "size": units,
                "entry_time": book.bars[p.bar][0],
                "entry_price": p.price,
                "exit_time": self.now,
                "exit_price": price,
                "pnl": pnl,
                "return": pnl / (units * p.price),
                "fees": fees,
                "bars_held": book.bar - p.bar,
                "exit_reason": reason,
            }
        )
        p.units, p.fee = kept, p.fee - entry_fee
        if kept == 0:
            book.position = None

    # By signals

    def hear(self, book: Book, bar: int, market: float, signal_close: float) -> None:
        """Obeys the signals of one bar but for the entry at the market, which is left in `book.entry`."""
        told = tuple(bool(flag[bar]) for flag in book.signals.flags)
        long_entry, long_exit, short_entry, short_exit = bar_rules.obeyed(self.execution, told)
        if book.order and book.order.side == 1 and (long_exit or short_entry):
            book.order = None
        if book.order and book.order.side == -1 and (short_exit or long_entry):
            book.order = None
        for side, entry, exits, placed in (
            (1, long_entry, short_exit, book.signals.long_order),
            (-1, short_entry, long_exit, book.signals.short_order),
        ):
            if book.position and book.position.side == -side and (exits or (entry and placed is None)):
                self.leave(book, market, "signal")
            if entry and not (book.position and book.position.side == side):
                if placed is None:
                    book.entry = side, signal_close
                elif not math.isnan(placed.price[bar]):
                    last = bar + (placed.good_for or self.execution.good_for)
                    book.order = Order(side, placed.type, float(placed.price[bar]), last, signal_close)

    def exits_at_open(self, book: Book) -> None:
        o = book.ohl[0]
        if self.execution.fill == "next_open" and book.bar > 0:
            self.hear(book, book.bar - 1, o, book.close(back=1))
        if book.order and book.bar > book.order.last_bar:
            book.order = None
        if book.order and bar_rules.reached_at_open(book.order, o):
            book.entry = book.order.side, book.order.signal_close
            book.order = None
            if book.position:
                self.leave(book, o, "signal")
        if book.position and (level := bar_rules.beyond_at_open(book.position, self.execution, o)):
            self.leave(book, *level)

    def entries(self, market: Price) -> None:
        for book in self.books:
            if book.entry:
                self.enter(book, book.entry[0], market(book), book.entry[1], market)
                book.entry = None

    def entry_inside(self, book: Book) -> None:
        order = book.order
        _, h, low = book.ohl
        if order is None or not bar_rules.reached_inside(order, h, low):
            return
        book.order = None
        if book.position:
            self.leave(book, order.price, "signal")
        self.enter(book, order.side, order.price, order.signal_close, Book.open_or_last_close)
        p = book.position
        if p and (stop := bar_rules.stopped_after_fill(p, self.execution, order.price, h, low)):
            self.leave(book, *stop)

    def follow_signals(self, trading: list[Book]) -> None:
        for book in trading:
            self.exits_at_open(book)
        self.entries(Book.open_or_last_close)
        for book in trading:
            if book.position and (level := bar_rules.touched(book.position, self.execution, *book.ohl)):
                self.leave(book, *level)
        for book in trading:
            self.entry_inside(book)

    # By weights

    def rebalance(self, books: list[Book], market: Price) -> None:
        equity, targets = self.marked(market), []
        for book in books:
            if book.weight is not None:
                weight = book.weight if self.execution.allow_short else max(book.weight, 0.0)
                units = bar_rules.floored(self.execution, abs(weight) * equity / market(book))
                targets.append((book, (weight > 0) - (weight < 0), max(units, 0.0)))
                book.weight = None
        for book, side, target in targets:
            p = book.position
            kept = target if p and p.side == side else 0.0
            if p and kept < p.units and (p.units - kept) * market(book) >= self.execution.min_trade_value:
                self.leave(book, market(book), "signal", kept)
        for book, side, target in targets:
            if side != 0 and (book.position is None or book.position.side == side):
                self.grow(book, side, target, market)

    def grow(self, book: Book, side: int, target: float, market: Price) -> None:
        p, price = book.position, bar_rules.slipped(self.execution, market(book), side)
        missing = target - p.units if p else target
        units = min(missing, self.affordable(self.buying_power(market), price))
        if units <= 0:
            self.rejected += p is None
        elif units * market(book) >= self.execution.min_trade_value:
            paid = self.pay(side, units, price)
            if p is None:
                book.position = Position(side, units, price, paid, book.bar, price, price)
            else:
                p.price = (p.units * p.price + units * price) / (p.units + units)
                p.units = target if units == missing else p.units + units
                p.fee += paid

    # At one time

    def step(self, weights: Any) -> None:
        trading = [book for book in self.books if book.trades_now]
        if weights is None:
            self.follow_signals(trading)
        else:
            if self.execution.fill == "next_open":
                self.rebalance(trading, Book.open_or_last_close)
            for book, weight in zip(self.books, weights, strict=True):
                book.weight = book.weight if math.isnan(weight) else float(weight)
        if self.marked(Book.close) > 0:
            self.close_of(trading, by_weights=weights is not None)
        if self.marked(Book.close) <= 0:
            for book in self.books:
                if book.position:
                    self.leave(book, book.close(), "ruin")
            self.ruined, self.cash = True, 0.0

    def close_of(self, trading: list[Book], by_weights: bool) -> None:
        for book in trading:
            if book.position:
                best = max if book.position.side == 1 else min
                book.position.best = best(book.position.best, book.close())
        going_on = [book for book in trading if not book.ends()]
        if self.execution.fill == "same_close" and by_weights:
            self.rebalance(going_on, Book.close)
        elif self.execution.fill == "same_close":
            for book in going_on:
                self.hear(book, book.bar, book.close(), book.close())
            self.entries(Book.close)
        for book in trading:
            if book.ends() and self.execution.close_at_end and book.position:
                self.leave(book, book.close(), "end")


def simulate(
    panel: dict[str, Any], signals: list[Any] | None, weights: Any, execution: Any, cash: float
) -> Run:
    """The run of each symbol's `signals`, or of `weights` (a row for each time), over the bars of `panel`."""
    books = []
    for symbol, bars in enumerate(panel.values()):
        columns = (bars.time, bars.open, bars.high, bars.low, bars.close)
        rows = list(zip(*(column.tolist() for column in columns), strict=True))
        books.append(Book(symbol, rows, None if signals is None else signals[symbol]))
    run = Run(cash, execution, books)
    for row, run.now in enumerate(sorted({bar[0] for book in books for bar in book.bars})):
        if not run.ruined:
            for book in books:
                book.go_to(run.now)
            run.step(None if weights is None else weights[row])
        value = run.value(Book.close)
        run.curves.append((run.cash + value, run.cash, value))
        run.bars_held += any(book.position for book in books)
    return run
