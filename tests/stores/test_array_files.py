"""Arrays in files: what is put is there, within the bounds, whoever else is at work."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from cift_core.stores.array_files import TTL_S, ArrayFiles

COLUMNS = [np.arange(100, dtype=np.int64), np.linspace(0, 1, 100)]
SIZE = 4_096 + 2 * 800


@pytest.fixture
def files(tmp_path: Path) -> ArrayFiles:
    return ArrayFiles(tmp_path / "arrays", 3 * SIZE)


def kept(tmp_path: Path) -> set[str]:
    return {path.stem for path in (tmp_path / "arrays").iterdir()}


def test_what_is_put_is_there_bit_by_bit_and_may_be_written_to(files: ArrayFiles) -> None:
    assert files.get("a") is None
    odd = np.array([np.nan, -0.0, 5e-324] * 30 + [1.0] * 10)
    files.put("a", {"prices": "raw"}, [COLUMNS[0], odd])
    for _ in range(2):
        found = files.get("a")
        assert found is not None
        about, (first, second) = found
        assert about == {"prices": "raw"}
        assert (first.dtype, second.dtype) == (np.int64, np.float64)
        assert first.tobytes() == COLUMNS[0].tobytes()
        assert second.tobytes() == odd.tobytes()
        first[:] = 0
        second[:] = 0


def test_the_longest_unused_goes_first(files: ArrayFiles, tmp_path: Path) -> None:
    for name in "abc":
        files.put(name, {}, COLUMNS)
        os.utime(tmp_path / "arrays" / f"{name}.arrays", (ord(name), time.time()))
    assert files.get("a") is not None
    files.put("d", {}, COLUMNS)
    assert kept(tmp_path) == {"a", "c", "d"}
    files.put("large", {}, [np.zeros(3 * SIZE // 8)])
    assert kept(tmp_path) == {"a", "c", "d"}, "nothing goes for what is too large at all"


def test_a_day_after_it_was_written_it_is_gone(files: ArrayFiles, tmp_path: Path) -> None:
    files.put("a", {}, COLUMNS)
    files.put("b", {}, COLUMNS)
    old = time.time() - TTL_S - 1
    for name in "ab":
        os.utime(tmp_path / "arrays" / f"{name}.arrays", (time.time(), old))
    assert files.get("a") is None
    files.put("c", {}, COLUMNS)
    assert kept(tmp_path) == {"c"}


def test_a_file_that_is_not_whole_is_none(files: ArrayFiles, tmp_path: Path) -> None:
    files.put("a", {}, COLUMNS)
    path = tmp_path / "arrays" / "a.arrays"
    whole = path.read_bytes()
    for part in (b"", whole[:100], whole[:-8]):
        path.write_bytes(part)
        assert files.get("a") is None


def test_what_is_removed_while_it_is_mapped_stays_readable(files: ArrayFiles, tmp_path: Path) -> None:
    files.put("a", {}, COLUMNS)
    found = files.get("a")
    assert found is not None
    (tmp_path / "arrays" / "a.arrays").unlink()
    assert found[1][1].tolist() == COLUMNS[1].tolist()


def test_a_disk_that_refuses_is_an_empty_cache(tmp_path: Path) -> None:
    (tmp_path / "arrays").write_text("a file is no folder")
    files = ArrayFiles(tmp_path / "arrays", 10**6)
    files.put("a", {}, COLUMNS)
    assert files.get("a") is None


def test_with_no_bytes_nothing_is_kept(tmp_path: Path) -> None:
    files = ArrayFiles(tmp_path / "arrays", 0)
    files.put("a", {}, COLUMNS)
    assert files.get("a") is None
    assert not (tmp_path / "arrays").exists()
