"""Time of one run by the number of bars: 10^4 to 10^7, drawn to `bench/lengths.svg`.

`python -m bench.lengths` prints the figures and draws them.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from bench.limits import CASH, EXECUTION, PARAMS, gold, in_turns
from cift_core.engine import run_backtest
from cift_core.strategies import STRATEGIES

PICTURE = Path(__file__).with_name("lengths.svg")
LENGTHS = (10_000, 100_000, 1_000_000, 10_000_000)


def measure() -> dict[str, float]:
    """Median milliseconds of one run with trades, curves and all figures, for each length."""
    figures = {}
    for n in LENGTHS:
        bars = gold(n, "1m")  # ten million hours would end after the year 2262
        run = partial(run_backtest, bars, STRATEGIES["sma_cross"], PARAMS, EXECUTION, cash=CASH)
        figures[f"length_{n}_ms"] = in_turns(run, rounds=5)[0]
    return figures


def draw(f: dict[str, float]) -> None:
    """The figures as a picture, over a line of constant cost a bar."""
    mpl.rcParams["svg.hashsalt"] = "cift"
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.loglog(LENGTHS, [f[f"length_{n}_ms"] for n in LENGTHS], "o-", label="one run, all figures")
    per_bar_ms = f[f"length_{LENGTHS[-1]}_ms"] / LENGTHS[-1]
    axes.loglog(LENGTHS, [n * per_bar_ms for n in LENGTHS], "--", label=f"{per_bar_ms * 1e6:.0f} ns a bar")
    axes.set(xlabel="bars", ylabel="ms")
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend()
    figure.savefig(PICTURE, metadata={"Date": None})


def rows(f: dict[str, float]) -> list[tuple[str, str, str, str]]:
    """The figures as a row of the table."""
    per_bar_ns = [f[f"length_{n}_ms"] / n * 1e6 for n in LENGTHS]
    return [
        (
            "one run of 10⁴, 10⁵, 10⁶, 10⁷ bars: ns a bar ([lengths.svg](lengths.svg))",
            " / ".join(f"{ns:.0f}" for ns in per_bar_ns),
            f"{per_bar_ns[-1] / per_bar_ns[0]:.2f}×",
            "1×",
        )
    ]


if __name__ == "__main__":
    figures = measure()
    draw(figures)
    print(json.dumps(figures, indent=2))
