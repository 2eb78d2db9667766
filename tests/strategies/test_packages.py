"""Strategies of other packages: the documented one, installed and run, and those that are unusable."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cift_core.strategies.packages import StrategyPackageError, installed

ROOT = Path(__file__).resolve().parents[2]
RUN = """
import json
from cift_core.engine import Execution, run_backtest
from cift_core.strategies import SHIPPED, STRATEGIES
from tests.engine.samples import sample

result = run_backtest(sample("AAPL"), STRATEGIES["rsi2"], {"trend": 100}, Execution(), cash=10_000.0)
print(json.dumps({"new": sorted({*STRATEGIES} - {*SHIPPED}), "params": result.params, **result.metrics}))
"""


def documented_files() -> dict[str, str]:
    text = (ROOT / "docs" / "strategies.md").read_text()
    return dict(re.findall(r"^```(?:toml|python)\n# (\S+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))


def package(folder: Path, name: str, entry: str) -> None:
    metadata = folder / f"{name}-0.3.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.3\n")
    (metadata / "entry_points.txt").write_text(f"[cift.strategies]\n{entry}\n")


def test_the_documented_package_is_installed_and_runs(tmp_path: Path) -> None:
    files = documented_files()
    assert sorted(files) == ["connors.py", "pyproject.toml"]
    source, target = tmp_path / "connors", tmp_path / "site"
    source.mkdir()
    for name, text in files.items():
        (source / name).write_text(text)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(target), str(source)], check=True)
    ran = subprocess.run(
        [sys.executable, "-c", RUN],
        cwd=ROOT,
        env={"PYTHONPATH": str(target)},
        check=True,
        capture_output=True,
        text=True,
    )
    told = json.loads(ran.stdout)
    assert told["new"] == ["rsi2"]
    assert told["params"] == {"lower": 10.0, "trend": 100}
    assert told["trades"] > 50
    assert told["win_rate"] > 0.5


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


def test_two_packages_can_t_bring_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("first", "second"):
        package(tmp_path, name, "ema_cross = cift_core.strategies.ema_cross:STRATEGY")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(StrategyPackageError, match=r"of second 0\.3 .* ema_cross is taken by first 0\.3"):
        installed([])


def test_without_packages_there_are_none() -> None:
    assert installed([]) == {}
