"""Sweeps of more runs than one block holds."""

from dataclasses import replace
from threading import Thread
from typing import Any

import numpy as np

from cift_core.engine import EntryOrder, Execution, Param, Params, Series, Signals, run_backtest, run_sweep
from cift_core.strategies import STRATEGIES
from tests.engine.samples import sample

SMA = STRATEGIES["sma_cross"]
EXECUTION = Execution(commission_rate=0.001, allow_short=True, take_profit=0.2)


def _with_orders(series: Series, params: Params) -> Signals:
    """Long at a limit below the close, short at the market or at a stop: each run has orders of its own."""
    signals = SMA.signals(series, {"fast": params["fast"], "slow": 40})
    close = series["close"]
    below = EntryOrder("limit", close * (1 - params["fast"] / 1_000), params["fast"])
    breakout = EntryOrder("stop", close * 0.995) if params["fast"] % 2 else None
    return signals._replace(long_order=below, short_order=breakout)


ORDERS = replace(
    SMA,
    name="orders",
    params=(Param("fast", "int", None, 2, 100, "bars"),),
    compute=_with_orders,
    stops=lambda params: {"stop_loss": params["fast"] / 400},
)
SETS = [{"fast": 2 + n % 38} for n in range(100)]


def test_each_run_of_each_block_is_the_run_alone() -> None:
    bars = sample("IBM")
    table = run_sweep(bars, ORDERS, SETS, EXECUTION)
    for row, params in enumerate(SETS):
        alone = run_backtest(bars, ORDERS, params, EXECUTION).metrics
        for name in ("trades", "final_equity", "sharpe", "max_drawdown", "exposure", "rejected_orders"):
            expected = np.nan if alone[name] is None else alone[name]
            np.testing.assert_array_equal(table[name][row], expected, f"{name} of run {row}")
    assert len(np.unique(table["final_equity"])) == len({params["fast"] for params in SETS})
    assert table["trades"].min() > 0


def test_sweeps_within_sweeps_and_on_threads_end() -> None:
    """A strategy may sweep on its own account while threads take turns at preparing their blocks."""
    bars = sample("IBM")
    expected = run_sweep(bars, SMA, SETS, EXECUTION)["final_equity"]

    def adaptive(series: Series, params: Params) -> Signals:
        assert np.array_equal(run_sweep(bars, SMA, SETS[:5], EXECUTION)["final_equity"], expected[:5])
        return SMA.signals(series, params)

    nested = replace(SMA, name="nested", compute=adaptive)
    found: list[Any] = []
    threads = [
        Thread(target=lambda: found.append(run_sweep(bars, nested, SETS, EXECUTION)["final_equity"]))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 3
    assert all(np.array_equal(one, expected) for one in found)
