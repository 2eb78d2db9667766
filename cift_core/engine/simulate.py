"""The compiled simulation: signals in, fills, equity and the figures of the run out."""

from math import isnan, nan
from typing import Any, Final

from cift_core.engine import metrics
from cift_core.engine.account import END, RUIN, SIGNAL, TAKE_PROFIT, enter, leave
from cift_core.engine.bars import BoolArray, FloatArray, IntArray
from cift_core.engine.kernel import in_place
from cift_core.engine.orders import Orders, fill, fill_inside, fills_at_open, place, rests, tighter_stop

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


@in_place
def follow_levels_at_open(
    account: Any, position: Any, terms: Any, trades: Any, time: IntArray, i: int, open_: float
) -> None:
    """Closes the position where bar i opens beyond a level; one that is not set is NaN and compares false."""
    side = 1.0 if position.units > 0.0 else -1.0
    reason, stop = tighter_stop(position, terms)
    target = position.stop_base * (1.0 + side * terms.take_profit)
    if open_ <= stop if side > 0.0 else open_ >= stop:
        leave(account, position, terms, trades, time, i, open_, reason)
    elif open_ >= target if side > 0.0 else open_ <= target:
        leave(account, position, terms, trades, time, i, open_, TAKE_PROFIT)


@in_place
def follow_levels_inside(
    account: Any, position: Any, terms: Any, trades: Any, time: IntArray, i: int, high: float, low: float
) -> None:
    """Closes the position where the range of bar i touches a level, at that level; of two the stop."""
    side = 1.0 if position.units > 0.0 else -1.0
    reason, stop = tighter_stop(position, terms)
    target = position.stop_base * (1.0 + side * terms.take_profit)
    if low <= stop if side > 0.0 else high >= stop:
        leave(account, position, terms, trades, time, i, stop, reason)
    elif high >= target if side > 0.0 else low <= target:
        leave(account, position, terms, trades, time, i, target, TAKE_PROFIT)


@in_place
def write_figures(
    account: Any,
    terms: Any,
    equity: FloatArray,
    time: IntArray,
    market_return: float,
    held: int,
    is_open: bool,
    out: FloatArray,
) -> None:
    """The figures in the order of FIGURES, `ruined` aside, over the `equity` up to the ruin."""
    n = len(equity)
    final, cash = equity[n - 1], terms.cash
    ppy, rf = terms.ppy, terms.risk_free_rate
    mean_return, mean_equity, fall, longest_s = metrics.walk(equity, time, cash)
    risk, downside_risk = metrics.deviations(equity, cash, mean_return, rf / ppy)
    growth = metrics.annual_return(final, cash, n, ppy)
    out[0] = account.trades
    out[1] = final
    out[2] = metrics.total_return(final, cash)
    out[3] = growth
    out[4] = metrics.annual_volatility(risk, ppy)
    out[5] = metrics.sharpe(mean_return, risk, ppy, rf)
    out[6] = metrics.sortino(mean_return, downside_risk, ppy, rf)
    out[7] = metrics.calmar(growth, fall)
    out[8] = fall
    out[9] = longest_s
    out[10] = account.rejected
    out[12] = metrics.exposure(held, n)
    out[13] = metrics.turnover(account.notional, mean_equity, n, ppy)
    out[14] = metrics.share(account.wins, account.trades)
    out[15] = metrics.profit_factor(account.gains, account.losses)
    out[16] = metrics.share(account.pnl, account.trades)
    out[17] = metrics.share(account.returns, account.trades)
    out[18] = account.best if account.trades > 0 else nan
    out[19] = account.worst if account.trades > 0 else nan
    out[20] = account.fees
    out[21] = market_return
    out[22] = is_open


@in_place
def obey_exits(
    account: Any,
    position: Any,
    terms: Any,
    orders: Orders,
    trades: Any,
    time: IntArray,
    i: int,
    signals: tuple[BoolArray, ...],
    k: int,
    price: float,
    signal_close: float,
) -> float:
    """Does at bar i what the signals of bar k ask for, but for entries at the market: the side to enter
    (1 long, -1 short), 0 for none."""
    long_entry, long_exit, short_entry, short_exit = signals
    go_long = long_entry[k] and not long_exit[k]
    go_short = terms.allow_short and short_entry[k] and not short_exit[k]
    if go_long and go_short:
        go_long = go_short = False
    ends_long, ends_short = long_exit[k] or go_short, short_exit[k] or go_long
    if (position.order_side > 0.0 and ends_long) or (position.order_side < 0.0 and ends_short):
        position.order_side = 0.0
    side = 1.0 if go_long else (-1.0 if go_short else 0.0)
    if side * position.units > 0.0:
        side = 0.0
    waits = side != 0.0 and rests(orders, position.symbol, side)
    if waits:  # what it is against stays until it fills, but for an exit
        ends_long, ends_short = long_exit[k], short_exit[k]
    if (position.units > 0.0 and ends_long) or (position.units < 0.0 and ends_short):
        leave(account, position, terms, trades, time, i, price, SIGNAL)
    if waits:
        place(position, orders, k, side, signal_close)
        return 0.0
    return side


@in_place
def follow_close(position: Any, close: float) -> None:
    """Moves the trailing stop's base to a better close."""
    if position.units > 0.0:
        position.best_close = max(position.best_close, close)
    elif position.units < 0.0:
        position.best_close = min(position.best_close, close)


