"""Cases as vectorbt 1.2.0 runs them (`Portfolio.from_signals`).

How the conventions are aligned: each bar is given twice, once for the fills of the signals at the open (or
the close) and once for its range, for vectorbt looks at stops before signals, and not on the bar of the
entry. In the row of the signals all four prices are the last close, so that no level is touched there.
`stop_exit_price="stopmarket"` slips stops and targets too, exits win over entries. Fractions of a unit are
not floored: with a granularity of 1e-8 each order would lose about as much to the error of a float's floor.
"""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.peers.cases import CASH, COST, LEVEL, UNITS, Case, Departure, Expected, Run, Trade
from tests.peers.cases import stop_before_an_open_beyond_the_target as stop_first

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import vectorbt
    from vectorbt.portfolio import nb

nb.simulate_from_signals_nb.enable_caching()  # 8 s to compile, and vectorbt keeps only what it calls


def can(case: Case) -> bool:
    """A fixed commission saved in a reversal would change the size of all that follows."""
    return not (case.all_in and case.allow_short and case.cost == "commission_fixed")


def rows(case: Case) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64]]:
    """The columns with two rows for each bar, and the rows that end a bar."""
    bars, n = case.bars, len(case.bars)
    at_open = case.fill == "next_open"
    signal, bar = (
        (slice(0, None, 2), slice(1, None, 2)) if at_open else (slice(1, None, 2), slice(0, None, 2))
    )
    last_close = np.r_[bars.open[0], bars.close[:-1]] if at_open else bars.close
    table = np.zeros((2 * n, 4), np.bool_)
    table[signal] = np.roll(case.signals, 1, axis=1).T if at_open else case.signals.T
    table[0 if at_open else -1] = False  # what the last bar asks for fills nothing
    columns: dict[str, NDArray[Any]] = {}
    for name in ("open", "high", "low", "close"):
        columns[name] = np.empty(2 * n)
        columns[name][signal], columns[name][bar] = last_close, getattr(bars, name)
    columns["price"] = np.repeat(bars.open if at_open else bars.close, 2)
    names = ("entries", "exits", "short_entries", "short_exits")
    return columns | dict(zip(names, table.T.copy(), strict=True)), np.arange(1, 2 * n, 2)


def from_signals(columns: dict[str, NDArray[Any]], **options: Any) -> Any:
    """The portfolio; columns are arrays and options floats or words, or it would be compiled once more."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return vectorbt.Portfolio.from_signals(**columns, **options)


def run(case: Case) -> Run:
    columns, ends = rows(case)
    costs = {name: COST[name] if name == case.cost else 0.0 for name in COST}
    levels = {name: LEVEL[name] if name in case.levels else np.nan for name in LEVEL}
    portfolio = from_signals(
        columns,
        size=np.inf if case.all_in else UNITS,
        size_granularity=np.nan if case.fractional else 1.0,
        init_cash=CASH,
        fees=costs["commission_rate"],
        fixed_fees=costs["commission_fixed"],
        slippage=costs["slippage_rate"],
        sl_stop=levels["stop_loss"],
        tp_stop=levels["take_profit"],
        stop_entry_price="fillprice" if case.stop_base == "fill" else "close",
        stop_exit_price="stopmarket",
        upon_long_conflict="exit",
        upon_short_conflict="exit",
        upon_opposite_entry="reverse",
    )
    records, equity = portfolio.trades.records, portfolio.value().to_numpy()
    trades = []
    for t in records.to_dict("records"):
        trade = Trade(1 - 2 * t["direction"], t["size"], t["entry_idx"] // 2, t["entry_price"])
        if t["status"] == 1:
            trade = trade._replace(exit_bar=t["exit_idx"] // 2, exit_price=t["exit_price"], pnl=t["pnl"])
        trades.append(trade)
    return Run(trades, equity[ends])


def one_order_reverses(case: Case, expected: Expected, reasons: list[str]) -> None:
    """Where we pay `commission_fixed` for the exit and for the entry, they pay it once, half for each."""
    if case.cost != "commission_fixed":
        return
    trades, fee = expected.run.trades, COST["commission_fixed"]
    for number in range(1, len(trades)):
        before, after = trades[number - 1], trades[number]
        if before.exit_bar == after.entry_bar and reasons[number - 1] == "signal":
            for half in (number - 1, number):
                expected.pay(half, after.entry_bar, fee / 2, "half of a fixed commission saved in a reversal")


DEPARTURES: tuple[Departure, ...] = (stop_first, one_order_reverses)
SAMPLE = 300
