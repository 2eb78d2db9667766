"""The compiled simulation: signals in, fills, equity and the figures of the run out."""

from math import isnan, nan
from typing import Any, Final

from cift_core.engine import metrics
from cift_core.engine.account import (
    END,
    RUIN,
    SIGNAL,
    STOP_LOSS,
    TAKE_PROFIT,
    TRAILING_STOP,
    enter,
    leave,
)
from cift_core.engine.bars import BoolArray, FloatArray, IntArray
from cift_core.engine.kernel import kernel

_NONE: Final = -1

# What `simulate` writes into its last argument: the figures of api.md, then the position left open
# (size 0: none).
FIGURES: Final = (
    "trades",
    "final_equity",
    "total_return",
    "annual_return",
    "annual_volatility",
    "sharpe",
    "sortino",
    "calmar",
    "max_drawdown",
    "max_drawdown_duration_s",
    "rejected_orders",
    "ruined",
    "exposure",
    "turnover",
    "win_rate",
    "profit_factor",
    "expectancy",
    "avg_trade_return",
    "best_trade",
    "worst_trade",
    "fees_paid",
    "buy_and_hold_return",
    "open_position",
)


@kernel
def _touched_level(book: Any, terms: Any, open_: float, high: float, low: float) -> tuple[int, float]:
    """The reason and market price at which a level closes the position in this bar, or no reason.

    A level that is not set is NaN and compares false.
    """
    side = 1.0 if book.position > 0.0 else -1.0
    stop = book.stop_base * (1.0 - side * terms.stop_loss)
    target = book.stop_base * (1.0 + side * terms.take_profit)
    trail = book.best_close * (1.0 - side * terms.trailing_stop)
    stop_reason = STOP_LOSS
    if isnan(stop) or (trail - stop) * side > 0.0:
        stop, stop_reason = trail, TRAILING_STOP
    if side > 0.0:
        open_beyond_stop, stop_touched = open_ <= stop, low <= stop
        open_beyond_target, target_touched = open_ >= target, high >= target
    else:
        open_beyond_stop, stop_touched = open_ >= stop, high >= stop
        open_beyond_target, target_touched = open_ <= target, low <= target
    if open_beyond_stop:
        return stop_reason, open_
    if open_beyond_target:
        return TAKE_PROFIT, open_
    if stop_touched:
        return stop_reason, stop
    if target_touched:
        return TAKE_PROFIT, target
    return _NONE, 0.0


@kernel
def _follow_levels(
    book: Any, terms: Any, trades: Any, time: IntArray, i: int, open_: float, high: float, low: float
) -> None:
    """Closes the position where a level is touched in bar i."""
    reason, price = _touched_level(book, terms, open_, high, low)
    if reason != _NONE:
        leave(book, terms, trades, time, i, price, reason)


@kernel
def _wanted(
    book: Any, terms: Any, long_entry: bool, long_exit: bool, short_entry: bool, short_exit: bool
) -> tuple[bool, float]:
    """Whether one bar's signals close the position, and the side (1, -1, or 0 for none) they then open."""
    go_long = long_entry and not long_exit
    go_short = terms.allow_short and short_entry and not short_exit
    if go_long and go_short:
        go_long = go_short = False
    if book.position > 0.0:
        return long_exit or go_short, -1.0 if go_short else 0.0
    if book.position < 0.0:
        return short_exit or go_long, 1.0 if go_long else 0.0
    return False, 1.0 if go_long else (-1.0 if go_short else 0.0)


@kernel
def _write_figures(
    book: Any, terms: Any, equity: FloatArray, time: IntArray, close: FloatArray, held: int, out: FloatArray
) -> None:
    """The figures in the order of FIGURES, `ruined` aside, over the `equity` up to the ruin."""
    n = len(equity)
    final, cash = equity[n - 1], terms.cash
    ppy, rf = terms.ppy, terms.risk_free_rate
    returns = metrics.per_bar_returns(equity, cash)
    mean_return = metrics.mean(returns)
    risk = metrics.deviation(returns, mean_return)
    downside_risk = metrics.downside_deviation(returns, rf / ppy)
    growth = metrics.annual_return(final, cash, n, ppy)
    fall = metrics.max_drawdown(equity, cash)
    out[0] = book.trades
    out[1] = final
    out[2] = metrics.total_return(final, cash)
    out[3] = growth
    out[4] = metrics.annual_volatility(risk, ppy)
    out[5] = metrics.sharpe(mean_return, risk, ppy, rf)
    out[6] = metrics.sortino(mean_return, downside_risk, ppy, rf)
    out[7] = metrics.calmar(growth, fall)
    out[8] = fall
    out[9] = metrics.max_drawdown_duration_s(equity, time, cash)
    out[10] = book.rejected
    out[12] = metrics.exposure(held, n)
    out[13] = metrics.turnover(book.notional, equity, ppy)
    out[14] = metrics.share(book.wins, book.trades)
    out[15] = metrics.profit_factor(book.gains, book.losses)
    out[16] = metrics.share(book.pnl, book.trades)
    out[17] = metrics.share(book.returns, book.trades)
    out[18] = book.best if book.trades > 0 else nan
    out[19] = book.worst if book.trades > 0 else nan
    out[20] = book.fees
    out[21] = metrics.buy_and_hold_return(close)
    out[22] = book.position != 0.0


