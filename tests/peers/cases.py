"""Runs on real bars that another library can repeat, and the comparison trade by trade, bar by bar.

A library departs from us in ways that are listed (`DEPARTURES` of each): they change what is expected of it,
exactly, and are counted. Whatever else differs is a fault.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from cift_core.engine import EXIT_REASONS, Bars, Execution, Result, run_backtest
from cift_core.engine.strategy import Series
from cift_core.strategies import STRATEGIES
from tests.engine.samples import given_signals, part, sample

CASH = 100_000.0
UNITS = 40.5
LEVEL = {"stop_loss": 0.011, "take_profit": 0.009}
COST = {"commission_rate": 0.0015, "commission_fixed": 2.5, "slippage_rate": 0.0007}
# Of the cash for money, relative for units and prices. Our floor of units is one more for them.
MONEY, UNITS_RELATIVE, PRICE, FLOOR = 1e-9, 1e-9, 1e-12, 1e-8


@dataclass(frozen=True)
class Case:
    """One run: `all_in` sizes entries on all of the equity, else they are `UNITS` units."""

    symbol: str
    start: int
    stop: int
    strategy: str
    allow_short: bool
    fractional: bool
    levels: tuple[str, ...] = ()
    cost: str | None = None
    all_in: bool = False
    stop_base: Any = "fill"
    fill: Any = "next_open"

    @property
    def bars(self) -> Bars:
        return part(sample(self.symbol), self.start, self.stop)

    @property
    def signals(self) -> NDArray[np.bool_]:
        """bool[4, n]: long entry, long exit, short entry, short exit, as both sides are told."""
        if self.strategy == "random":
            table = np.random.default_rng(self.start).random((4, self.stop - self.start)) < 0.06
        else:
            table = np.array(STRATEGIES[self.strategy].signals(Series(self.bars), self.params).flags)
        if not self.allow_short:
            table[2:] = False
        return table

    @property
    def params(self) -> dict[str, Any]:
        return STRATEGIES[self.strategy].validate({})

    @property
    def execution(self) -> Execution:
        size: Any = (
            {"type": "equity_fraction", "value": 1.0} if self.all_in else {"type": "units", "value": UNITS}
        )
        return Execution(
            fill=self.fill,
            allow_short=self.allow_short,
            fractional=self.fractional,
            size=size,
            stop_base=self.stop_base,
            close_at_end=False,
            **{name: LEVEL[name] for name in self.levels},
            **({self.cost: COST[self.cost]} if self.cost else {}),
        )

    def run(self) -> Result:
        return run_backtest(self.bars, given_signals(self.signals), {}, self.execution, cash=CASH)


class Trade(NamedTuple):
    """One trade, `side` 1 long, -1 short; `exit_bar` and what follows None for one that is still open."""

    side: int
    units: float
    entry_bar: int
    entry_price: float
    exit_bar: int | None = None
    exit_price: float | None = None
    pnl: float | None = None


@dataclass
class Run:
    """What one library made of a case: closed trades, the open one last, and the equity float64[n]."""

    trades: list[Trade]
    equity: NDArray[np.float64]


def ours(case: Case) -> tuple[Run, list[str]]:
    """Our run, and the exit reason of each closed trade."""
    result, bars = case.run(), case.bars
    assert not result.metrics["ruined"]
    assert result.metrics["rejected_orders"] == 0
    trades = [
        Trade(
            side=1 if t["side"] == 0 else -1,
            units=float(t["size"]),
            entry_bar=int(np.searchsorted(bars.time, t["entry_time"])),
            entry_price=float(t["entry_price"]),
            exit_bar=int(np.searchsorted(bars.time, t["exit_time"])),
            exit_price=float(t["exit_price"]),
            pnl=float(t["pnl"]),
        )
        for t in result.trades
    ]
    reasons = [EXIT_REASONS[t["exit_reason"]] for t in result.trades]
    left = result.metrics["open_position"]
    if left:
        entered = len(bars) - 1 - left["bars_held"]
        side = 1 if left["side"] == "long" else -1
        trades.append(Trade(side, left["size"], entered, left["entry_price"]))
    return Run(trades, result.equity), reasons


@dataclass
class Expected:
    """What a library that departs from us in known ways must say; `departures` counts each way."""

    run: Run
    departures: Counter[str] = field(default_factory=Counter)

    def pay(self, number: int, bar: int, money: float, why: str) -> None:
        """From `bar` on the equity, and the pnl of one trade, are better by `money`."""
        trade = self.run.trades[number]
        if trade.pnl is not None:
            self.run.trades[number] = trade._replace(pnl=trade.pnl + money)
        self.run.equity[bar:] += money
        self.departures[why] += 1

    def leave_at(self, number: int, price: float, rate: float, why: str) -> None:
        """The exit of one trade is at `price`, with a commission of `rate`."""
        trade = self.run.trades[number]
        assert trade.exit_bar is not None
        assert trade.exit_price is not None
        moved = price - trade.exit_price
        self.pay(number, trade.exit_bar, trade.units * moved * (trade.side - rate), why)
        self.run.trades[number] = self.run.trades[number]._replace(exit_price=price)


Departure = Callable[[Case, Expected, list[str]], None]


def stop_before_an_open_beyond_the_target(case: Case, expected: Expected, reasons: list[str]) -> None:
    """The open is beyond the target and the stop inside the bar: we leave at the open, they at the stop."""
    if len(case.levels) < 2:
        return
    bars, execution = case.bars, case.execution
    for number, reason in enumerate(reasons):
        trade = expected.run.trades[number]
        told = trade.entry_bar - (case.fill == "next_open")
        base = trade.entry_price if case.stop_base == "fill" else bars.close[told]
        stop = base * (1 - trade.side * LEVEL["stop_loss"])
        target = base * (1 + trade.side * LEVEL["take_profit"])
        i = trade.exit_bar
        beyond = reason == "take_profit" and (bars.open[i] - target) * trade.side >= 0
        if beyond and bars.low[i] <= stop <= bars.high[i]:
            price = stop * (1 - trade.side * execution.slippage_rate)
            expected.leave_at(
                number, price, execution.commission_rate, "stop before an open beyond the target"
            )


def compare(expected: Run, theirs: Run) -> list[str]:
    """Every way in which the two are not the same, in words."""
    faults = []
    if len(expected.trades) != len(theirs.trades):
        faults.append(f"{len(expected.trades)} trades, theirs {len(theirs.trades)}")
    for number, (a, b) in enumerate(zip(expected.trades, theirs.trades, strict=False)):
        for name in Trade._fields:
            x, y = getattr(a, name), getattr(b, name)
            if not _same(name, x, y):
                faults.append(f"trade {number} of {len(expected.trades)}: {name} {x!r}, theirs {y!r}")
    apart = np.abs(expected.equity - theirs.equity)
    if not (apart <= MONEY * CASH).all():
        i = int(np.argmax(~(apart <= MONEY * CASH)))
        faults.append(f"equity {expected.equity[i]!r} at bar {i}, theirs {theirs.equity[i]!r}")
    return faults


def _same(name: str, x: Any, y: Any) -> bool:
    if x is None or y is None or name in ("side", "entry_bar", "exit_bar"):
        return bool(x == y)
    within = {"units": UNITS_RELATIVE * x + FLOOR, "pnl": MONEY * CASH}.get(name, PRICE * abs(x))
    return bool(abs(x - y) <= within)


SPANS = (("AAPL", 300, 700), ("MSFT", 1_500, 1_900), ("XAUUSD", 20_000, 20_400), ("IBM", 2_600, 3_000))
NAMES = ("random", "sma_cross", "rsi_reversion", "donchian_breakout", "bollinger_breakout")


def grid() -> Iterator[Case]:
    """Every combination; with all of the equity at stake without targets, for after a departure every later
    size would differ."""
    levels = ((), ("stop_loss",), ("take_profit",), ("stop_loss", "take_profit"))
    choices = product(
        SPANS,
        NAMES,
        (False, True),
        (False, True),
        levels,
        (None, *COST),
        (False, True),
        ("fill", "signal_close"),
        ("next_open", "same_close"),
    )
    for span, *choice in choices:
        case = Case(*span, *choice)
        if not (case.all_in and "take_profit" in case.levels) and (case.levels or case.stop_base == "fill"):
            yield case


def sampled(cases: Sequence[Case], count: int) -> list[Case]:
    """So many of the cases, from everywhere, always the same."""
    order = np.random.default_rng(11).permutation(len(cases))
    return [cases[k] for k in order[:count]]


@dataclass
class Tally:
    """What came of some cases: how many there were, their trades, the known departures, and all faults."""

    cases: int = 0
    trades: int = 0
    departures: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


class Peer(Protocol):
    """One library: what it can be made to do, how it does it, where it departs from us, and how many cases
    the tests have time for."""

    SAMPLE: int
    DEPARTURES: tuple[Departure, ...]

    def can(self, case: Case) -> bool: ...
    def run(self, case: Case) -> Run: ...


def put_to(peer: Peer, cases: Iterable[Case]) -> Tally:
    """Our runs, changed by what `peer` is known to do otherwise, against its own."""
    tally = Tally()
    for case in cases:
        run, reasons = ours(case)
        expected = Expected(run)
        for depart in peer.DEPARTURES:
            depart(case, expected, reasons)
        tally.cases += 1
        tally.trades += len(run.trades)
        tally.departures += expected.departures
        tally.faults += [f"{case}: {fault}" for fault in compare(expected.run, peer.run(case))]
    return tally