@in_place
def pin_to_zero(i: int, equity: FloatArray, cash: FloatArray, position_value: FloatArray) -> None:
    equity[i:] = 0.0
    cash[i:] = 0.0
    position_value[i:] = 0.0


@in_place
def record(i: int, account: Any, value: float, cash: FloatArray, position_value: FloatArray) -> None:
    """Writes one bar of the curves, where there is room."""
    if i < len(cash):
        cash[i] = account.cash
        position_value[i] = value


@in_place
def mark_told(signals: tuple[BoolArray, ...], told: BoolArray) -> None:
    """Into `told`, bool[n]: whether a bar signals anything."""
    long_entry, long_exit, short_entry, short_exit = signals
    for i in range(len(told)):
        told[i] = long_entry[i] | long_exit[i] | short_entry[i] | short_exit[i]


@in_place
def next_told(told: BoolArray, i: int, n: int) -> int:
    """The first bar from i on that signals something, n where none before it does."""
    while i < n and not told[i]:
        i += 1
    return i


@in_place
def record_quiet(
    money: float,
    units: float,
    close: FloatArray,
    equity: FloatArray,
    cash: FloatArray,
    position_value: FloatArray,
) -> int:
    """Writes bars between which nothing trades: how many of them, up to one that would be a ruin."""
    n, ruined = len(close), False
    for i in range(n):
        equity[i] = money + units * close[i]
        ruined |= equity[i] <= 0.0
    if ruined:
        n = 0
        while not equity[n] <= 0.0:
            n += 1
    for i in range(min(n, len(cash))):
        cash[i] = money
        position_value[i] = units * close[i]
    return n


@in_place
def simulate(  # noqa: C901, PLR0912
    time: IntArray,
    open_: FloatArray,
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    signals: tuple[BoolArray, ...],
    orders: Orders,
    terms_array: Any,
    account_array: Any,
    positions: Any,
    told: BoolArray,
    equity: FloatArray,
    cash: FloatArray,
    position_value: FloatArray,
    trades: Any,
    figures: FloatArray,
) -> None:
    """Runs one backtest on TERMS[1] and a zeroed ACCOUNT[1] and POSITION[1]; writes `equity` (float64[n]) and
    the FIGURES.

    `signals` are the four of Signals in a plain tuple, `orders` how its entries are placed. `cash` and
    `position_value` are float64[n] or empty, `trades` is TRADE[m]: what has no room is not recorded. Longer
    than other functions because the order of events inside a bar is the specification, and reads best in one
    piece.
    """
    n, terms = len(close), terms_array[0]
    account, position = account_array[0], positions[0]
    account.cash = terms.cash
    same_close, trails = terms.same_close, not isnan(terms.trailing_stop)
    has_levels = trails or not (isnan(terms.stop_loss) and isnan(terms.take_profit))
    held, end, written = 0, n, 0
    mark_told(signals, told)
    for i in range(n):
        if i < written:
            continue
        if i > 0 and told[i - 1] and not same_close:
            k = i - 1
            side = obey_exits(
                account, position, terms, orders, trades, time, i, signals, k, open_[i], close[k]
            )
            if side != 0.0:
                enter(account, position, terms, i, side, open_[i], close[k])
        if position.order_side != 0.0 and fills_at_open(position, i, open_[i]):
            fill(account, position, terms, trades, time, i, open_[i])
        if has_levels and position.units != 0.0:
            follow_levels_at_open(account, position, terms, trades, time, i, open_[i])
            if position.units != 0.0:
                follow_levels_inside(account, position, terms, trades, time, i, high[i], low[i])
        if position.order_side != 0.0:
            fill_inside(account, position, terms, trades, time, i, high[i], low[i])
        if account.cash + position.units * close[i] > 0.0:
            if trails:
                follow_close(position, close[i])
            if told[i] and same_close and i < n - 1:
                side = obey_exits(
                    account, position, terms, orders, trades, time, i, signals, i, close[i], close[i]
                )
                if side != 0.0:
                    enter(account, position, terms, i, side, close[i], close[i])
            if i == n - 1 and terms.close_at_end and position.units != 0.0:
                leave(account, position, terms, trades, time, i, close[i], END)
        value = position.units * close[i]
        worth = account.cash + value
        if worth <= 0.0:
            if position.units != 0.0:
                leave(account, position, terms, trades, time, i, close[i], RUIN)
            end = i + 1
            pin_to_zero(i, equity, cash, position_value)
            break
        equity[i] = worth
        held += position.units != 0.0
        record(i, account, value, cash, position_value)
        if not told[i] and position.order_side == 0.0 and (position.units == 0.0 or not has_levels):
            quiet = slice(i + 1, next_told(told, i + 1, n - 1))
            written = (
                i
                + 1
                + record_quiet(
                    account.cash,
                    position.units,
                    close[quiet],
                    equity[quiet],
                    cash[quiet],
                    position_value[quiet],
                )
            )
            held += (written - i - 1) * (position.units != 0.0)
    figures[11] = equity[n - 1] == 0.0
    market_return = metrics.buy_and_hold_return(close)
    write_figures(account, terms, equity[:end], time, market_return, held, position.units != 0.0, figures)
