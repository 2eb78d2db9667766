"""The account of one run and its positions: how one is opened and closed."""

from math import inf
from typing import Any, Final

import numpy as np

from cift_core.engine.bars import IntArray
from cift_core.engine.kernel import in_place

SIDES: Final = ("long", "short")
EXIT_REASONS: Final = ("signal", "stop_loss", "take_profit", "trailing_stop", "ruin", "end")
SIGNAL, STOP_LOSS, TAKE_PROFIT, TRAILING_STOP, RUIN, END = range(6)

# One closed trade; `symbol` counts the symbols of the run, `side` and `exit_reason` index SIDES and
# EXIT_REASONS, times are ns since 1970 UTC.
TRADE: Final = np.dtype(
    [
        ("symbol", np.int32),
        ("side", np.int8),
        ("size", np.float64),
        ("entry_time", np.int64),
        ("entry_price", np.float64),
        ("exit_time", np.int64),
        ("exit_price", np.float64),
        ("pnl", np.float64),
        ("return", np.float64),
        ("fees", np.float64),
        ("bars_held", np.int64),
        ("exit_reason", np.int8),
    ]
)

# The money of a run and the tallies of its trades. `others_value` and `others_gross` are what the positions
# in other symbols are worth, signed and unsigned: set before an entry is sized, 0 where there are no others.
ACCOUNT: Final = np.dtype(
    [
        ("cash", np.float64),
        ("others_value", np.float64),
        ("others_gross", np.float64),
        ("trades", np.int64),
        ("rejected", np.int64),
        ("fees", np.float64),
        ("notional", np.float64),
        ("wins", np.int64),
        ("gains", np.float64),
        ("losses", np.float64),
        ("pnl", np.float64),
        ("returns", np.float64),
        ("best", np.float64),
        ("worst", np.float64),
    ]
)

# What is held of one symbol, `units` below 0 when short, and the order that rests unless `order_side` is 0.
POSITION: Final = np.dtype(
    [
        ("symbol", np.int64),
        ("units", np.float64),
        ("entry_price", np.float64),
        ("entry_fee", np.float64),
        ("entry_bar", np.int64),
        ("stop_base", np.float64),
        ("best_close", np.float64),
        ("order_side", np.float64),
        ("order_type", np.int64),
        ("order_price", np.float64),
        ("order_last_bar", np.int64),
        ("order_close", np.float64),
    ]
)


@in_place
def _sized(terms: Any, equity: float, buying_power: float, price: float) -> float:
    """Units to trade, 0 for an order that is rejected."""
    wanted: float
    if terms.size_type == 0:
        money = min(terms.size_value * equity, buying_power)
        wanted = (money - terms.commission_fixed) / (price * (1.0 + terms.commission_rate))
    elif terms.size_type == 1:
        wanted = terms.size_value
    else:
        wanted = terms.size_value / price
    units = rounded(terms, wanted)
    if not 0.0 < units < inf:
        return 0.0
    cost = units * price * (1.0 + terms.commission_rate) + terms.commission_fixed
    if terms.size_type != 0 and cost > buying_power:
        return 0.0
    return units


@in_place
def rounded(terms: Any, units: float) -> float:
    """Units floored to what can be traded: 1e-8, or whole ones."""
    traded: float = np.floor(units * 1e8) / 1e8 if terms.fractional else np.floor(units)
    return traded


@in_place
def enter(
    account: Any, position: Any, terms: Any, i: int, side: float, market_price: float, signal_close: float
) -> None:
    """Opens a position (`side` 1 long, -1 short) where there is none, or counts a rejected order."""
    price = market_price * (1.0 + side * terms.slippage_rate)
    equity = account.cash + account.others_value
    units = _sized(terms, equity, equity - account.others_gross, price)
    if units == 0.0:
        account.rejected += 1
        return
    notional = units * price
    fee = terms.commission_rate * notional + terms.commission_fixed
    account.cash = account.cash - side * notional - fee
    account.fees += fee
    account.notional += notional
    position.units = side * units
    position.entry_price = price
    position.entry_fee = fee
    position.entry_bar = i
    position.stop_base = price if terms.base_is_fill else signal_close
    position.best_close = position.stop_base


@in_place
def leave(
    account: Any,
    position: Any,
    terms: Any,
    trades: Any,
    time: IntArray,
    i: int,
    market_price: float,
    reason: int,
) -> None:
    """Closes the position, tallies the trade, and writes it where `trades` has room."""
    reduce(account, position, terms, trades, time, i, 0.0, market_price, reason)


@in_place
def reduce(
    account: Any,
    position: Any,
    terms: Any,
    trades: Any,
    time: IntArray,
    i: int,
    kept: float,
    market_price: float,
    reason: int,
) -> None:
    """Closes the position down to exactly `kept` units: a trade that bears its share of the entry fee."""
    side, held = (1.0 if position.units > 0.0 else -1.0), abs(position.units)
    units = held - kept
    price = market_price * (1.0 - side * terms.slippage_rate)
    notional = units * price
    fee = terms.commission_rate * notional + terms.commission_fixed
    entry_fee = position.entry_fee if kept == 0.0 else position.entry_fee * (units / held)
    fees = entry_fee + fee
    pnl = side * units * (price - position.entry_price) - fees
    trade_return = pnl / (units * position.entry_price)
    if account.trades < len(trades):
        trade = trades[account.trades]
        trade["symbol"] = position.symbol
        trade["side"] = 0 if side > 0.0 else 1
        trade["size"] = units
        trade["entry_time"] = time[position.entry_bar]
        trade["entry_price"] = position.entry_price
        trade["exit_time"] = time[i]
        trade["exit_price"] = price
        trade["pnl"] = pnl
        trade["return"] = trade_return
        trade["fees"] = fees
        trade["bars_held"] = i - position.entry_bar
        trade["exit_reason"] = reason
    account.best = trade_return if account.trades == 0 else max(account.best, trade_return)
    account.worst = trade_return if account.trades == 0 else min(account.worst, trade_return)
    account.cash = account.cash + side * notional - fee
    account.fees += fee
    account.notional += notional
    account.trades += 1
    account.pnl += pnl
    account.returns += trade_return
    if pnl > 0.0:
        account.wins += 1
        account.gains += pnl
    else:
        account.losses -= pnl
    position.units = 0.0 if kept == 0.0 else side * kept
    position.entry_fee -= entry_fee


@in_place
def add(
    account: Any, position: Any, terms: Any, i: int, target: float, buying_power: float, market_price: float
) -> None:
    """Brings a position on the side of `target`, or none, up to exactly so many units (below 0: short) or as
    far as the buying power goes, at the mean of all entry prices; a first entry that comes to nothing counts
    as rejected."""
    side, held = (1.0 if target > 0.0 else -1.0), abs(position.units)
    price = market_price * (1.0 + side * terms.slippage_rate)
    affordable = rounded(
        terms, (buying_power - terms.commission_fixed) / (price * (1.0 + terms.commission_rate))
    )
    missing = abs(target) - held
    more = min(missing, affordable)
    if not more > 0.0:
        account.rejected += held == 0.0
        return
    if more * market_price < terms.min_trade_value:
        return
    notional = more * price
    fee = terms.commission_rate * notional + terms.commission_fixed
    account.cash = account.cash - side * notional - fee
    account.fees += fee
    account.notional += notional
    if held == 0.0:
        position.entry_price, position.entry_fee, position.entry_bar = price, 0.0, i
    else:
        position.entry_price = (held * position.entry_price + notional) / (held + more)
    position.units = target if more == missing else side * (held + more)
    position.entry_fee += fee
