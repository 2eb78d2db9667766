"""Portfolios: the compiled engine does exactly, to the last bit, what the slow reference does."""

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cift_core.engine import (
    EXIT_REASONS,
    SIDES,
    TRADE,
    Bars,
    Execution,
    Panel,
    Result,
    Signals,
    run_portfolio,
)
from tests.engine import reference_portfolio as reference
from tests.engine.samples import by_weights, each_told, only, part, sample
from tests.engine.test_against_reference import entry_orders, executions, signal_tables

CASH = st.sampled_from([300.0, 10_000.0, 1e6])


@st.composite
def panels(draw: st.DrawFn) -> dict[str, Bars]:
    """1 to 4 symbols, each with a length and gaps of its own, at times that mostly meet.

    Of thinned bars years go by, in which prices move far enough to ruin who is short.
    """
    names = draw(st.sampled_from([["AAPL", "IBM", "MSFT"], ["XAUUSD"], ["AAPL"]]))
    missing = draw(st.sampled_from([0.0, 0.1, 0.5, 0.97]))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    length = int(random.integers(2, 100) / (1 - missing))
    start = int(random.integers(0, 3_270 - length)) if length < 3_270 else 0
    panel = {}
    for symbol in "DBCA"[: draw(st.integers(1, 4))]:
        whole = sample(names[random.integers(len(names))])
        late, early = random.integers(0, length, 2) // 4
        places = np.arange(start + late, min(start + length - early, len(whole)))
        kept = random.random(len(places)) >= missing
        kept[0] = True
        panel[symbol] = only(whole, places[kept])
    return panel


@st.composite
def signals_of(draw: st.DrawFn, panel: dict[str, Bars]) -> list[Signals]:
    return [
        Signals(*draw(signal_tables(len(bars))), draw(entry_orders(bars)), draw(entry_orders(bars)))
        for bars in panel.values()
    ]


def first(signals: Signals, n: int) -> Signals:
    orders = signals.long_order, signals.short_order
    return Signals(
        *(flag[:n] for flag in signals.flags),
        *(order and order._replace(price=order.price[:n]) for order in orders),
    )


@st.composite
def weight_rows(draw: st.DrawFn, rows: int, symbols: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Now and then a row; of it some weights, none, below 0, above 1 or 0."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weights = random.normal(
        draw(st.sampled_from([0.0, 0.3])), draw(st.sampled_from([0.02, 0.4, 2.0])), (rows, symbols)
    )
    weights[random.random(weights.shape) < 0.2] = 0.0
    weights[random.random(weights.shape) < draw(st.sampled_from([0.0, 0.3]))] = np.nan
    weights[random.random(rows) < draw(st.sampled_from([0.0, 0.8]))] = np.nan
    return weights


def assert_equal(result: Result, run: reference.Run) -> None:
    curves = result.equity.tolist(), result.cash.tolist(), result.position_value.tolist()
    assert list(zip(*curves, strict=True)) == run.curves
    rows = [dict(zip(TRADE.names or (), trade.item(), strict=True)) for trade in result.trades]
    for row in rows:
        row["side"], row["exit_reason"] = SIDES[row["side"]], EXIT_REASONS[row["exit_reason"]]
    assert rows == run.trades
    figures = {"rejected_orders": run.rejected, "ruined": run.ruined, "fees_paid": run.fees}
    assert {name: result.metrics[name] for name in figures} == figures
    bars = len(run.curves)
    if run.ruined:  # every figure covers the bars up to and with the ruin
        bars = [equity for equity, _, _ in run.curves].index(0.0) + 1
    assert result.metrics["exposure"] == run.bars_held / bars
    left = [
        (book.position.units, book.position.price, book.bar - book.position.bar)
        for book in run.books
        if book.position
    ]
    open_positions = result.metrics["open_positions"]
    assert [(one["size"], one["entry_price"], one["bars_held"]) for one in open_positions] == left


@settings(max_examples=300, suppress_health_check=[HealthCheck.data_too_large])
@given(st.data())
def test_signals_equal_the_reference(data: st.DataObject) -> None:
    panel, execution, cash = data.draw(panels()), data.draw(executions()), data.draw(CASH)
    signals = data.draw(signals_of(panel))
    result = run_portfolio(panel, each_told(panel, signals), {}, execution, cash=cash)
    assert_equal(result, reference.simulate(panel, signals, None, execution, cash))


