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
from cift_core.engine.account import BOOK, SIDES, TRADE
from cift_core.engine.bars import Bars, FloatArray, rfc3339
from cift_core.engine.execution import Execution, is_number
from cift_core.engine.simulate import FIGURES, simulate
from cift_core.engine.strategy import Params, Series, Strategy
from cift_core.errors import FieldError, InvalidInput

ENGINE_VERSION: Final = "1"

_COUNTS: Final = ("trades", "rejected_orders")
_FLAGS: Final = ("ruined", "open_position")
_NO_CURVE: Final = np.empty(0)
_NO_TRADES: Final = np.empty(0, TRADE)


@dataclass(frozen=True)
class Result:
    """One backtest: `metrics` (the keys of the API, plain JSON values, None for a figure that does not
    exist), `trades` (TRADE records in exit order), and per bar float64[n] `equity`, `cash`,
    `position_value`, `drawdown`.

    `params` are those the run used, defaults filled in.
    """

    params: dict[str, Any]
    metrics: dict[str, Any]
    trades: NDArray[np.void]
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
    start_cash = _checked_cash(cash)
    ppy = _periods_per_year(bars, execution)
    n = len(bars)
    equity, cash_curve, position_value = np.empty(n), np.empty(n), np.empty(n)
    trades = np.empty(n, TRADE)  # at most one a bar; pages that are never written take no memory
    figures = np.empty(len(FIGURES))
    book = np.zeros(1, BOOK)
    signals = strategy.signals(Series(bars), full)
    terms = execution.terms(start_cash, ppy)
    columns = bars.time, bars.open, bars.high, bars.low, bars.close
    simulate(*columns, tuple(signals), terms, book, equity, cash_curve, position_value, trades, figures)
    return Result(
        params=full,
        metrics=_metrics(figures, book[0], bars, ppy),
        trades=trades[: int(figures[0])].copy(),
        equity=equity,
        cash=cash_curve,
        position_value=position_value,
        drawdown=metrics.drawdowns(equity, start_cash),
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
    start_cash = _checked_cash(cash)
    ppy = _periods_per_year(bars, execution)
    series = Series(bars)
    equity = np.empty(len(bars))
    table = np.empty((len(full), len(FIGURES)))
    terms = execution.terms(start_cash, ppy)
    columns = bars.time, bars.open, bars.high, bars.low, bars.close
    for row, one in zip(table, full, strict=True):
        signals = strategy.signals(series, one)
        simulate(
            *columns, tuple(signals), terms, np.zeros(1, BOOK), equity, _NO_CURVE, _NO_CURVE, _NO_TRADES, row
        )
    table[~np.isfinite(table)] = np.nan
    result: dict[str, NDArray[Any]] = {name: table[:, k] for k, name in enumerate(FIGURES)}
    for name in _COUNTS:
        result[name] = result[name].astype(np.int64)
    for name in _FLAGS:
        result[name] = result[name] == 1.0
    result["periods_per_year"] = np.full(len(full), nan if ppy is None else ppy)
    return result


def _metrics(figures: FloatArray, book: np.void, bars: Bars, ppy: float | None) -> dict[str, Any]:
    named: dict[str, Any] = {
        name: value if isfinite(value) else None
        for name, value in zip(FIGURES, figures.tolist(), strict=True)
    }
    for name in _COUNTS:
        named[name] = int(named[name])
    named["ruined"] = named["ruined"] == 1.0
    named["open_position"] = _open_position(book, bars) if named["open_position"] else None
    named["periods_per_year"] = ppy
    return named


def _open_position(book: np.void, bars: Bars) -> dict[str, Any]:
    """The position left at the end, marked at the last close; `unrealized_pnl` is net of the entry fee."""
    position, entry_price = float(book["position"]), float(book["entry_price"])
    entry_bar, mark_price = int(book["entry_bar"]), float(bars.close[-1])
    return {
        "side": SIDES[0] if position > 0 else SIDES[1],
        "size": abs(position),
        "entry_time": rfc3339(int(bars.time[entry_bar])),
        "entry_price": entry_price,
        "mark_price": mark_price,
        "unrealized_pnl": position * (mark_price - entry_price) - float(book["entry_fee"]),
        "bars_held": len(bars) - 1 - entry_bar,
    }


def _periods_per_year(bars: Bars, execution: Execution) -> float | None:
    return bars.periods_per_year() if execution.periods_per_year is None else execution.periods_per_year


def _checked_cash(cash: Any) -> float:
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
