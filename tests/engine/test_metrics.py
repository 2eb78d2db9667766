"""Every figure against an independent computation with NumPy and pandas, on real runs."""

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cift_core.engine import Bars, Execution, Result, run_backtest
from cift_core.engine.bars import periods_per_year
from cift_core.engine.metrics import NO_DEVIATION, deviations, sharpe, walk
from cift_core.strategies import STRATEGIES
from tests.engine.samples import bars_from, given_signals, sample

CASH = 25_000.0
KEYS = {
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
    "periods_per_year",
    "rejected_orders",
    "ruined",
    "open_position",
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
}


def expected(bars: Bars, result: Result, ppy: float, rf: float) -> dict[str, float]:
    """From the curves and trades alone (everything closed at the end)."""
    time = pd.to_datetime(bars.time, utc=True)
    equity = pd.Series(result.equity, index=time)
    returns = equity / equity.shift(fill_value=CASH) - 1
    excess = returns - rf / ppy
    peak = np.maximum(equity.cummax(), CASH)
    trades = pd.DataFrame(result.trades)
    growth = (equity.iloc[-1] / CASH) ** (ppy / len(equity)) - 1
    # The time since the last bar at the peak; a drawdown lasts until the bar at which it is over.
    at_peak = equity >= peak
    since = pd.Series(np.where(at_peak, time, pd.NaT), index=time).ffill().shift().fillna(time[0])
    gaps = (time - pd.DatetimeIndex(since)).total_seconds()
    in_or_out = ~at_peak | ~at_peak.shift(fill_value=True)
    notional = (trades["size"] * (trades.entry_price + trades.exit_price)).sum()
    gains, losses = trades.pnl[trades.pnl > 0].sum(), -trades.pnl[trades.pnl < 0].sum()
    return {
        "trades": len(trades),
        "final_equity": CASH + trades.pnl.sum(),
        "total_return": trades.pnl.sum() / CASH,
        "annual_return": growth,
        "annual_volatility": returns.std(ddof=1) * math.sqrt(ppy),
        "sharpe": excess.mean() / returns.std(ddof=1) * math.sqrt(ppy),
        "sortino": excess.mean() / math.sqrt((excess.clip(upper=0) ** 2).mean()) * math.sqrt(ppy),
        "calmar": growth / (1 - equity / peak).max(),
        "max_drawdown": (1 - equity / peak).max(),
        "max_drawdown_duration_s": gaps[in_or_out].max(),
        "periods_per_year": ppy,
        "rejected_orders": 0,
        "ruined": False,
        "exposure": (result.position_value != 0).mean(),
        "turnover": notional / equity.mean() / (len(equity) / ppy),
        "win_rate": (trades.pnl > 0).mean(),
        "profit_factor": gains / losses,
        "expectancy": trades.pnl.mean(),
        "avg_trade_return": trades["return"].mean(),
        "best_trade": trades["return"].max(),
        "worst_trade": trades["return"].min(),
        "fees_paid": trades.fees.sum(),
        "buy_and_hold_return": bars.close[-1] / bars.close[0] - 1,
    }


@pytest.mark.parametrize("rf", [0.0, 0.03])
@pytest.mark.parametrize("name", ["sma_cross", "rsi_reversion", "donchian_breakout"])
@pytest.mark.parametrize("symbol", ["AAPL", "IBM", "MSFT", "XAUUSD"])
def test_every_figure(symbol: str, name: str, rf: float) -> None:
    bars = sample(symbol)
    execution = Execution(
        commission_rate=0.0005,
        commission_fixed=0.5,
        slippage_rate=0.0001,
        allow_short=name
        != "rsi_reversion",  # short against a trend it is ruined, which has a test of its own
        size={"type": "equity_fraction", "value": 0.4},
        risk_free_rate=rf,
    )
    result = run_backtest(bars, STRATEGIES[name], {}, execution, cash=CASH)
    ppy = 252.0 if symbol != "XAUUSD" else periods_per_year(bars.time, bars.interval)
    assert ppy is not None
    metrics = dict(result.metrics)
    assert set(metrics) == KEYS
    assert metrics.pop("open_position") is None
    assert metrics == pytest.approx(expected(bars, result, ppy, rf), rel=1e-9)
    assert (result.drawdown >= 0).all()
    assert result.drawdown.max() == metrics["max_drawdown"]


def run(
    rows: list[tuple[float, float, float, float]], signals: dict[str, list[int]], **execution: Any
) -> Result:
    return run_backtest(bars_from(*rows), given_signals(signals), {}, Execution(**execution), cash=1_000.0)


FLAT = [(10.0, 10.0, 10.0, 10.0)] * 5


def test_without_trades_figures_of_trades_do_not_exist() -> None:
    metrics = run(FLAT, {}).metrics
    for name in ("win_rate", "profit_factor", "expectancy", "avg_trade_return", "best_trade", "worst_trade"):
        assert metrics[name] is None, name
    for name in ("sharpe", "sortino", "calmar"):  # nothing deviates, nothing falls
        assert metrics[name] is None, name
    zeros = (
        "trades",
        "total_return",
        "annual_return",
        "annual_volatility",
        "max_drawdown",
        "exposure",
        "turnover",
    )
    for name in (*zeros, "max_drawdown_duration_s", "fees_paid", "buy_and_hold_return", "rejected_orders"):
        assert metrics[name] == 0, name
    assert metrics["final_equity"] == 1_000


