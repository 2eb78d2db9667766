"""Backtests of several symbols on one cash account."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from cift_core.engine import metrics
from cift_core.engine.account import ACCOUNT, POSITION, TRADE
from cift_core.engine.bars import Bars, BoolArray
from cift_core.engine.execution import Execution
from cift_core.engine.panel import Panel
from cift_core.engine.run import (
    Result,
    bars_per_year,
    checked_cash,
    named_figures,
    open_position,
    placed_orders,
)
from cift_core.engine.signals import Signals
from cift_core.engine.simulate import FIGURES
from cift_core.engine.simulate_portfolio import simulate_portfolio
from cift_core.engine.strategy import Params, Series, Strategy

_NO_FLAGS: Final = np.empty(0, np.bool_)
_NO_SIGNALS: Final = Signals(_NO_FLAGS, _NO_FLAGS, _NO_FLAGS, _NO_FLAGS)


def run_portfolio(
    bars: Mapping[str, Bars],
    strategy: Strategy,
    params: Params,
    execution: Execution | None = None,
    cash: float = 10_000.0,
) -> Result:
    """The result of trading `strategy` on the `bars` of several symbols with one `cash` account.

    Of one moment all exits are filled first, then the entries in the order of `bars`; curves and figures are
    over the union of all times. A trade's `symbol` counts the symbols from 0. `metrics["open_positions"]`, in
    place of the one `open_position`, lists what is left of each symbol at the end; `buy_and_hold_return` is
    the mean of the symbols'. For one symbol and signals trades, curves and figures are those of
    `run_backtest`.

    Raises InvalidInput as `run_backtest`, and for bars of different intervals.
    """
    full = strategy.validate(params)
    execution = strategy.execution(execution or Execution(), full)
    start_cash = checked_cash(cash)
    panel = Panel(bars)
    ppy = bars_per_year(panel, execution)
    n, k = panel.at.shape
    signals, weights = [_NO_SIGNALS] * k, np.empty((0, k))
    if strategy.weigh is None:
        signals = [strategy.signals(Series(one), full) for one in bars.values()]
    else:
        weights = strategy.weights(panel, full)
    account, positions = np.zeros(1, ACCOUNT), np.zeros(k, POSITION)
    positions["symbol"] = np.arange(k)
    times, closes = panel.times(), panel.column("close")
    columns = times, panel.column("open"), panel.column("high"), panel.column("low"), closes
    asked = _joined(signals), placed_orders(signals, execution), weights
    state = execution.terms(start_cash, ppy, symbols=k), account, positions
    equity, cash_curve, position_value, drawdown = np.empty((4, n))
    curves = equity, cash_curve, position_value
    trades, figures = np.empty(2 * len(times), TRADE), np.empty(len(FIGURES))
    axis = panel.time, panel.starts, panel.at
    simulate_portfolio(axis, columns, *asked, *state, curves, trades, figures)
    metrics.write_drawdowns(equity, start_cash, drawdown)
    trades.resize(int(figures[0]), refcheck=False)
    ends = panel.starts[1:] - 1
    left = [open_position(positions[s], times, closes, int(end)) for s, end in enumerate(ends)]
    named = [{"symbol": symbol, **one} for symbol, one in zip(bars, left, strict=True) if one]
    return Result(
        params=full,
        metrics={**named_figures(figures, ppy), "open_position": None, "open_positions": named},
        time=panel.time,
        trades=trades,
        equity=equity,
        cash=cash_curve,
        position_value=position_value,
        drawdown=drawdown,
    )


def _joined(signals: Sequence[Signals]) -> tuple[BoolArray, ...]:
    """The signals of several symbols, one after the other."""
    return tuple(np.concatenate(flags) for flags in zip(*(one.flags for one in signals), strict=True))
