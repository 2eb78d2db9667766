"""One backtest: its trades, its curves and its figures."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cift_core.engine import metrics
from cift_core.engine.account import ACCOUNT, POSITION, SIDES, TRADE
from cift_core.engine.bars import Bars, FloatArray, IntArray, periods_per_year, rfc3339
from cift_core.engine.execution import Execution, is_number
from cift_core.engine.orders import MARKET, ORDER_TYPES, Orders
from cift_core.engine.panel import Panel
from cift_core.engine.signals import EntryOrder, Signals
from cift_core.engine.simulate import FIGURES, simulate
from cift_core.engine.strategy import Params, Series, Strategy
from cift_core.errors import FieldError, InvalidInput

ENGINE_VERSION: Final = "3"

COUNTS: Final = ("trades", "rejected_orders")
FLAGS: Final = ("ruined", "open_position")
_NO_PRICES: Final = np.empty(0)


@dataclass(frozen=True)
class Result:
    """One backtest: `metrics` (the keys of the API, plain JSON values, None for a figure that does not
    exist), `trades` (TRADE records in exit order), and per bar `time` (int64[n]), `equity`, `cash`,
    `position_value`, `drawdown` (float64[n]).

    `params` are those the run used, defaults filled in.
    """

    params: dict[str, Any]
    metrics: dict[str, Any]
    trades: NDArray[np.void]
    time: IntArray
    equity: FloatArray
    cash: FloatArray
    position_value: FloatArray
    drawdown: FloatArray

    def sha256(self) -> str:
        """SHA-256 (hex) of the trades (records as in TRADE, little-endian, unpadded), the equity
        (little-endian float64) and the metrics (JSON with sorted keys, no spaces, shortest round-trip
        floats), in that order."""
        digest = hashlib.sha256(self.trades.astype(TRADE.newbyteorder("<"), copy=False).tobytes())
        digest.update(self.equity.astype("<f8", copy=False).tobytes())
        digest.update(
            json.dumps(self.metrics, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
        )
        return digest.hexdigest()


def run_backtest(
    bars: Bars,
    strategy: Strategy,
    params: Params,
    execution: Execution | None = None,
    cash: float = 10_000.0,
) -> Result:
    """The result of trading `strategy` on `bars` with `cash` at the start.

    Raises InvalidInput for parameters out of bounds and for cash that is not above 0. A window longer
    than the data is no error: nothing is traded.
    """
    execution = execution or Execution()
    full = strategy.validate(params)
    execution = strategy.execution(execution, full)
    start_cash = checked_cash(cash)
    ppy = bars_per_year(bars, execution)
    signals = strategy.signals(Series(bars), full)  # first: the memory of its indicators serves the curves
    n = len(bars)
    equity, cash_curve, position_value, drawdown = np.empty((4, n))
    trades = np.empty(2 * n, TRADE)  # at most two entries a bar; pages that are never written take no memory
    figures = np.empty(len(FIGURES))
    account, positions = np.zeros(1, ACCOUNT), np.zeros(1, POSITION)
    terms = execution.terms(start_cash, ppy)
    columns = bars.time, bars.open, bars.high, bars.low, bars.close
    curves = equity, cash_curve, position_value
    told = np.empty(n, np.bool_)
    orders = placed_orders([signals], execution)
    simulate(*columns, signals.flags, orders, terms, account, positions, told, *curves, trades, figures)
    metrics.write_drawdowns(equity, start_cash, drawdown)
    trades.resize(int(figures[0]), refcheck=False)
    position = open_position(positions[0], bars.time, bars.close, len(bars) - 1)
    return Result(
        params=full,
        metrics={**named_figures(figures, ppy), "open_position": position},
        time=bars.time,
        trades=trades,
        equity=equity,
        cash=cash_curve,
        position_value=position_value,
        drawdown=drawdown,
    )


def placed_orders(signals: Sequence[Signals], execution: Execution) -> Orders:
    """How the entries of each symbol and side are placed, as the simulation reads it."""
    longs, shorts = [one.long_order for one in signals], [one.short_order for one in signals]
    lengths = [len(one.long_entry) for one in signals]
    return *_placed(longs, lengths, execution), *_placed(shorts, lengths, execution)


def _placed(
    orders: Sequence[EntryOrder | None], lengths: Sequence[int], execution: Execution
) -> tuple[IntArray, FloatArray, IntArray]:
    types = np.array([order_type(order) for order in orders])
    lifetimes = np.array([lifetime(order, execution) for order in orders])
    if all(order is None for order in orders):
        return types, _NO_PRICES, lifetimes
    prices = [
        np.full(length, nan) if order is None else order.price
        for order, length in zip(orders, lengths, strict=True)
    ]
    return types, np.concatenate(prices), lifetimes


def order_type(order: EntryOrder | None) -> int:
    return MARKET if order is None else ORDER_TYPES.index(order.type)


def lifetime(order: EntryOrder | None, execution: Execution) -> int:
    """How many bars an entry waits for its price."""
    return execution.good_for if order is None or order.good_for is None else order.good_for


def named_figures(figures: FloatArray, ppy: float | None) -> dict[str, Any]:
    named: dict[str, Any] = {
        name: value if isfinite(value) else None
        for name, value in zip(FIGURES, figures.tolist(), strict=True)
    }
    for name in COUNTS:
        named[name] = int(named[name])
    named["ruined"] = named["ruined"] == 1.0
    named["periods_per_year"] = ppy
    return named


def open_position(
    position: np.void, time: IntArray, close: FloatArray, last_bar: int
) -> dict[str, Any] | None:
    """The position left at the end, marked at the last close; `unrealized_pnl` is net of the entry fee."""
    units, entry_price = float(position["units"]), float(position["entry_price"])
    if units == 0.0:
        return None
    entry_bar, mark_price = int(position["entry_bar"]), float(close[last_bar])
    return {
        "side": SIDES[0] if units > 0 else SIDES[1],
        "size": abs(units),
        "entry_time": rfc3339(int(time[entry_bar])),
        "entry_price": entry_price,
        "mark_price": mark_price,
        "unrealized_pnl": units * (mark_price - entry_price) - float(position["entry_fee"]),
        "bars_held": last_bar - entry_bar,
    }


def bars_per_year(bars: Bars | Panel, execution: Execution) -> float | None:
    if execution.periods_per_year is None:
        return periods_per_year(bars.time, bars.interval)
    return execution.periods_per_year


def checked_cash(cash: Any) -> float:
    if not is_number(cash) or cash <= 0:
        detail = f"cash must be a number above 0, got {cash!r}"
        raise InvalidInput("invalid_cash", detail, [FieldError("/cash", detail)])
    return float(cash)
