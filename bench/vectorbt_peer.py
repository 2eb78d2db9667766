"""The engine over vectorbt, on the bars and pairs of `bench/limits.py`.

`python -m bench.vectorbt_peer` prints the figures. Both trade at the close of the bar that
crosses, long and short, all in, and keep the last position; vectorbt computes all columns of a sweep at
once, its fast way.
"""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from bench.limits import CASH, COMMISSION, PAIRS, PARAMS, RULES, gold, in_turns
from cift_core.engine import Execution, run_backtest, run_sweep
from cift_core.engine.bars import FloatArray
from cift_core.rules import compile_rules
from cift_core.strategies import STRATEGIES

EXECUTION = Execution(commission_rate=COMMISSION, allow_short=True, fill="same_close", close_at_end=False)


def measure() -> dict[str, float]:
    """Medians in milliseconds of the sweep and of one run of a million bars, and the share by which the mean
    final equities of the two sweeps differ: vectorbt has no warm-up and no tie rule."""
    built_in, rules = STRATEGIES["sma_cross"], compile_rules(RULES)
    short, long = gold(5_000), gold(1_000_000)
    short_closes, long_closes = (pd.Series(b.close, index=pd.to_datetime(b.time)) for b in (short, long))

    def theirs() -> FloatArray:
        portfolio = _portfolio(short_closes, PAIRS)
        portfolio.sharpe_ratio()
        portfolio.max_drawdown()
        portfolio.trades.count()
        portfolio.trades.win_rate()
        total_return: FloatArray = portfolio.total_return().to_numpy()
        return total_return

    def their_million() -> object:
        portfolio = _portfolio(long_closes, [PARAMS])
        return portfolio.stats(), portfolio.trades.records, portfolio.value()

    sweep = in_turns(
        lambda: run_sweep(short, built_in, PAIRS, EXECUTION, cash=CASH),
        lambda: run_sweep(short, rules, PAIRS, EXECUTION, cash=CASH),
        theirs,
        rounds=3,
    )
    million = in_turns(
        lambda: run_backtest(long, built_in, PARAMS, EXECUTION, cash=CASH), their_million, rounds=3
    )
    ours = run_sweep(short, built_in, PAIRS, EXECUTION, cash=CASH)["total_return"]
    return {
        "vectorbt_sweep_engine_ms": sweep[0],
        "vectorbt_sweep_rules_ms": sweep[1],
        "vectorbt_sweep_ms": sweep[2],
        "vectorbt_million_engine_ms": million[0],
        "vectorbt_million_ms": million[1],
        "vectorbt_sweep_equity_gap": abs((1 + theirs().mean()) / (1 + ours.mean()) - 1),
    }


def rows(f: dict[str, float]) -> list[tuple[str, str, str, str]]:
    """The figures as rows of the table."""
    table = []
    for what, engine, peer, goal in (
        ("one run, 1,000,000 bars, trades, equity and all figures", "million_engine", "million", "≥ 10×"),
        ("sweep of 1,079 pairs × 5,000 bars", "sweep_engine", "sweep", "≥ 25×"),
        ("the same sweep by rules", "sweep_rules", "sweep", "≥ 15×"),
    ):
        ours_ms, theirs_ms = f[f"vectorbt_{engine}_ms"], f[f"vectorbt_{peer}_ms"]
        measured = f"{ours_ms:.3g} ms / {theirs_ms:.4g} ms"
        table.append((f"{what}, over vectorbt", measured, f"{theirs_ms / ours_ms:.0f}× faster", goal))
    return table


def _portfolio(closes: pd.Series, pairs: list[dict[str, int]]) -> Any:
    import vectorbt as vbt  # noqa: PLC0415  it takes seconds, and importing this module should not

    fast, slow = (vbt.MA.run(closes, [pair[name] for pair in pairs]) for name in ("fast", "slow"))
    up, down = fast.ma_crossed_above(slow).to_numpy(), fast.ma_crossed_below(slow).to_numpy()
    return vbt.Portfolio.from_signals(
        closes,
        up,
        down,
        short_entries=down,
        short_exits=up,
        fees=COMMISSION,
        init_cash=CASH,
        freq="1h",
    )


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
