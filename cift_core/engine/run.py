"""Backtests: one run with its trades and curves, or the figures of many."""

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

_COUNTS: Final = ("trades", "rejected_orders")
_FLAGS: Final = ("ruined", "open_position")
_NO_CURVE: Final = np.empty(0)
_NO_PRICES: Final = np.empty(0)
_NO_TRADES: Final = np.empty(0, TRADE)


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
    orders = placed_orders(signals, execution)
    simulate(*columns, signals.flags, orders, terms, account, positions, *curves, trades, figures)
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


def run_sweep(
    bars: Bars,
    strategy: Strategy,
    param_sets: Sequence[Params],
    execution: Execution | None = None,
    cash: float = 10_000.0,
) -> dict[str, NDArray[Any]]:
    """Columns of metrics, one row per parameter set, equal to those of `run_backtest` to the last bit.

    float64 with NaN for a figure that does not exist; `trades` and `rejected_orders` int64, `ruined` and
    `open_position` (whether one is left) bool. Raises InvalidInput, pointing below `/params/<row>`.
    """
    execution = execution or Execution()
    full = _validated(strategy, param_sets)
    start_cash = checked_cash(cash)
    ppy = bars_per_year(bars, execution)
    series = Series(bars)
    equity = np.empty(len(bars))
    table = np.empty((len(full), len(FIGURES)))
    curves = equity, _NO_CURVE, _NO_CURVE
    columns = bars.time, bars.open, bars.high, bars.low, bars.close
    accounts, positions = np.zeros(len(full), ACCOUNT), np.zeros(len(full), POSITION)
    shared = execution.terms(start_cash, ppy)
    for row, one in enumerate(full):
        signals = strategy.signals(series, one)
        own = strategy.execution(execution, one)
        terms = shared if own is execution else own.terms(start_cash, ppy)
        orders = placed_orders(signals, execution)
        state = accounts[row : row + 1], positions[row : row + 1]
        simulate(*columns, signals.flags, orders, terms, *state, *curves, _NO_TRADES, table[row])
    table[~np.isfinite(table)] = np.nan
    result: dict[str, NDArray[Any]] = {name: table[:, k] for k, name in enumerate(FIGURES)}
    for name in _COUNTS:
        result[name] = result[name].astype(np.int64)
    for name in _FLAGS:
        result[name] = result[name] == 1.0
    result["periods_per_year"] = np.full(len(full), nan if ppy is None else ppy)
    return result


def placed_orders(signals: Signals, execution: Execution) -> Orders:
    """How the entries of each side are placed, as `simulate` reads it."""
    return *_placed(signals.long_order, execution), *_placed(signals.short_order, execution)


def _placed(order: EntryOrder | None, execution: Execution) -> tuple[int, FloatArray, int]:
    if order is None:
        return MARKET, _NO_PRICES, 0
    good_for = execution.good_for if order.good_for is None else order.good_for
    # one array type, or the kernel would be compiled once more for read-only prices
    return ORDER_TYPES.index(order.type), np.require(order.price, requirements=["C", "W"]), good_for


def named_figures(figures: FloatArray, ppy: float | None) -> dict[str, Any]:
    named: dict[str, Any] = {
        name: value if isfinite(value) else None
        for name, value in zip(FIGURES, figures.tolist(), strict=True)
    }
    for name in _COUNTS:
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


def _validated(strategy: Strategy, param_sets: Sequence[Params]) -> list[dict[str, Any]]:
    full, errors = [], []
    for row, params in enumerate(param_sets):
        try:
            full.append(strategy.validate(params))
        except InvalidInput as error:
            errors += [
                FieldError(f"/params/{row}{e.pointer.removeprefix('/params')}", e.detail)
                for e in error.errors
            ]
    if errors:
        raise InvalidInput("invalid_params", "; ".join(e.detail for e in errors[:10]), errors)
    return full
