"""The compiled simulation of several symbols on one cash account, by signals or by target weights.

For one symbol and signals it does, to the last bit, what `simulate` does.
"""

from math import isnan, nan
from typing import Any

import numpy as np

from cift_core.engine.account import END, RUIN, SIGNAL, add, enter, leave, reduce, rounded
from cift_core.engine.bars import BoolArray, FloatArray, IntArray
from cift_core.engine.kernel import kernel
from cift_core.engine.orders import Orders, fill, fill_inside, fills_at_open, rests
from cift_core.engine.simulate import (
    follow_close,
    follow_levels_at_open,
    follow_levels_inside,
    obey_exits,
    pin_to_zero,
    record,
    write_figures,
)


@kernel
def _worth(positions: Any, marks: FloatArray, but_for: int = -1) -> tuple[float, float]:
    """What the positions (but for one symbol's) are worth, in account currency, signed and unsigned."""
    value = gross = 0.0
    for s in range(len(positions)):
        if s != but_for and positions[s].units != 0.0:
            worth = positions[s].units * marks[s]
            value += worth
            gross += abs(worth)
    return value, gross


@kernel
def _look_at_others(account: Any, positions: Any, marks: FloatArray, symbol: int) -> None:
    """Sets what the positions in other symbols are worth, for an entry in `symbol` to be sized."""
    account.others_value, account.others_gross = _worth(positions, marks, symbol)


@kernel
def _enter(
    account: Any, positions: Any, terms: Any, marks: FloatArray, s: int, i: int, side: float, close: float
) -> None:
    _look_at_others(account, positions, marks, s)
    enter(account, positions[s], terms, i, side, marks[s], close)


@kernel
def _trade_at_open(
    account: Any,
    positions: Any,
    terms: Any,
    orders: Orders,
    trades: Any,
    time: IntArray,
    close: FloatArray,
    signals: tuple[BoolArray, ...],
    starts: IntArray,
    bars: IntArray,
    marks: FloatArray,
    sides: FloatArray,
) -> None:
    """Everything that fills at the opens of one time: all exits, then the entries in the order of symbols."""
    long_entry, long_exit, short_entry, short_exit = signals
    has_levels = not (isnan(terms.stop_loss) and isnan(terms.take_profit) and isnan(terms.trailing_stop))
    for s in range(len(positions)):
        i, position = bars[s], positions[s]
        sides[s] = 0.0
        if i < 0:
            continue
        k = i - 1
        told = k >= starts[s] and (long_entry[k] or long_exit[k] or short_entry[k] or short_exit[k])
        if told and not terms.same_close:
            sides[s] = obey_exits(
                account, position, terms, orders, trades, time, i, signals, k, marks[s], close[k]
            )
        against = position.order_side * position.units < 0.0
        if against and fills_at_open(position, i, marks[s]):
            leave(account, position, terms, trades, time, i, marks[s], SIGNAL)
        if has_levels and position.units != 0.0:
            follow_levels_at_open(account, position, terms, trades, time, i, marks[s])
    for s in range(len(positions)):
        i, position = bars[s], positions[s]
        if sides[s] != 0.0:
            _enter(account, positions, terms, marks, s, i, sides[s], close[i - 1])
        if i >= 0 and position.order_side != 0.0 and fills_at_open(position, i, marks[s]):
            _look_at_others(account, positions, marks, s)
            fill(account, position, terms, trades, time, i, marks[s])


@kernel
def _trade_inside(
    account: Any,
    positions: Any,
    terms: Any,
    trades: Any,
    time: IntArray,
    high: FloatArray,
    low: FloatArray,
    bars: IntArray,
    marks: FloatArray,
) -> None:
    """What happens inside the bars of one time: stops and targets first, then orders that are reached."""
    has_levels = not (isnan(terms.stop_loss) and isnan(terms.take_profit) and isnan(terms.trailing_stop))
    for s in range(len(positions)):
        i, position = bars[s], positions[s]
        if i >= 0 and has_levels and position.units != 0.0:
            follow_levels_at_open(account, position, terms, trades, time, i, marks[s])
            if position.units != 0.0:
                follow_levels_inside(account, position, terms, trades, time, i, high[i], low[i])
    for s in range(len(positions)):
        i, position = bars[s], positions[s]
        if i >= 0 and position.order_side != 0.0:
            _look_at_others(account, positions, marks, s)
            fill_inside(account, position, terms, trades, time, i, high[i], low[i])


