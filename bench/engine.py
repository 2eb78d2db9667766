"""Engine speed per run over backtesting.py: SMA 10/20 on the 2,148 daily bars of GOOG, 0.2 % commission.

`.venv/bin/python -m bench.engine` prints the figures; `measure()` returns them.
"""

import json
import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
from backtesting import Backtest, Strategy
from backtesting.lib import crossover
from backtesting.test import GOOG

from cift_core.engine import Bars, Execution, run_backtest
from cift_core.strategies import STRATEGIES

CASH = 10_000
COMMISSION = 0.002


class SmaCross(Strategy):  # type: ignore[misc]
    """The example of backtesting.py's own documentation."""

    def init(self) -> None:
        close = pd.Series(self.data.Close)
        self.fast = self.I(lambda: close.rolling(10).mean())
        self.slow = self.I(lambda: close.rolling(20).mean())

    def next(self) -> None:
        if crossover(self.fast, self.slow):
            self.position.close()
            self.buy()
        elif crossover(self.slow, self.fast):
            self.position.close()
            self.sell()


def measure(seconds: float = 4.0) -> dict[str, float]:
    """Median milliseconds a run: `engine_ms` and `backtesting_py_ms`, and the `engine_trades` of either.

    The two take turns, so that a busy machine slows both. Ours includes trades, curves and all metrics, as do
    theirs: trades, curve and statistics; reading and checking the bars is outside on both sides.
    """
    bars = Bars(
        time=GOOG.index.to_numpy().astype("datetime64[ns]").astype(np.int64),
        open=GOOG.Open.to_numpy(),
        high=GOOG.High.to_numpy(),
        low=GOOG.Low.to_numpy(),
        close=GOOG.Close.to_numpy(),
        interval="1d",
    )
    strategy = STRATEGIES["sma_cross"]
    execution = Execution(commission_rate=COMMISSION, allow_short=True)
    peer = Backtest(GOOG, SmaCross, cash=CASH, commission=COMMISSION, finalize_trades=True)

    def ours() -> int:
        return len(run_backtest(bars, strategy, {"fast": 10, "slow": 20}, execution, cash=CASH).trades)

    def theirs() -> int:
        return len(peer.run()["_trades"])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # backtesting.py uses what pandas deprecates
        trades = ours()
        assert trades == theirs()
        ours_s: list[float] = []
        theirs_s: list[float] = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            theirs_s.append(_timed(theirs))
            ours_s += [_timed(ours) for _ in range(100)]
    return {
        "engine_ms": statistics.median(ours_s) * 1e3,
        "backtesting_py_ms": statistics.median(theirs_s) * 1e3,
        "engine_trades": trades,
    }


def _timed(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


if __name__ == "__main__":
    figures = measure()
    ratio = figures["backtesting_py_ms"] / figures["engine_ms"]
    print(json.dumps({**figures, "ratio": ratio}, indent=2))
