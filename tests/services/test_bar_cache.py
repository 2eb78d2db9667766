"""Bars that are kept are what QuestDB would answer, whatever is written in between."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from cift_core.errors import InvalidInput
from cift_core.services import bar_cache, ingestion_runs, instrument_catalog
from cift_core.services.bars import BarsRead, read_bars
from cift_core.services.leases import Lease
from cift_core.stores.array_files import ArrayFiles
from tests.services.desk import Desk

HEADER = "time,open,high,low,close,volume\n"
START = datetime(2024, 1, 1, tzinfo=UTC)


def minutes(first: int, end: int, close: float = 2) -> str:
    moments = (START + timedelta(minutes=number) for number in range(first, end))
    return HEADER + "".join(f"{moment:%Y-%m-%dT%H:%M},1,3,1,{close},5\n" for moment in moments)


@pytest.fixture
def counted(desk: Desk, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[Desk, list[str]]:
    """A desk with a cache for any number of bars, and what was asked of QuestDB."""
    asked: list[str] = []

    def counting(questdb: Any, symbol: str, interval: str, *rest: Any, **options: Any) -> BarsRead:
        asked.append(interval)
        return read_bars(questdb, symbol, interval, *rest, **options)

    monkeypatch.setattr(bar_cache, "read_bars", counting)
    monkeypatch.setattr(bar_cache, "FEWEST_BARS", 1)
    stores = replace(desk.stores, arrays=ArrayFiles(tmp_path / "arrays", 10**8))
    kept = Desk(stores, desk.owner_id)
    kept.symbol = desk.symbol
    return kept, asked


def read(desk: Desk, interval: str = "1m", **range_: Any) -> BarsRead:
    start, end = range_.get("start"), range_.get("end")
    return bar_cache.read_kept_bars(
        desk.stores,
        desk.symbol,
        interval,
        start,
        end,
        range_.get("prices"),
        max_bars=range_.get("max", 10**6),
    )


def same(desk: Desk, found: BarsRead, interval: str = "1m", **range_: Any) -> bool:
    fresh = read_bars(
        desk.stores.questdb,
        desk.symbol,
        interval,
        range_.get("start"),
        range_.get("end"),
        range_.get("prices"),
        max_bars=10**6,
    )
    assert found.summary(1) == fresh.summary(1)
    assert found.source == fresh.source
    assert (found.bars.volume is None) == (fresh.bars.volume is None)
    return True


def test_what_is_read_again_is_not_asked_for_again(counted: tuple[Desk, list[str]]) -> None:
    desk, asked = counted
    desk.ingest(minutes(0, 300), interval="1m")
    for interval, range_ in (
        ("1m", {}),
        ("5m", {}),
        ("1m", {"end": START + timedelta(minutes=9)}),
        ("1m", {"start": START + timedelta(minutes=9)}),
        ("1m", {"prices": "raw"}),
    ):
        before = len(asked)
        first, second = read(desk, interval, **range_), read(desk, interval, **range_)
        assert len(asked) == before + 1
        assert same(desk, first, interval, **range_)
        assert same(desk, second, interval, **range_)
    with pytest.raises(InvalidInput, match="more than 10 bars"):
        read(desk, max=10)


def test_nothing_that_was_written_is_missed(counted: tuple[Desk, list[str]]) -> None:
    """A correction, a row before, a row after, another interval that wins: read and kept in between."""
    desk, asked = counted
    desk.ingest(minutes(10, 300), interval="1m")
    early = {"end": START + timedelta(minutes=60)}
    for write, touches_early in (
        (lambda: desk.ingest(minutes(20, 21, close=2.5), interval="1m"), True),
        (lambda: desk.ingest(minutes(0, 1), interval="1m"), True),
        (lambda: desk.ingest(minutes(400, 401), interval="1m"), False),
        (lambda: desk.ingest(HEADER + "2024-01-01T00:05,1,9,1,5,1\n", interval="5m"), True),
    ):
        for interval in ("1m", "5m"):
            read(desk, interval)
            read(desk, interval, **early)
        write()
        for interval in ("1m", "5m"):
            assert same(desk, read(desk, interval), interval)
            before = len(asked)
            assert same(desk, read(desk, interval, **early), interval, **early)
            assert len(asked) == before + touches_early


def test_while_rows_are_written_nothing_is_taken_or_kept(counted: tuple[Desk, list[str]]) -> None:
    desk, asked = counted
    desk.ingest(minutes(0, 100), interval="1m")
    read(desk)
    ingestion = desk.submit(upload=minutes(0, 100, close=2.5).encode(), path=None, interval="1m")
    claim = desk.claim(ingestion)

    class Looking(Lease):
        looks = 0

        def check(self) -> None:
            self.looks += 1
            if self.looks > 3:
                desk.stores.questdb.wait_visible("bars")
                assert same(desk, read(desk))

    with Looking(desk.stores.postgres, claim, 60) as lease:
        ingestion_runs.run(desk.stores, lease, chunk_bytes=500)
    assert lease.looks > 5  # type: ignore[attr-defined]
    before = len(asked)
    assert same(desk, read(desk))
    assert len(asked) == before + 1


def test_what_changes_while_it_is_read_is_not_kept(
    counted: tuple[Desk, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, _ = counted
    desk.ingest(minutes(0, 100), interval="1m")
    reading = bar_cache.read_bars

    def slow(*args: Any, **options: Any) -> BarsRead:
        found = reading(*args, **options)
        desk.ingest(minutes(0, 1, close=2.5), interval="1m")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(bar_cache, "read_bars", slow)
        read(desk)
    assert same(desk, read(desk))


def test_what_an_operator_removed_is_not_answered_after_the_rebuild(counted: tuple[Desk, list[str]]) -> None:
    desk, _ = counted
    desk.ingest(minutes(0, 100), interval="1m")
    read(desk)
    desk.stores.questdb.execute(
        "INSERT INTO bars (timestamp, symbol, interval, open, high, low, close)"
        " VALUES ('2024-01-01T05:00:00.000000Z', %s, '1m', 1, 3, 1, 2)",
        (desk.symbol,),
    )
    desk.stores.questdb.wait_visible("bars")
    instrument_catalog.rebuild(desk.stores)
    assert same(desk, read(desk))


def test_few_bars_are_not_kept(desk: Desk, tmp_path: Any) -> None:
    desk.ingest(minutes(0, 100), interval="1m")
    stores = replace(desk.stores, arrays=ArrayFiles(tmp_path / "arrays", 10**8))
    bar_cache.read_kept_bars(stores, desk.symbol, "1m", None, None, None, max_bars=1000)
    assert not (tmp_path / "arrays").exists()


def test_kept_bars_do_not_change_when_a_strategy_writes_to_a_copy(counted: tuple[Desk, list[str]]) -> None:
    desk, _ = counted
    desk.ingest(minutes(0, 100), interval="1m")
    read(desk)
    first = read(desk).bars
    copy = np.array(first.close)
    copy[:] = 0
    assert read(desk).bars.close.tolist() == first.close.tolist()
