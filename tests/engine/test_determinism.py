"""A run gives the same bytes again, in another process, on many threads at once, and in a sweep."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cift_core.engine import Execution, Strategy, run_backtest, run_portfolio, run_sweep
from cift_core.strategies import STRATEGIES
from tests.engine.samples import DAILY, sample

COSTS: Any = {"commission_rate": 0.001, "slippage_rate": 0.0005}
LEVELS: Any = {"stop_loss": 0.03, "take_profit": 0.08, "trailing_stop": 0.05}
ON_ONE = [name for name, strategy in STRATEGIES.items() if strategy.compute]
JOBS = [*ON_ONE, *(f"{name} of several" for name in STRATEGIES)]


def digest(job: str) -> str:
    """The digest of a run of the strategy named first, on one symbol or several."""
    name = job.split(maxsplit=1)[0]
    strategy = STRATEGIES[name]
    levels = LEVELS if strategy.compute else {}
    execution = Execution(allow_short=True, **COSTS, **levels)
    if job == name:
        return run_backtest(sample("XAUUSD"), strategy, {}, execution).sha256()
    panel = {symbol: sample(symbol) for symbol in DAILY}
    return run_portfolio(panel, strategy, {}, execution).sha256()


def digests() -> dict[str, str]:
    return {job: digest(job) for job in JOBS}


def test_runs_repeat_to_the_last_bit() -> None:
    first = digests()
    assert len(set(first.values())) == len(JOBS)
    assert digests() == first


@pytest.mark.parametrize("seed", ["0", "4242"])
def test_other_processes_give_the_same_bits(seed: str) -> None:
    script = "from tests.engine.test_determinism import digests; print(digests())"
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == str(digests())


def test_threads_give_the_same_bits() -> None:
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(digest, JOBS * 8)) == list(digests().values()) * 8


def grid(strategy: Strategy) -> list[dict[str, Any]]:
    """Each parameter at its default, at twice and at half of it, as far as its bounds go."""
    axes = []
    for p in strategy.params:
        assert p.default is not None
        axes.append([x for x in (p.default, 2 * p.default, p.default // 2) if p.problem(x) is None])
    names = [p.name for p in strategy.params]
    return [dict(zip(names, values, strict=True)) for values in product(*axes)]


@pytest.mark.parametrize("name", [name for name in ON_ONE if STRATEGIES[name].params])
def test_sweeps_on_one_thread_and_on_four_equal_single_runs(name: str) -> None:
    bars, strategy = sample("AAPL"), STRATEGIES[name]
    execution, sets = Execution(allow_short=True, **COSTS, **LEVELS), grid(strategy)
    figures = [run_backtest(bars, strategy, params, execution).metrics for params in sets]
    assert len({figure["final_equity"] for figure in figures}) > 2
    with ThreadPoolExecutor(4) as pool:
        alone = run_sweep(bars, strategy, sets, execution)
        at_once = list(pool.map(lambda _: run_sweep(bars, strategy, sets, execution), range(4)))
    for table in (alone, *at_once):
        for column, values in table.items():
            expected = [figure[column] for figure in figures]
            if column == "open_position":
                expected = [left is not None for left in expected]
            expected = [np.nan if value is None else value for value in expected]
            assert np.array(expected, values.dtype).tobytes() == values.tobytes()