def test_without_losses_there_is_no_profit_factor() -> None:
    rows = [(10.0, 10.0, 10.0, 10.0), (10.0, 10.0, 10.0, 10.0), (12.0, 12.0, 12.0, 12.0)]
    metrics = run(rows, {"long_entry": [0]}).metrics
    assert metrics["win_rate"] == 1
    assert metrics["profit_factor"] is None
    assert metrics["sortino"] is None
    assert metrics["calmar"] is None
    assert metrics["sharpe"] > 0


def test_a_trade_at_zero_is_neither_won_nor_lost() -> None:
    metrics = run(FLAT, {"long_entry": [0]}).metrics
    assert metrics["win_rate"] == 0
    assert metrics["profit_factor"] is None


def test_steady_growth_has_no_deviation() -> None:
    growth = [1.1**i for i in range(20)]
    rows = [(g, g, g, g) for g in growth]
    metrics = run(rows, {"long_entry": [0]}, fill="same_close").metrics
    # Returns of 0, then 0.1 for ever: it deviates by the first bar alone.
    assert metrics["sharpe"] == pytest.approx(
        19 / 20 * 0.1 / np.std([0] + [0.1] * 19, ddof=1) * math.sqrt(365.25)
    )
    assert metrics["max_drawdown"] == 0
    assert metrics["calmar"] is None


def test_deviation_that_is_only_float_noise_is_none() -> None:
    # 1.1 per bar from the first return on: equity = 10 x 1.1^(i+1), cash = 10.
    equity = np.array([10 * 1.1 ** (i + 1) for i in range(50)])
    mean_return = walk(equity, np.arange(50), 10.0)[0]
    risk, _ = deviations(equity, 10.0, mean_return, 0.0)
    assert 0 < risk < NO_DEVIATION
    assert math.isnan(sharpe(mean_return, risk, 252.0, 0.0))


def test_ticks_have_no_year() -> None:
    bars = bars_from(*[(10, 11, 9, 10), (10, 12, 10, 11), (11, 11, 10, 10)], interval="tick")
    strategy = given_signals({"long_entry": [0]})
    metrics = run_backtest(bars, strategy, {}, Execution(), cash=1_000.0).metrics
    for name in (
        "periods_per_year",
        "annual_return",
        "annual_volatility",
        "sharpe",
        "sortino",
        "calmar",
        "turnover",
    ):
        assert metrics[name] is None, name
    assert metrics["max_drawdown"] > 0
    given = run_backtest(bars, strategy, {}, Execution(periods_per_year=1_000), cash=1_000.0).metrics
    assert given["periods_per_year"] == 1_000
    assert given["sharpe"] is not None


def test_growth_beyond_a_float_does_not_exist() -> None:
    bars = bars_from((1, 1, 1, 1), (1, 1e6, 1, 1e6), interval="1s")
    metrics = run_backtest(bars, given_signals({"long_entry": [0]}), {}, Execution(), cash=1.0).metrics
    assert metrics["total_return"] == pytest.approx(1e6)
    assert metrics["annual_return"] is None
    assert metrics["calmar"] is None


def test_drawdown_and_its_duration_by_hand() -> None:
    closes = [10, 12, 12, 9, 11, 12, 6, 8, 10]
    rows = [(c, c, c, c) for c in closes]
    result = run(rows, {"long_entry": [0]}, fill="same_close", close_at_end=False)
    assert result.drawdown.tolist() == pytest.approx([0, 0, 0, 0.25, 1 / 12, 0, 0.5, 1 / 3, 1 / 6])
    assert result.metrics["max_drawdown"] == pytest.approx(0.5)
    # From bar 2 (the last at 12) to bar 5, and from bar 5 to the end: three days each.
    assert result.metrics["max_drawdown_duration_s"] == 3 * 86_400
    longer = run([*rows, (10, 10, 10, 10)], {"long_entry": [0]}, fill="same_close")
    assert longer.metrics["max_drawdown_duration_s"] == 4 * 86_400


def test_drawdown_starts_at_the_cash() -> None:
    result = run(
        FLAT,
        {"long_entry": [0]},
        fill="same_close",
        commission_rate=0.25,
        size={"type": "units", "value": 40},
    )
    # 400 bought on bar 0 for 100: 900 of 1000, and as much again at the end.
    assert result.drawdown[0] == pytest.approx(0.1)
    assert result.metrics["max_drawdown"] == pytest.approx(0.2)
    assert result.metrics["max_drawdown_duration_s"] == 4 * 86_400


def test_exposure_counts_closes_that_hold() -> None:
    rows = [(10.0, 10.0, 10.0, 10.0)] * 4
    assert run(rows, {"long_entry": [0]}).metrics["exposure"] == 0.5  # the last close sells
    assert run(rows, {"long_entry": [0]}, close_at_end=False).metrics["exposure"] == 0.75
    assert run(rows, {"long_entry": [0], "long_exit": [1]}).metrics["exposure"] == 0.25


def test_metrics_are_plain_json() -> None:
    result = run([*FLAT, (20, 20, 20, 20)], {"long_entry": [0]}, close_at_end=False)
    assert json.loads(json.dumps(result.metrics, allow_nan=False)) == result.metrics
    for name, value in result.metrics.items():
        assert type(value) in {int, float, bool, dict, type(None)}, name
    assert type(result.metrics["trades"]) is int
    assert type(result.metrics["rejected_orders"]) is int
