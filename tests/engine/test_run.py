"""Runs as a whole: parameters, sweeps, digests, and the compiled code behind them."""

import hashlib
import json
import shutil
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cift_core
from cift_core.engine import TRADE, Execution, run_backtest, run_sweep
from cift_core.engine.indicators import stdev
from cift_core.errors import InvalidInput
from cift_core.strategies import STRATEGIES
from tests.engine.samples import bars_from, given_signals, part, sample

SMA = STRATEGIES["sma_cross"]


def test_defaults_are_filled_in() -> None:
    result = run_backtest(sample("IBM"), SMA, {"fast": 5.0}, Execution(), cash=10_000)
    assert dict(result.params) == {"fast": 5, "slow": 20}
    assert type(result.params["fast"]) is int


@pytest.mark.parametrize(
    ("params", "errors"),
    [
        ({"fast": 0}, [("/params/fast", "fast must be between 2 and 100000, got 0")]),
        ({"fast": 100_001}, [("/params/fast", "fast must be between 2 and 100000, got 100001")]),
        ({"fast": 2.5}, [("/params/fast", "fast must be a whole number between 2 and 100000, got 2.5")]),
        ({"fast": "5"}, [("/params/fast", "fast must be a whole number between 2 and 100000, got '5'")]),
        ({"fast": True}, [("/params/fast", "fast must be a whole number between 2 and 100000, got True")]),
        ({"fast": None}, [("/params/fast", "fast must be a whole number between 2 and 100000, got None")]),
        (
            {"fast": float("nan")},
            [("/params/fast", "fast must be a whole number between 2 and 100000, got nan")],
        ),
        (
            {"fsat": 5, "slow": 1},
            [
                ("/params/fsat", 'sma_cross has no parameter "fsat" (did you mean "fast"?)'),
                ("/params/slow", "slow must be between 2 and 100000, got 1"),
            ],
        ),
        ([], [("/params", "params must be an object, got []")]),
    ],
)
def test_bad_params(params: Any, errors: list[tuple[str, str]]) -> None:
    with pytest.raises(InvalidInput) as caught:
        run_backtest(sample("IBM"), SMA, params, Execution())
    assert caught.value.code == "invalid_params"
    assert [(e.pointer, e.detail) for e in caught.value.errors] == errors


def test_float_params() -> None:
    rsi = STRATEGIES["rsi_reversion"]
    assert dict(rsi.validate({"lower": 25})) == {"window": 14, "lower": 25.0, "upper": 70.0}
    with pytest.raises(InvalidInput, match=r"upper must be between 0 and 100, got 100\.5"):
        rsi.validate({"upper": 100.5})
    with pytest.raises(InvalidInput, match="upper must be between 0 and 100, got nan"):
        rsi.validate({"upper": float("nan")})


@pytest.mark.parametrize("cash", [0, -1, float("nan"), float("inf"), "1", True, None])
def test_bad_cash(cash: Any) -> None:
    for call in (run_backtest, run_sweep):
        with pytest.raises(InvalidInput, match=r"cash must be a number above 0") as caught:
            call(sample("IBM"), SMA, {} if call is run_backtest else [{}], Execution(), cash=cash)  # type: ignore[arg-type]
        assert [e.pointer for e in caught.value.errors] == ["/cash"]


@pytest.mark.parametrize("name", [n for n, one in STRATEGIES.items() if one.compute and one.params])
def test_window_longer_than_the_data_trades_nothing(name: str) -> None:
    strategy, bars = STRATEGIES[name], part(sample("MSFT"), 0, 30)
    window = {p.name: 31 for p in strategy.params if p.kind == "int"}
    result = run_backtest(bars, strategy, window, Execution(allow_short=True), cash=500)
    assert len(result.trades) == 0
    assert result.equity.tolist() == [500.0] * 30
    assert result.metrics["trades"] == 0
    assert result.metrics["sharpe"] is None
    json.dumps(result.metrics, allow_nan=False)


