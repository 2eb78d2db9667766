"""Resting entry orders: placed by a signal, filled where the market comes to their price."""

from math import isnan
from typing import Any, Final

from cift_core.engine.account import SIGNAL, STOP_LOSS, TRAILING_STOP, enter, leave
from cift_core.engine.bars import FloatArray, IntArray
from cift_core.engine.kernel import in_place

MARKET, LIMIT, STOP = range(3)
ORDER_TYPES: Final = ("market", "limit", "stop")
# Of long entries, then of short ones: each symbol's type of order (int64[k]), the prices of the symbols'
# bars one after the other (float64; empty where all are at the market), the bars an order lives (int64[k]).
Orders = tuple[IntArray, FloatArray, IntArray, IntArray, FloatArray, IntArray]


@in_place
def rests(orders: Orders, symbol: int, side: float) -> bool:
    """Whether a symbol's entries of this side (1 long, -1 short) wait for a price."""
    types = orders[0] if side > 0.0 else orders[3]
    return bool(types[symbol] != MARKET)


@in_place
def place(position: Any, orders: Orders, signal_bar: int, side: float, signal_close: float) -> None:
    """Puts the order of a signal in the place of the one that rests, if any; a NaN price is no order."""
    types, prices, lifetimes = orders[3:] if side < 0.0 else orders[:3]
    if not isnan(prices[signal_bar]):
        position.order_side = side
        position.order_type = types[position.symbol]
        position.order_price = prices[signal_bar]
        position.order_last_bar = signal_bar + lifetimes[position.symbol]
        position.order_close = signal_close


@in_place
def fills_at_open(position: Any, i: int, open_: float) -> bool:
    """Whether the resting order fills at the open, which is at or beyond its price; drops one that is too
    old."""
    if i > position.order_last_bar:
        position.order_side = 0.0
        return False
    fills: bool = (
        open_ >= position.order_price if _waits_for_a_rise(position) else open_ <= position.order_price
    )
    return fills


@in_place
def fill_inside(
    account: Any, position: Any, terms: Any, trades: Any, time: IntArray, i: int, high: float, low: float
) -> None:
    """Fills the resting order where the bar's range reaches its price; then looks at the stop alone.

    What came first inside the bar is not known: the worse is taken, that the stop was touched afterwards.
    """
    price = position.order_price
    if not (high >= price if _waits_for_a_rise(position) else low <= price):
        return
    fill(account, position, terms, trades, time, i, price)
    if position.units == 0.0:
        return
    reason, stop = tighter_stop(position, terms)
    if position.units > 0.0 and low <= stop:
        leave(account, position, terms, trades, time, i, min(stop, price), reason)
    elif position.units < 0.0 and high >= stop:
        leave(account, position, terms, trades, time, i, max(stop, price), reason)


@in_place
def tighter_stop(position: Any, terms: Any) -> tuple[int, float]:
    """The reason and level of the stop or trailing stop, whichever is closer; NaN where none is set."""
    side = 1.0 if position.units > 0.0 else -1.0
    stop = position.stop_base * (1.0 - side * terms.stop_loss)
    trail = position.best_close * (1.0 - side * terms.trailing_stop)
    if isnan(stop) or (trail - stop) * side > 0.0:
        return TRAILING_STOP, trail
    return STOP_LOSS, stop


@in_place
def _waits_for_a_rise(position: Any) -> bool:
    rises: bool = (position.order_side > 0.0) == (position.order_type == STOP)
    return rises


@in_place
def fill(
    account: Any, position: Any, terms: Any, trades: Any, time: IntArray, i: int, market_price: float
) -> None:
    """Fills the resting order: against a position it closes that first."""
    side = position.order_side
    position.order_side = 0.0
    if position.units * side < 0.0:
        leave(account, position, terms, trades, time, i, market_price, SIGNAL)
    enter(account, position, terms, i, side, market_price, position.order_close)
