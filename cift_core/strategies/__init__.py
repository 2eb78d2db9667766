"""The strategies by name: those that ship, one file each, and those of other installed packages."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np

from cift_core.engine import Bars, Candles, Execution, Strategy, run_backtest, run_portfolio, run_sweep
from cift_core.strategies import (
    bollinger_breakout,
    bollinger_reversion,
    buy_and_hold,
    donchian_breakout,
    ema_cross,
    macd_cross,
    momentum,
    momentum_rotation,
    rsi_reversion,
    sma_cross,
    supertrend,
)
from cift_core.strategies.packages import installed, origins

SHIPPED: Final[Mapping[str, Strategy]] = MappingProxyType(
    {
        module.STRATEGY.name: module.STRATEGY
        for module in (
            sma_cross,
            ema_cross,
            rsi_reversion,
            donchian_breakout,
            bollinger_breakout,
            bollinger_reversion,
            macd_cross,
            momentum,
            supertrend,
            buy_and_hold,
            momentum_rotation,
        )
    }
)
STRATEGIES: Final[Mapping[str, Strategy]] = MappingProxyType({**SHIPPED, **installed(SHIPPED)})
ORIGINS: Final[Mapping[str, str]] = MappingProxyType(origins())


def warm_up() -> None:
    """Every kernel compiled, or loaded from the cache on disk: for a worker to call before its first job."""
    ramp = np.linspace(1.0, 2.0, 64)
    time = np.arange(64, dtype=np.int64) * 86_400_000_000_000
    bars = Bars(time=time, open=ramp, high=ramp, low=ramp, close=ramp, interval="1d")
    Candles("1w").add(time, ramp, ramp, ramp, ramp, ramp)
    for strategy in SHIPPED.values():
        run_portfolio({"one": bars, "other": bars}, strategy, {}, Execution(), cash=1.0)
        if strategy.weigh is not None:
            continue
        run_backtest(bars, strategy, {}, Execution(), cash=1.0)
        run_sweep(bars, strategy, [{}], Execution(), cash=1.0)
