"""The account of one run: what it holds, and how a position is opened and closed."""

from math import inf
from typing import Any, Final

import numpy as np

from cift_core.engine.bars import IntArray
from cift_core.engine.kernel import kernel

SIDES: Final = ("long", "short")
EXIT_REASONS: Final = ("signal", "stop_loss", "take_profit", "trailing_stop", "ruin", "end")
SIGNAL, STOP_LOSS, TAKE_PROFIT, TRAILING_STOP, RUIN, END = range(6)

# One closed trade; `side` and `exit_reason` index SIDES and EXIT_REASONS, times are ns since 1970 UTC.
TRADE: Final = np.dtype(
    [
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

# The account of one run and the tallies of its trades; `position` is in units, below 0 when short.
BOOK: Final = np.dtype(
    [
        ("cash", np.float64),
        ("position", np.float64),
        ("entry_price", np.float64),
        ("entry_fee", np.float64),
        ("entry_bar", np.int64),
        ("stop_base", np.float64),
        ("best_close", np.float64),
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


@kernel
def _units(terms: Any, equity: float, price: float) -> float:
    """Units to trade, 0 for an order that is rejected."""
    wanted: float
    if terms.size_type == 0:
        wanted = (terms.size_value * equity - terms.commission_fixed) / (
            price * (1.0 + terms.commission_rate)
        )
    elif terms.size_type == 1:
        wanted = terms.size_value
    else:
        wanted = terms.size_value / price
    units: float = np.floor(wanted * 1e8) / 1e8 if terms.fractional else np.floor(wanted)
    if not 0.0 < units < inf:
        return 0.0
    cost = units * price * (1.0 + terms.commission_rate) + terms.commission_fixed
    if terms.size_type != 0 and cost > equity:
        return 0.0
    return units


@kernel
def enter(book: Any, terms: Any, i: int, side: float, market_price: float, signal_close: float) -> None:
    """Opens a position (`side` 1 long, -1 short) for a flat account, or counts a rejected order."""
    price = market_price * (1.0 + side * terms.slippage_rate)
    units = _units(terms, book.cash, price)
    if units == 0.0:
        book.rejected += 1
        return
    notional = units * price
    fee = terms.commission_rate * notional + terms.commission_fixed
    book.cash = book.cash - side * notional - fee
    book.position = side * units
    book.entry_price = price
    book.entry_fee = fee
    book.entry_bar = i
    book.stop_base = price if terms.base_is_fill else signal_close
    book.best_close = book.stop_base
    book.fees += fee
    book.notional += notional


@kernel
def leave(
    book: Any, terms: Any, trades: Any, time: IntArray, i: int, market_price: float, reason: int
) -> None:
    """Closes the position, tallies the trade, and writes it where `trades` has room."""
    side = 1.0 if book.position > 0.0 else -1.0
    units = abs(book.position)
    price = market_price * (1.0 - side * terms.slippage_rate)
    notional = units * price
    fee = terms.commission_rate * notional + terms.commission_fixed
    fees = book.entry_fee + fee
    pnl = book.position * (price - book.entry_price) - fees
    trade_return = pnl / (units * book.entry_price)
    if book.trades < len(trades):
        trade = trades[book.trades]
        trade["side"] = 0 if side > 0.0 else 1
        trade["size"] = units
        trade["entry_time"] = time[book.entry_bar]
        trade["entry_price"] = book.entry_price
        trade["exit_time"] = time[i]
        trade["exit_price"] = price
        trade["pnl"] = pnl
        trade["return"] = trade_return
        trade["fees"] = fees
        trade["bars_held"] = i - book.entry_bar
        trade["exit_reason"] = reason
    book.best = trade_return if book.trades == 0 else max(book.best, trade_return)
    book.worst = trade_return if book.trades == 0 else min(book.worst, trade_return)
    book.cash = book.cash + side * notional - fee
    book.position = 0.0
    book.fees += fee
    book.notional += notional
    book.trades += 1
    book.pnl += pnl
    book.returns += trade_return
    if pnl > 0.0:
        book.wins += 1
        book.gains += pnl
    else:
        book.losses -= pnl
