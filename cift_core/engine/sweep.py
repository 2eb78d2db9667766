"""Sweeps: the figures of one strategy on the same bars for many sets of parameters."""

from collections.abc import Sequence
from contextlib import nullcontext
from math import nan
from threading import RLock
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cift_core.engine.account import ACCOUNT, POSITION, TRADE
from cift_core.engine.bars import Bars, BoolArray, FloatArray, IntArray
from cift_core.engine.execution import TERMS, Execution
from cift_core.engine.kernel import in_place
from cift_core.engine.run import COUNTS, FLAGS, bars_per_year, checked_cash, lifetime, order_type
from cift_core.engine.signals import Signals
from cift_core.engine.simulate import FIGURES, simulate
from cift_core.engine.strategy import Params, Series, Strategy
from cift_core.errors import FieldError, InvalidInput

# Runs are simulated in blocks, so that threads rarely have to wait for each other's interpreter.
_BLOCK_BYTES: Final = 2**19
_PREPARING: Final = RLock()
_NO_CURVE: Final = np.empty(0)
_NO_TRADES: Final = np.empty(0, TRADE)


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
    table = np.empty((len(full), len(FIGURES)))
    columns = bars.time, bars.open, bars.high, bars.low, bars.close
    equity, told = np.empty(len(bars)), np.empty(len(bars), np.bool_)
    block = _Block(len(full), len(bars))
    shared = execution.terms(start_cash, ppy)
    for first in range(0, len(full), block.size):
        rows = table[first : first + block.size]
        with _PREPARING if block.size > 1 else nullcontext():
            for k, params in enumerate(full[first : first + block.size]):
                own = strategy.execution(execution, params)
                terms = shared if own is execution else own.terms(start_cash, ppy)
                block.put(k, strategy.signals(series, params), execution, terms)
        state = np.zeros(len(rows), ACCOUNT), np.zeros(len(rows), POSITION)
        _simulate_block(*columns, *block.arrays, *state, told, equity, _NO_CURVE, _NO_TRADES, rows)
    return _named(table, ppy)


def _named(table: FloatArray, ppy: float | None) -> dict[str, NDArray[Any]]:
    table[~np.isfinite(table)] = np.nan
    result: dict[str, NDArray[Any]] = {name: table[:, k] for k, name in enumerate(FIGURES)}
    for name in COUNTS:
        result[name] = result[name].astype(np.int64)
    for name in FLAGS:
        result[name] = result[name] == 1.0
    result["periods_per_year"] = np.full(len(table), nan if ppy is None else ppy)
    return result


class _Block:
    """The signals, orders and terms of `size` runs over n bars, as `_simulate_block` reads them."""

    def __init__(self, rows: int, n: int) -> None:
        self.size = max(1, min(rows, _BLOCK_BYTES // (4 * n)))
        self._flags = np.empty((self.size, 4, n), np.bool_)
        self._types, self._lifetimes = np.empty((2, self.size, 2), np.int64)
        self._prices = np.empty((self.size, 2, n))  # takes no memory where all orders are at the market
        self._terms = np.empty(self.size, TERMS)
        self.arrays = self._flags, self._types, self._lifetimes, self._prices, self._terms

    def put(self, k: int, signals: Signals, execution: Execution, terms: NDArray[np.void]) -> None:
        """Fill in run k."""
        for j, flag in enumerate(signals.flags):
            self._flags[k, j] = flag
        for side, order in enumerate((signals.long_order, signals.short_order)):
            self._types[k, side], self._lifetimes[k, side] = order_type(order), lifetime(order, execution)
            if order is not None:
                self._prices[k, side] = order.price
        self._terms[k] = terms[0]


@in_place
def _simulate_block(
    time: IntArray,
    open_: FloatArray,
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    flags: BoolArray,
    types: IntArray,
    lifetimes: IntArray,
    prices: FloatArray,
    terms: Any,
    accounts: Any,
    positions: Any,
    told: BoolArray,
    equity: FloatArray,
    no_curve: FloatArray,
    no_trades: Any,
    table: FloatArray,
) -> None:
    for k in range(len(table)):
        signals = flags[k, 0], flags[k, 1], flags[k, 2], flags[k, 3]
        longs = types[k, 0:1], prices[k, 0], lifetimes[k, 0:1]
        shorts = types[k, 1:2], prices[k, 1], lifetimes[k, 1:2]
        state = accounts[k : k + 1], positions[k : k + 1]
        simulate(
            time,
            open_,
            high,
            low,
            close,
            signals,
            longs + shorts,
            terms[k : k + 1],
            state[0],
            state[1],
            told,
            equity,
            no_curve,
            no_curve,
            no_trades,
            table[k],
        )


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
