"""Strategies of other packages: the documented one, installed and run, and those that are unusable."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cift_core.engine import ENGINE_VERSION
from cift_core.strategies.packages import StrategyPackageError, installed

ROOT = Path(__file__).resolve().parents[2]
RUN = """
import json
from flask import Flask
from cift_core.engine import Execution, run_backtest
from cift_core.services.backtest_runs import computed_by
from cift_core.services.trading_strategies import check_definition
from cift_core.strategies import SHIPPED, STRATEGIES
from cift_web.strategies import list_strategy_catalog
from tests.engine.samples import sample

result = run_backtest(sample("AAPL"), STRATEGIES["rsi2"], {"trend": 100}, Execution(), cash=10_000.0)
with Flask("catalog").app_context():
    catalog = list_strategy_catalog().json["items"]
told = {
    "new": sorted({*STRATEGIES} - {*SHIPPED}),
    "catalog": [item for item in catalog if item["name"] not in SHIPPED],
    "submitted": check_definition({"name": "rsi2", "params": {"lower": 5}}),
    "params": result.params,
    "computed_by": [computed_by({"name": name}) for name in ("rsi2", "sma_cross")],
}
print(json.dumps({**told, **result.metrics}))
"""
# Buys on the bar before the one that is oversold.
LOOKS_AHEAD = (
    "return Signals(long_entry=oversold & rising",
    "return Signals(long_entry=np.roll(oversold & rising, -1)",
)


def documented_files() -> dict[str, str]:
    text = (ROOT / "docs" / "strategies.md").read_text()
    return dict(re.findall(r"^```(?:toml|python)\n# (\S+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))


def package(folder: Path, name: str, entry: str) -> None:
    metadata = folder / f"{name}-0.3.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.3\n")
    (metadata / "entry_points.txt").write_text(f"[cift.strategies]\n{entry}\n")


def run(site: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """A fresh process with what is installed in `site`."""
    return subprocess.run(
        [sys.executable, *args],
        cwd=ROOT,
        env={"PYTHONPATH": str(site)},
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the documented package is installed."""
    source, target = tmp_path_factory.mktemp("connors"), tmp_path_factory.mktemp("site")
    for name, text in documented_files().items():
        (source / name).write_text(text)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(target), str(source)], check=True)
    return target


def test_the_documented_package_is_installed_and_runs(site: Path) -> None:
    ran = run(site, "-c", RUN)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["new"] == ["rsi2"]
    (item,) = told["catalog"]
    assert item["title"] == "Connors' RSI(2)"
    assert [(p["name"], p["default"]) for p in item["params"]] == [("lower", 10), ("trend", 200)]
    assert told["submitted"] == {"name": "rsi2", "params": {"lower": 5.0, "trend": 200}}
    assert told["params"] == {"lower": 10.0, "trend": 100}
    assert told["computed_by"] == [f"{ENGINE_VERSION}, connors 1.0", ENGINE_VERSION]
    assert told["trades"] > 50
    assert told["win_rate"] > 0.5


def test_the_truncation_test_sees_a_package_that_looks_ahead(site: Path) -> None:
    text = documented_files()["connors.py"]
    assert LOOKS_AHEAD[0] in text
    (site / "early.py").write_text(text.replace(*LOOKS_AHEAD).replace('name="rsi2"', 'name="rsi2_early"'))
    package(site, "early", "rsi2_early = early:RSI2")
    pytest_ = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/strategies/test_strategies.py")
    ran = run(site, *pytest_, "-k", "truncation and rsi2")
    assert re.findall(r"^FAILED \S+::(\S+)", ran.stdout, re.MULTILINE) == ["test_truncation[rsi2_early]"], ran
    assert "1 failed, 1 passed" in ran.stdout


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("mine = not_there:MINE", "it can't be loaded: ModuleNotFoundError: No module named 'not_there'"),
        ("mine = cift_core.strategies.sma_cross:MINE", "it can't be loaded: AttributeError"),
        ("mine = cift_core.strategies:warm_up", "that is function, not cift_core.engine.Strategy"),
        ("mine = cift_core.strategies.sma_cross:STRATEGY", "that strategy's name is sma_cross"),
        (
            "sma_cross = cift_core.strategies.sma_cross:STRATEGY",
            "the name sma_cross is one that ships: choose another",
        ),
        ("wide = tests.strategies.unusable:WIDE", "its parameter stop is wrong: the bounds must be finite"),
        ("outside = tests.strategies.unusable:OUTSIDE", "its parameter stop is wrong: stop must be between"),
        ("worded = tests.strategies.unusable:WORDED", "its parameter stop is wrong: the kind must be"),
    ],
)
def test_an_unusable_package_is_named_with_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str, why: str
) -> None:
    package(tmp_path, "broken", entry)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(StrategyPackageError) as refused:
        installed(["sma_cross"])
    name = entry.partition(" ")[0]
    assert str(refused.value).startswith(f"the strategy {name} = ")
    assert "of broken 0.3 is unusable" in str(refused.value)
    assert why in str(refused.value)
    assert str(refused.value).endswith("Mend or uninstall that package.")


@pytest.mark.parametrize("module", ["cift_tasks.app", "cift_web.app"])
def test_no_process_starts_without_a_strategy_that_was_deployed(tmp_path: Path, module: str) -> None:
    package(tmp_path, "broken", "mine = not_there:MINE")
    ran = run(tmp_path, "-c", f"import {module}")
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1] == (
        "cift_core.strategies.packages.StrategyPackageError: the strategy mine = not_there:MINE of broken 0.3"
        " is unusable: it can't be loaded: ModuleNotFoundError: No module named 'not_there'."
        " Mend or uninstall that package."
    )


def test_two_packages_can_t_bring_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("first", "second"):
        package(tmp_path, name, "ema_cross = cift_core.strategies.ema_cross:STRATEGY")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(StrategyPackageError, match=r"of second 0\.3 .* ema_cross is taken by first 0\.3"):
        installed([])


def test_without_packages_there_are_none() -> None:
    assert installed([]) == {}
