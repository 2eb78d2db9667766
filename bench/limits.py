"""The engine over its limit, the kernel of `bench/fused.py`, and rules over the built-in they spell out.

`python -m bench.limits` prints the figures. The bars are real: hourly gold of the sample data; the million
is the same 76,499 bars one after the other, an hour apart.
"""

from __future__ import annotations

import csv
import gc
import gzip
import json
import statistics
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import combinations, islice

import numpy as np

from bench import fused
from cift_core.engine import Bars, Execution, Strategy, run_backtest, run_sweep
from cift_core.engine.bars import INTERVAL_NS
from cift_core.rules import compile_rules
from cift_core.strategies import STRATEGIES
from deploy.native.environment import CHECKOUT

SAMPLE = CHECKOUT / "data" / "sample" / "XAUUSD-1h.csv.gz"
CASH, COMMISSION = 10_000.0, 0.0002
PARAMS = {"fast": 10, "slow": 20}
PAIRS = [{"fast": fast, "slow": slow} for fast, slow in islice(combinations(range(2, 60), 2), 1_079)]
RULES = {
    "indicators": {"fast": "sma(close, $fast)", "slow": "sma(close, $slow)"},
    "long": {"entry": "crosses_above(fast, slow)", "exit": "crosses_below(fast, slow)"},
    "short": {"entry": "crosses_below(fast, slow)", "exit": "crosses_above(fast, slow)"},
}
EXECUTION = Execution(commission_rate=COMMISSION, allow_short=True)


def measure() -> dict[str, float]:
    """Medians in milliseconds; what is compared takes turns, so that a busy machine slows both."""
    built_in, rules = STRATEGIES["sma_cross"], compile_rules(RULES)
    short, long = gold(5_000), gold(1_000_000)
    one = gold(2_148)

    def backtest(bars: Bars, strategy: Strategy) -> Callable[[], object]:
        return lambda: run_backtest(bars, strategy, PARAMS, EXECUTION, cash=CASH)

    def sweep(strategy: Strategy) -> Callable[[], object]:
        return lambda: run_sweep(short, strategy, PAIRS, EXECUTION, cash=CASH)

    def limit(bars: Bars) -> Callable[[], object]:
        return lambda: fused.sma_cross(bars.open, bars.close, 10, 20, COMMISSION, CASH)

    def limits() -> None:
        for pair in PAIRS:
            fused.sma_cross(short.open, short.close, pair["fast"], pair["slow"], COMMISSION, CASH)

    single = in_turns(backtest(one, built_in), backtest(one, rules), limit(one), rounds=400)
    million = in_turns(backtest(long, built_in), backtest(long, rules), limit(long), rounds=9)
    swept = in_turns(sweep(built_in), sweep(rules), limits, lambda: two_threads(sweep(built_in)), rounds=7)
    return {
        **named("limits_2148", single),
        **named("limits_million", million),
        **named("limits_sweep", swept[:3]),
        "limits_sweep_two_threads_ms": swept[3],
    }


def rows(f: dict[str, float]) -> list[tuple[str, str, str, str]]:
    """The figures as rows of the table."""
    table = []
    for key, what, goal in (
        ("limits_2148", "one run, 2,148 bars", "-"),
        ("limits_million", "one run, 1,000,000 bars", "≤ 3×"),
        ("limits_sweep", "sweep of 1,079 pairs × 5,000 bars, all figures", "≤ 2×"),
    ):
        engine, rules, limit = (f[f"{key}_{name}_ms"] for name in ("engine", "rules", "fused"))
        table.append(
            (
                f"{what}, over one fused kernel with five figures",
                f"{engine:.3g} ms / {limit:.3g} ms",
                f"{engine / limit:.2f}×",
                goal,
            )
        )
        table.append(
            (f"{what}, by rules over the built-in", f"{rules:.3g} ms", f"{rules / engine:.2f}×", "≤ 1.5×")
        )
    one, two = f["limits_sweep_engine_ms"], f["limits_sweep_two_threads_ms"]
    table.append(("two of these sweeps in two threads", f"{two:.3g} ms", f"{2 * one / two:.2f}×", "≥ 1.8×"))
    return table


def gold(n: int, interval: str = "1h") -> Bars:
    """The first n bars, labelled an interval apart; beyond the sample it begins again."""
    with gzip.open(SAMPLE, "rt") as file:
        records = list(islice(csv.DictReader(file), n))
    prices = {
        name: np.resize(np.array([record[name] for record in records], np.float64), n)
        for name in ("open", "high", "low", "close")
    }
    first = datetime.fromisoformat(records[0]["timestamp"]).replace(tzinfo=UTC)
    time_ns = int(first.timestamp()) * 1_000_000_000 + np.arange(n, dtype=np.int64) * INTERVAL_NS[interval]
    return Bars(time=time_ns, **prices, interval=interval)


def in_turns(*functions: Callable[[], object], rounds: int) -> list[float]:
    """The median milliseconds of each; none has to clear away what the one before it left."""
    elapsed_ms: list[list[float]] = [[] for _ in functions]
    for function in functions:
        function()
    gc.collect()
    gc.freeze()
    for _ in range(rounds):
        for function, times in zip(functions, elapsed_ms, strict=True):
            gc.collect()
            began = time.perf_counter()
            function()
            times.append((time.perf_counter() - began) * 1e3)
    gc.unfreeze()
    return [statistics.median(times) for times in elapsed_ms]


def named(key: str, figures: list[float]) -> dict[str, float]:
    """The three figures by name."""
    engine, rules, limit = figures
    return {f"{key}_engine_ms": engine, f"{key}_rules_ms": rules, f"{key}_fused_ms": limit}


def two_threads(function: Callable[[], object]) -> None:
    """The function in two threads at once."""
    threads = [threading.Thread(target=function) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