@kernel
def _fill(
    book: Any,
    terms: Any,
    trades: Any,
    time: IntArray,
    i: int,
    wanted: tuple[bool, float],
    price: float,
    c: float,
) -> None:
    """Fills at bar i what is `wanted` after a signal bar with close `c`."""
    goes, side = wanted
    if goes:
        leave(book, terms, trades, time, i, price, SIGNAL)
    if side != 0.0:
        enter(book, terms, i, side, price, c)


@kernel
def _follow_close(book: Any, close: float) -> None:
    """Moves the trailing stop's base to a better close."""
    if book.position > 0.0:
        book.best_close = max(book.best_close, close)
    elif book.position < 0.0:
        book.best_close = min(book.best_close, close)


@kernel
def _pin_to_zero(i: int, equity: FloatArray, cash: FloatArray, position_value: FloatArray) -> None:
    equity[i:] = 0.0
    cash[i:] = 0.0
    position_value[i:] = 0.0


@kernel
def _record(i: int, book: Any, value: float, cash: FloatArray, position_value: FloatArray) -> None:
    """Writes one bar of the curves, where there is room."""
    if i < len(cash):
        cash[i] = book.cash
        position_value[i] = value


@kernel
def simulate(
    time: IntArray,
    open_: FloatArray,
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    signals: tuple[BoolArray, ...],
    terms_array: Any,
    book_array: Any,
    equity: FloatArray,
    cash: FloatArray,
    position_value: FloatArray,
    trades: Any,
    figures: FloatArray,
) -> None:
    """Runs one backtest on TERMS[1] and a zeroed BOOK[1]; writes `equity` (float64[n]) and the FIGURES.

    `signals` are the four of Signals in a plain tuple. `cash` and `position_value` are float64[n] or empty,
    `trades` is TRADE[m]: what has no room is not recorded. Longer than other functions because the order of
    events inside a bar is the specification, and reads best in one piece.

    The book comes from outside: Numba frees an array made here after its last use by name, and not after the
    last use of a record in it.
    """
    n, terms = len(close), terms_array[0]
    long_entry, long_exit, short_entry, short_exit = signals
    book = book_array[0]
    book.cash = terms.cash
    has_levels = not (isnan(terms.stop_loss) and isnan(terms.take_profit) and isnan(terms.trailing_stop))
    held, end = 0, n
    for i in range(n):
        if i > 0 and not terms.same_close:
            k = i - 1
            if long_entry[k] or long_exit[k] or short_entry[k] or short_exit[k]:
                wanted = _wanted(book, terms, long_entry[k], long_exit[k], short_entry[k], short_exit[k])
                _fill(book, terms, trades, time, i, wanted, open_[i], close[k])
        if has_levels and book.position != 0.0:
            _follow_levels(book, terms, trades, time, i, open_[i], high[i], low[i])
        if book.cash + book.position * close[i] > 0.0:
            _follow_close(book, close[i])
            if terms.same_close and i < n - 1:
                wanted = _wanted(book, terms, long_entry[i], long_exit[i], short_entry[i], short_exit[i])
                _fill(book, terms, trades, time, i, wanted, close[i], close[i])
            if terms.close_at_end and i == n - 1 and book.position != 0.0:
                leave(book, terms, trades, time, i, close[i], END)
        value = book.position * close[i]
        equity[i] = book.cash + value
        if equity[i] <= 0.0:
            if book.position != 0.0:
                leave(book, terms, trades, time, i, close[i], RUIN)
            end = i + 1
            _pin_to_zero(i, equity, cash, position_value)
            break
        held += book.position != 0.0
        _record(i, book, value, cash, position_value)
    figures[11] = equity[n - 1] == 0.0
    _write_figures(book, terms, equity[:end], time, close, held, figures)
