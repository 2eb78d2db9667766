"""Twenty symbols on one cash account, over the best peer that can do it: vectorbt, with cash sharing.

`python -m bench.portfolio` prints the figures. The bars are real: adjusted closes of 20 US stocks, 8,313 days
(1990 to 2022); the open, high and low of a day are its close, for there are no others, and orders fill there.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from bench.limits import in_turns
from cift_core.engine import Bars, Execution, Result, run_portfolio
from cift_core.strategies import STRATEGIES
from deploy.native.environment import CHECKOUT

CLOSES = CHECKOUT / "bench" / "data" / "sp500-20-adjclose-1d.csv.gz"
CASH, COMMISSION = 1_000_000.0, 0.0005
FAST, SLOW = 10, 20


def measure() -> dict[str, float]:
    """Medians in milliseconds: SMA 10/20 of each symbol, 1/20 of the equity an entry, trades and all figures.

    Ours begins with checked bars, theirs with the table of closes.
    """
    import vectorbt as vbt  # noqa: PLC0415  it takes seconds, and nothing else here needs it

    closes = pd.read_csv(CLOSES, index_col="Date", parse_dates=True)
    bars = {str(symbol): _bars(closes.index, column.to_numpy()) for symbol, column in closes.items()}
    strategy, params = STRATEGIES["sma_cross"], {"fast": FAST, "slow": SLOW}
    execution = Execution(commission_rate=COMMISSION, fill="same_close", close_at_end=False)

    def ours() -> Result:
        return run_portfolio(bars, strategy, params, execution, cash=CASH)

    def theirs() -> object:
        fast, slow = (vbt.MA.run(closes, window) for window in (FAST, SLOW))
        portfolio = vbt.Portfolio.from_signals(
            closes,
            fast.ma_crossed_above(slow).to_numpy(),
            fast.ma_crossed_below(slow).to_numpy(),
            size=1.0 / len(bars),
            size_type="percent",
            fees=COMMISSION,
            init_cash=CASH,
            freq="1D",
            group_by=True,
            cash_sharing=True,
            call_seq="auto",
        )
        return portfolio.stats(), portfolio.trades.records, portfolio.value()

    ours_ms, theirs_ms = in_turns(ours, theirs, rounds=7)
    trades = len(ours().trades)
    return {"portfolio_ms": ours_ms, "portfolio_vectorbt_ms": theirs_ms, "portfolio_trades": trades}


def rows(f: dict[str, float]) -> list[tuple[str, str, str, str]]:
    """The figures as rows of the table."""
    ours_ms, theirs_ms = f["portfolio_ms"], f["portfolio_vectorbt_ms"]
    return [
        (
            f"20 symbols × 8,313 days on one cash account, {f['portfolio_trades']:,} trades, over vectorbt",
            f"{ours_ms:.3g} ms / {theirs_ms:.3g} ms",
            f"{theirs_ms / ours_ms:.0f}× faster",
            "≥ 10×",
        )
    ]


def _bars(index: pd.Index, closes: np.ndarray) -> Bars:
    time = index.to_numpy().astype("datetime64[ns]").astype(np.int64)
    return Bars(time=time, open=closes, high=closes, low=closes, close=closes, interval="1d")


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