def test_sweep_equals_single_runs() -> None:
    bars, execution = sample("MSFT"), Execution(commission_rate=0.001, allow_short=True, trailing_stop=0.1)
    sets = [{"fast": f, "slow": s} for f in (5, 10, 30) for s in (20, 50, 10_000)]
    table = run_sweep(bars, SMA, sets, execution, cash=5_000)
    assert len(table["sharpe"]) == len(sets)
    for row, params in enumerate(sets):
        metrics = run_backtest(bars, SMA, params, execution, cash=5_000).metrics
        assert set(table) == set(metrics)
        for name, value in metrics.items():
            if name == "open_position":
                assert table[name][row] == (value is not None)
            else:
                np.testing.assert_array_equal(table[name][row], np.nan if value is None else value)
    kinds = {name: column.dtype.kind for name, column in table.items()}
    assert [n for n, k in kinds.items() if k == "i"] == ["trades", "rejected_orders"]
    assert [n for n, k in kinds.items() if k == "b"] == ["ruined", "open_position"]


def test_sweep_names_the_row() -> None:
    with pytest.raises(InvalidInput) as caught:
        run_sweep(sample("IBM"), SMA, [{"fast": 5}, {"fast": 1, "slwo": 3}], Execution())
    assert {e.pointer for e in caught.value.errors} == {"/params/1/fast", "/params/1/slwo"}


def test_empty_sweep() -> None:
    assert len(run_sweep(sample("IBM"), SMA, [], Execution())["sharpe"]) == 0


def test_result_digest_is_what_it_says() -> None:
    bars = bars_from((10, 10, 10, 10), (10, 10, 10, 10), (8, 8, 8, 8))
    result = run_backtest(bars, given_signals({"long_entry": [0]}), {}, Execution(), cash=100)
    (trade,) = result.trades
    packed = struct.pack("<ibdqdqddddqb", *(trade[name] for name in TRADE.names or ()))
    packed += struct.pack("<3d", 100.0, 100.0, 80.0)
    packed += json.dumps(result.metrics, sort_keys=True, separators=(",", ":")).encode()
    assert result.sha256() == hashlib.sha256(packed).hexdigest()


def test_a_thread_breathes_inside_a_kernel() -> None:
    x = np.random.default_rng(0).random(5_000_000)
    stdev(x[:100], 20)
    beats: list[float] = []
    done = threading.Event()

    def beat() -> None:
        while not done.wait(0.001):
            beats.append(time.perf_counter())

    def beats_in_one_call() -> int:
        started = time.perf_counter()
        stdev(x, 20)
        ended = time.perf_counter()
        return sum(started < b < ended for b in beats)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        # With the GIL held there is not one; on a busy machine a call may have to be repeated to see some.
        deadline = time.perf_counter() + 30
        while beats_in_one_call() < 3:
            assert time.perf_counter() < deadline
    finally:
        done.set()
        thread.join()


def test_a_change_in_one_kernel_file_recompiles_its_callers_in_others(tmp_path: Path) -> None:
    package = tmp_path / "cift_core"
    shutil.copytree(Path(cift_core.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    callee, caller = package / "engine" / "callee.py", package / "engine" / "caller.py"
    header = "from cift_core.engine.kernel import kernel\n"
    callee.write_text(f"{header}@kernel\ndef callee(x: float) -> float:\n    return x + 1.0\n")
    header += "from cift_core.engine.callee import callee\n"
    caller.write_text(f"{header}@kernel\ndef caller(x: float) -> float:\n    return callee(x) * 2.0\n")
    script = tmp_path / "script.py"
    script.write_text(
        "from cift_core.engine.caller import caller\n"
        "print(caller(3.0), sum(caller.stats.cache_hits.values()))\n"
    )

    def outcome() -> str:
        run = subprocess.run(
            [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return run.stdout.strip()

    assert outcome() == "8.0 0"
    assert outcome() == "8.0 1"
    callee.write_text(callee.read_text().replace("1.0", "2.0"))
    assert outcome() == "10.0 0"