@st.composite
def weight_executions(draw: st.DrawFn) -> Execution:
    rates = st.sampled_from([0.0, 0.0005, 0.002, 0.03])
    return Execution(
        fill=draw(st.sampled_from(["next_open", "same_close"])),
        commission_rate=draw(rates),
        commission_fixed=draw(st.sampled_from([0.0, 1.0, 25.0])),
        slippage_rate=draw(rates),
        allow_short=draw(st.booleans()),
        fractional=draw(st.booleans()),
        close_at_end=draw(st.booleans()),
        min_trade_value=draw(st.sampled_from([0.0, 0.0, 50.0, 1_000.0])),
    )


@settings(max_examples=300)
@given(st.data())
def test_weights_equal_the_reference(data: st.DataObject) -> None:
    panel, execution, cash = data.draw(panels()), data.draw(weight_executions()), data.draw(CASH)
    weights = data.draw(weight_rows(len(Panel(panel)), len(panel)))
    result = run_portfolio(panel, by_weights(weights), {}, execution, cash=cash)
    assert_equal(result, reference.simulate(panel, None, weights, execution, cash))


def test_ruins_equal_the_reference() -> None:
    """Of thinned bars years go by in which shorts end a run, at times while a symbol held has no bar."""
    at_no_bar = {"signals": 0, "weights": 0}
    for seed in range(60):
        random = np.random.default_rng(seed)
        panel = {name: sample(name) for name in ("AAPL", "IBM", "MSFT")}
        for name, bars in panel.items():
            panel[name] = only(bars, np.flatnonzero(random.random(len(bars)) < 0.03))
        execution = Execution(allow_short=True, commission_rate=0.001)
        by = "signals" if seed % 2 else "weights"
        if by == "signals":
            shares = np.array([[0.02], [0.3], [0.3], [0.005]])
            signals = [Signals(*(random.random((4, len(bars))) < shares)) for bars in panel.values()]
            result = run_portfolio(panel, each_told(panel, signals), {}, execution)
            run = reference.simulate(panel, signals, None, execution, 10_000.0)
        else:
            weights = np.full(Panel(panel).at.shape, np.nan)
            weights[random.integers(0, 60)] = random.normal(-0.5, 0.5, 3)
            result = run_portfolio(panel, by_weights(weights), {}, execution)
            run = reference.simulate(panel, None, weights, execution, 10_000.0)
        assert_equal(result, run)
        ends = [trade for trade in run.trades if trade["exit_reason"] == "ruin"]
        at_no_bar[by] += any(
            t["exit_time"] not in [bar[0] for bar in run.books[t["symbol"]].bars] for t in ends
        )
    assert min(at_no_bar.values()) >= 5


@settings(max_examples=80)
@given(st.data())
def test_cutting_off_what_comes_later_changes_nothing_before(data: st.DataObject) -> None:
    panel = data.draw(panels())
    time = Panel(panel).time
    begun = max(bars.time[0] for bars in panel.values())
    cut = data.draw(st.integers(int(np.searchsorted(time, begun)) + 1, len(time)))
    known = [int(np.searchsorted(bars.time, time[cut - 1], "right")) for bars in panel.values()]
    early = {name: part(bars, 0, n) for (name, bars), n in zip(panel.items(), known, strict=True)}
    if data.draw(st.booleans()):
        execution = replace(data.draw(weight_executions()), close_at_end=False)
        weights = data.draw(weight_rows(len(time), len(panel)))
        result = run_portfolio(panel, by_weights(weights), {}, execution)
        cut_off = run_portfolio(early, by_weights(weights[:cut]), {}, execution)
    else:
        execution = replace(data.draw(executions()), close_at_end=False)
        signals = data.draw(signals_of(panel))
        result = run_portfolio(panel, each_told(panel, signals), {}, execution)
        cut_off = run_portfolio(early, each_told(early, [*map(first, signals, known)]), {}, execution)
    if execution.fill == "same_close":  # at its last bar a symbol does not trade
        last = min(bars.time[-1] for bars in early.values())
        cut = int(np.searchsorted(time, last))
    for curve in ("equity", "cash", "position_value"):
        assert getattr(cut_off, curve)[:cut].tolist() == getattr(result, curve)[:cut].tolist()
    before, rest = cut_off.trades, result.trades
    until = time[cut - 1] if cut else -1
    assert before[before["exit_time"] <= until].tolist() == rest[rest["exit_time"] <= until].tolist()
