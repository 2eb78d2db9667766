"""`make bench`: measure everything in one run and write `bench/RESULTS.md`."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench import engine, fresh, ingest, kafka, lengths, limits, portfolio, reads, service, vectorbt_peer

RESULTS = Path(__file__).with_name("RESULTS.md")


def main() -> None:
    """Run every benchmark, print the table and write it."""
    figures: dict[str, float] = {}
    parts = fresh, engine, limits, lengths, vectorbt_peer, portfolio, ingest, kafka, reads, service
    for part in parts:
        figures |= part.measure()
    lengths.draw(figures)
    text = report(figures)
    RESULTS.write_text(text)
    print(text)


def report(f: dict[str, float]) -> str:
    """The results as Markdown; every ratio is of two figures of this same run."""
    rows = [
        (
            "`GET /ready` over its slowest probe",
            f"{f['ready_p50_ms']:.2f} ms / {f['slowest_probe_p50_ms']:.2f} ms",
            f"{f['ready_p50_ms'] / f['slowest_probe_p50_ms']:.2f}×",
            "as near 1× as can be",
        ),
        (
            "submits/s over a bare pooled `SELECT 1` endpoint",
            f"{f['submits_per_s']:.0f} / {f['select_one_per_s']:.0f} a second",
            f"{f['submits_per_s'] / f['select_one_per_s']:.2f}×",
            "≥ 0.25×",
        ),
        (
            "`GET` of a finished backtest over the same endpoint",
            f"{f['reads_per_s']:.0f} / {f['select_one_per_s']:.0f} a second",
            f"{f['reads_per_s'] / f['select_one_per_s']:.2f}×",
            "≥ 0.5×",
        ),
        (
            "a page of a list of 100,000 backtests over one of 100 (p50)",
            f"{f['list_of_long_p50_ms']:.1f} ms / {f['list_of_short_p50_ms']:.1f} ms",
            f"{f['list_of_long_p50_ms'] / f['list_of_short_p50_ms']:.2f}×",
            "1×",
        ),
        (
            "submit → succeeded over a no-op task's round trip (p50, 2,148 bars)",
            f"{f['turnaround_p50_ms']:.1f} ms / {f['noop_round_trip_p50_ms']:.1f} ms",
            f"{f['turnaround_p50_ms'] / f['noop_round_trip_p50_ms']:.1f}×",
            "≤ 15×",
        ),
        (
            "engine, one run with trades, equity and all metrics, over backtesting.py (2,148 bars)",
            f"{f['engine_ms']:.3f} ms / {f['backtesting_py_ms']:.1f} ms",
            f"{f['backtesting_py_ms'] / f['engine_ms']:.0f}× faster",
            "≥ 100×",
        ),
        *limits.rows(f),
        *lengths.rows(f),
        *fresh.rows(f),
        *vectorbt_peer.rows(f),
        *portfolio.rows(f),
        *ingest.rows(f),
        *kafka.rows(f),
        *reads.rows(f),
    ]
    lines = [
        "# Benchmark results",
        "",
        f"Printed by `make bench` on {datetime.now(UTC):%Y-%m-%d}. {machine()}",
        "Clients, servers and workers share the cores. The ratios are of one run; differences below 2×",
        "between runs mean nothing.",
        "",
        "| what | measured | ratio | goal |",
        "|---|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
        f"Submit latency under 16 clients: p50 {f['submit_p50_ms']:.1f} ms, p99 {f['submit_p99_ms']:.1f} ms.",
        "These submits are taken with the jobs' worker stopped, so that it is the API that is measured;",
        f"with it running on the same cores: {f['submits_while_running_per_s']:.0f} a second. They are one",
        "user's: above 16 jobs in flight a submit sends no message, the job that ends passes its place on.",
        f"Turnaround p99 {f['turnaround_p99_ms']:.1f} ms.",
        "",
        f"40 clients with 20 submits each: {f['burst_submits']:.0f} accepted and succeeded, none lost,",
        f"in {f['burst_done_s']:.1f} s from the first submit to the last result;",
        f"a submit took p50 {f['burst_p50_ms']:.0f} ms, p99 {f['burst_p99_ms']:.0f} ms.",
        "",
        "Peer: backtesting.py "
        + version("backtesting")
        + ", SMA 10/20 on its own GOOG bars, 0.2 % commission; vectorbt "
        + version("vectorbt")
        + ", in whose sweep",
        f"the mean final equity is {f['vectorbt_sweep_equity_gap']:.2%} from ours: it has no warm-up.",
        "",
    ]
    return "\n".join(lines)


def machine() -> str:
    """The machine in a sentence."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"Machine: {os.cpu_count()} cores ({platform.machine()}), {memory_gib:.0f} GiB, "
        f"{platform.system()}, Python {platform.python_version()}."
    )


if __name__ == "__main__":
    main()