@kernel
def _trade_at_close(
    account: Any,
    positions: Any,
    terms: Any,
    orders: Orders,
    trades: Any,
    time: IntArray,
    signals: tuple[BoolArray, ...],
    starts: IntArray,
    bars: IntArray,
    marks: FloatArray,
    sides: FloatArray,
) -> None:
    """What signals of one time fill at its closes: all exits, then the entries in the order of symbols."""
    long_entry, long_exit, short_entry, short_exit = signals
    for s in range(len(positions)):
        i = bars[s]
        sides[s] = 0.0
        if not 0 <= i < starts[s + 1] - 1:
            continue
        if long_entry[i] or long_exit[i] or short_entry[i] or short_exit[i]:
            sides[s] = obey_exits(
                account, positions[s], terms, orders, trades, time, i, signals, i, marks[s], marks[s]
            )
    for s in range(len(positions)):
        if sides[s] != 0.0:
            _enter(account, positions, terms, marks, s, bars[s], sides[s], marks[s])


@kernel
def _rebalance(
    account: Any,
    positions: Any,
    terms: Any,
    trades: Any,
    time: IntArray,
    bars: IntArray,
    marks: FloatArray,
    targets: FloatArray,
) -> None:
    """Brings each symbol with a bar to its target weight (NaN: none) at `marks`: all that shrinks, then all
    that grows, in the order of symbols. A target that was looked at is NaN afterwards."""
    equity = max(account.cash + _worth(positions, marks)[0], 0.0)
    wanted = np.zeros(len(positions))
    for s in range(len(positions)):
        if bars[s] < 0 or isnan(targets[s]):
            continue
        side = 1.0 if targets[s] > 0.0 else (-1.0 if targets[s] < 0.0 and terms.allow_short else 0.0)
        wanted[s] = side * rounded(terms, abs(targets[s]) * equity / marks[s])
        held = positions[s].units
        kept = min(abs(held), abs(wanted[s])) if held * wanted[s] > 0.0 else 0.0
        less = abs(held) - kept
        if less > 0.0 and less * marks[s] >= terms.min_trade_value:
            reduce(account, positions[s], terms, trades, time, bars[s], kept, marks[s], SIGNAL)
    for s in range(len(positions)):
        if bars[s] < 0 or isnan(targets[s]):
            continue
        held, more = positions[s].units, wanted[s] - positions[s].units
        asked = targets[s] > 0.0 or (targets[s] < 0.0 and terms.allow_short)
        targets[s] = nan
        if wanted[s] == 0.0:
            account.rejected += asked and held == 0.0
        elif more * wanted[s] > 0.0 and held * wanted[s] >= 0.0:
            value, gross = _worth(positions, marks)
            add(account, positions[s], terms, bars[s], wanted[s], account.cash + value - gross, marks[s])


@kernel
def _close_what_ends(
    account: Any,
    positions: Any,
    terms: Any,
    trades: Any,
    time: IntArray,
    starts: IntArray,
    bars: IntArray,
    marks: FloatArray,
) -> None:
    """Closes the positions in symbols of which this is the last bar: later nobody can trade them."""
    for s in range(len(positions)):
        if bars[s] == starts[s + 1] - 1 and positions[s].units != 0.0:
            leave(account, positions[s], terms, trades, time, bars[s], marks[s], END)


@kernel
def _close_all(
    account: Any,
    positions: Any,
    terms: Any,
    trades: Any,
    time: IntArray,
    latest: IntArray,
    marks: FloatArray,
    now: int,
) -> None:
    """Closes all positions at their latest closes, after a ruin that happened now."""
    for s in range(len(positions)):
        if positions[s].units != 0.0:
            leave(account, positions[s], terms, trades, time, latest[s], marks[s], RUIN)
            trades[account.trades - 1]["exit_time"] = now


