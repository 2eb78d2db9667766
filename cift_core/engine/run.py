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
from cift_core.engine.account import SIDES, TRADE
from cift_core.engine.bars import Bars, FloatArray, rfc3339
from cift_core.engine.execution import Execution, is_number
from cift_core.engine.simulate import FIGURES, simulate
from cift_core.engine.strategy import Params, Series, Strategy
from cift_core.errors import FieldError, InvalidInput

ENGINE_VERSION: Final = "1"

_COUNTS: Final = ("trades", "rejected_orders")
_OPEN: Final = FIGURES.index("open_size")
_NO_CURVE: Final = np.empty(0)
_NO_TRADES: Final = np.empty(0, TRADE)


@dataclass(frozen=True)
class Result:
    """One backtest: `metrics` (the keys of the API, plain JSON values, None for a figure that does not
    exist), `trades` (TRADE records in exit order), and per bar float64[n] `equity`, `cash`,
    `position_value`, `drawdown`.

    `params` are those the run used, defaults filled in.
    """

    params: Params
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
    *,
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
    signals = strategy.signals(Series(bars), full)
    terms = execution.terms(start_cash, ppy)
    columns = bars.time, bars.open, bars.high, bars.low, bars.close
    simulate(*columns, tuple(signals), terms, equity, cash_curve, position_value, trades, figures)
    return Result(
        params=full,
        metrics=_metrics(figures, bars, ppy),
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
    *,
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
        simulate(*columns, tuple(signals), terms, equity, _NO_CURVE, _NO_CURVE, _NO_TRADES, row)
    table[~np.isfinite(table)] = np.nan
    result: dict[str, NDArray[Any]] = {name: table[:, k] for k, name in enumerate(FIGURES[:_OPEN])}
    for name in _COUNTS:
        result[name] = result[name].astype(np.int64)
    result["ruined"] = result["ruined"] == 1.0
    result["open_position"] = table[:, _OPEN] != 0.0
    result["periods_per_year"] = np.full(len(full), nan if ppy is None else ppy)
    return result


def _metrics(figures: FloatArray, bars: Bars, ppy: float | None) -> dict[str, Any]:
    values = [value if isfinite(value) else None for value in figures.tolist()]
    named: dict[str, Any] = dict(zip(FIGURES[:_OPEN], values, strict=False))
    for name in _COUNTS:
        named[name] = int(named[name])
    named["ruined"] = named["ruined"] == 1.0
    named["periods_per_year"] = ppy
    named["open_position"] = _open_position(figures[_OPEN:].tolist(), bars)
    return named


def _open_position(figures: list[float], bars: Bars) -> dict[str, Any] | None:
    """The position left at the end, marked at the last close; `unrealized_pnl` is net of the entry fee."""
    position, entry_price, entry_bar, entry_fee = figures
    if position == 0.0:
        return None
    mark_price = float(bars.close[-1])
    return {
        "side": SIDES[0] if position > 0 else SIDES[1],
        "size": abs(position),
        "entry_time": rfc3339(int(bars.time[int(entry_bar)])),
        "entry_price": entry_price,
        "mark_price": mark_price,
        "unrealized_pnl": position * (mark_price - entry_price) - entry_fee,
        "bars_held": len(bars) - 1 - int(entry_bar),
    }


def _periods_per_year(bars: Bars, execution: Execution) -> float | None:
    return bars.periods_per_year() if execution.periods_per_year is None else execution.periods_per_year


def _checked_cash(cash: Any) -> float:
    if not is_number(cash) or cash <= 0:
        detail = f"cash must be a number above 0, got {cash!r}"
        raise InvalidInput("invalid_cash", detail, [FieldError("/cash", detail)])
    return float(cash)


def _validated(strategy: Strategy, param_sets: Sequence[Params]) -> list[Params]:
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
