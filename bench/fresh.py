"""What a new process takes with compiled kernels on disk: time to its first result, and memory for a sweep.

`python -m bench.fresh` prints the figures of the process it runs in.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

from bench.memory import peak_mib
from deploy.native.environment import CHECKOUT


def measure() -> dict[str, float]:
    """Of a process of its own: `fresh_first_result_s`, and the peak resident memory in MiB of the bare
    interpreter, after one run, and after the sweep of `bench.limits`."""
    command = [sys.executable, "-m", "bench.fresh"]
    subprocess.run(command, cwd=CHECKOUT, capture_output=True, check=True)  # fills the cache of kernels
    output = subprocess.run(command, cwd=CHECKOUT, capture_output=True, check=True).stdout
    figures: dict[str, float] = json.loads(output)
    return figures


def rows(f: dict[str, float]) -> list[tuple[str, str, str, str]]:
    """The figures as rows of the table."""
    bare, ran, peak = (f[f"fresh_{name}_mib"] for name in ("bare", "ran", "peak"))
    return [
        (
            "first result in a new process after its imports, compiled kernels on disk",
            f"{f['fresh_first_result_s'] * 1e3:.0f} ms",
            "-",
            "< 1 s",
        ),
        (
            "peak memory of the sweep of 1,079 pairs, above the same process after one run",
            f"{peak:.0f} MiB - {ran:.0f} MiB",
            f"{peak - ran:.0f} MiB",
            "-",
        ),
        (
            "the same above a bare interpreter: with Numba, NumPy and the whole engine",
            f"{peak:.0f} MiB - {bare:.0f} MiB",
            f"{peak - bare:.0f} MiB",
            "< 100 MB",
        ),
    ]


def _of_this_process() -> dict[str, float]:
    bare = peak_mib()
    from bench.limits import CASH, EXECUTION, PAIRS, PARAMS, gold  # noqa: PLC0415  measured: what they take
    from cift_core.engine import run_backtest, run_sweep  # noqa: PLC0415
    from cift_core.strategies import STRATEGIES  # noqa: PLC0415

    strategy = STRATEGIES["sma_cross"]
    began = time.perf_counter()
    bars = gold(5_000)
    run_backtest(bars, strategy, PARAMS, EXECUTION, cash=CASH)
    first_result_s = time.perf_counter() - began
    ran = peak_mib()
    run_sweep(bars, strategy, PAIRS, EXECUTION, cash=CASH)
    return {
        "fresh_first_result_s": first_result_s,
        "fresh_bare_mib": bare,
        "fresh_ran_mib": ran,
        "fresh_peak_mib": peak_mib(),
    }


if __name__ == "__main__":
    print(json.dumps(_of_this_process(), indent=2))