@kernel
def simulate_portfolio(  # noqa: C901, PLR0912, PLR0915
    axis: tuple[IntArray, IntArray, IntArray],
    columns: tuple[IntArray, FloatArray, FloatArray, FloatArray, FloatArray],
    signals: tuple[BoolArray, ...],
    orders: Orders,
    weights: FloatArray,
    terms_array: Any,
    account_array: Any,
    positions: Any,
    curves: tuple[FloatArray, FloatArray, FloatArray],
    trades: Any,
    figures: FloatArray,
) -> None:
    """Runs one backtest of k symbols on TERMS[1], a zeroed ACCOUNT[1] and POSITION[k] with their `symbol`;
    writes the curves (equity, cash and position value, float64[n]), TRADE[m] and the FIGURES.

    `axis` is `time`, `starts` and `at` of a Panel; `columns` (time, open, high, low, close), signals and
    prices of orders hold the symbols one after the other. `weights` is float64[n, k], or float64[0, k] for a
    run by signals. Longer than other functions because the order of events at one time is the specification,
    and reads best in one piece.
    """
    union_time, starts, at = axis
    time, open_, high, low, close = columns
    equity, cash, position_value = curves
    n, k = at.shape
    terms, account = terms_array[0], account_array[0]
    account.cash = terms.cash
    marks, targets, sides = np.empty(k), np.empty(k), np.empty(k)
    for s in range(k):
        marks[s] = targets[s] = nan
    has_levels = not (isnan(terms.stop_loss) and isnan(terms.take_profit) and isnan(terms.trailing_stop))
    inside = has_levels
    for s in range(k):
        inside = inside or rests(orders, s, 1.0) or rests(orders, s, -1.0)
    latest = np.zeros(k, np.int64)
    held, end = 0, n
    for j in range(n):
        bars = at[j]
        for s in range(k):
            if bars[s] >= 0:
                latest[s], marks[s] = bars[s], open_[bars[s]]
        if len(weights) == 0:
            if inside or not terms.same_close:
                _trade_at_open(
                    account,
                    positions,
                    terms,
                    orders,
                    trades,
                    time,
                    close,
                    signals,
                    starts,
                    bars,
                    marks,
                    sides,
                )
            if inside:
                _trade_inside(account, positions, terms, trades, time, high, low, bars, marks)
        elif not terms.same_close:
            _rebalance(account, positions, terms, trades, time, bars, marks, targets)
        for s in range(k):
            if bars[s] >= 0:
                marks[s] = close[bars[s]]
            if len(weights) > 0 and not isnan(weights[j, s]):
                targets[s] = weights[j, s]
        if account.cash + _worth(positions, marks)[0] > 0.0:
            for s in range(k):
                if bars[s] >= 0:
                    follow_close(positions[s], marks[s])
            if terms.same_close and len(weights) == 0:
                _trade_at_close(
                    account, positions, terms, orders, trades, time, signals, starts, bars, marks, sides
                )
            elif terms.same_close:
                for s in range(k):  # a target set at a symbol's last close comes too late
                    if bars[s] == starts[s + 1] - 1:
                        targets[s] = nan
                _rebalance(account, positions, terms, trades, time, bars, marks, targets)
            if terms.close_at_end:
                _close_what_ends(account, positions, terms, trades, time, starts, bars, marks)
        value, gross = _worth(positions, marks)
        equity[j] = account.cash + value
        if equity[j] <= 0.0:
            _close_all(account, positions, terms, trades, time, latest, marks, union_time[j])
            end = j + 1
            pin_to_zero(j, equity, cash, position_value)
            break
        held += gross > 0.0
        record(j, account, value, cash, position_value)
    figures[11] = equity[n - 1] == 0.0
    market_return = 0.0
    for s in range(k):
        market_return += (close[starts[s + 1] - 1] / close[starts[s]] - 1.0) / k
    is_open = _worth(positions, marks)[1] > 0.0
    write_figures(account, terms, equity[:end], union_time, market_return, held, is_open, figures)
