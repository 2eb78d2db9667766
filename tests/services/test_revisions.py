"""Revisions: each write to a series makes a version, and who stood on an older one is known."""

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from sqlalchemy import select, update

from cift_core.models import Backtest, DataRevision, InstrumentSeries, JobStatus, User
from cift_core.services import (
    backtest_runs,
    backtests,
    data_reads,
    ingestion_runs,
    instrument_catalog,
    jobs,
    market_writes,
    revisions,
)
from cift_core.services.leases import Lease
from cift_core.services.market_kinds import BARS
from cift_core.services.revisions import Change, days_of
from tests.services.desk import Desk

HEADER = "time,open,high,low,close\n"
REQUEST: dict[str, Any] = {"strategy": {"name": "buy_and_hold"}, "interval": "1d", "cash": 1000}


def days(*numbers: int, close: float = 2) -> str:
    return HEADER + "".join(f"2020-01-{day:02},1,3,1,{close}\n" for day in numbers)


def listed(desk: Desk, owner_id: UUID | None = None) -> list[dict[str, Any]]:
    with desk.stores.postgres.transaction() as session:
        found, following = data_reads.list_revisions(session, owner_id or desk.owner_id, desk.symbol)
    assert following is None
    return found


def backtest(desk: Desk, **request: Any) -> Backtest:
    with desk.stores.postgres.transaction() as session:
        made = backtests.submit(
            session, desk.owner_id, REQUEST | {"symbols": [desk.symbol]} | request, max_in_flight=50
        )
    with desk.stores.postgres.transaction() as session:
        claim = jobs.claim(session, Backtest, made.id, lease_s=60, task_id="-")
    assert claim is not None
    with Lease(desk.stores.postgres, claim, 60) as lease:
        values = backtest_runs.run(desk.stores, lease)
    with desk.stores.postgres.transaction() as session:
        assert jobs.finish(session, claim, JobStatus.SUCCEEDED, **values)
        return backtests.get(session, desk.owner_id, made.id)


def figures(found: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [
        (one["version"], one["rows_added"], one["rows_changed"], one["first"][8:10], one["last"][8:10])
        for one in found
    ]


def test_each_ingestion_that_writes_makes_a_version(desk: Desk) -> None:
    first = desk.ingest(days(1, 2, 3, 6))
    assert figures(listed(desk)) == [(1, 4, 0, "01", "06")]
    desk.ingest(days(2, 3))
    assert figures(listed(desk)) == [(1, 4, 0, "01", "06")], "nothing was written"
    second = desk.ingest(days(3, 4, 5, close=3))
    found = listed(desk)
    assert figures(found) == [(2, 2, 1, "03", "05"), (1, 4, 0, "01", "06")]
    assert [one["ingestion_id"] for one in found] == [second.id, first.id]
    assert (found[0]["kind"], found[0]["interval"]) == ("bars", "1d")
    with desk.stores.postgres.transaction() as session:
        kept = session.scalars(select(DataRevision).where(DataRevision.symbol == desk.symbol).order_by("id"))
        spans = [[(one.lower, one.upper) for one in revision.days] for revision in kept]
    assert spans == [
        [(date(2020, 1, 1), date(2020, 1, 4)), (date(2020, 1, 6), date(2020, 1, 7))],
        [(date(2020, 1, 3), date(2020, 1, 6))],
    ]


def test_counts_are_of_the_whole_file_however_it_is_cut(desk: Desk) -> None:
    desk.ingest(days(*range(1, 29)), options={"chunk_bytes": 64})
    desk.ingest(days(*range(5, 31), close=3), options={"chunk_bytes": 64})
    assert figures(listed(desk)) == [(2, 2, 24, "05", "30"), (1, 28, 0, "01", "28")]


def test_a_worker_that_dies_in_the_middle_does_not_count_twice(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies once it has told of a chunk: before it writes it, or after."""
    desk.ingest(days(*range(1, 10)))
    whole = market_writes.MarketWriter._send
    for version, after in ((2, False), (3, True)):
        ingestion = desk.submit(upload=days(*range(1, 15), close=1 + version / 10).encode(), path=None)
        sends = iter(range(100))

        def dying(self: Any, rows: Any, server_time: bool, after: bool = after, sends: Any = sends) -> None:
            dies = next(sends) == 2
            if after or not dies:
                whole(self, rows, server_time)
            if dies:
                raise KeyboardInterrupt

        monkeypatch.setattr(market_writes.MarketWriter, "_send", dying)
        claim = desk.claim(ingestion)
        with pytest.raises(KeyboardInterrupt), Lease(desk.stores.postgres, claim, 60) as lease:
            ingestion_runs.run(desk.stores, lease, chunk_bytes=64)
        monkeypatch.setattr(market_writes.MarketWriter, "_send", whole)
        with desk.stores.postgres.transaction() as session:
            assert jobs.release(session, claim)
        assert len(listed(desk)) == version - 1, "it can't be read yet"
        desk.run(ingestion, chunk_bytes=64)
        added = 5 if version == 2 else 0
        assert figures(listed(desk))[0] == (version, added, 14 - added, "01", "14")


def test_what_a_lost_worker_left_becomes_a_version_when_it_is_settled(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instrument_catalog.CatalogUpdate, "_settle", lambda _: None)
    desk.ingest(days(1, 2))
    assert listed(desk) == []
    instrument_catalog.settle_left(desk.stores)
    assert figures(listed(desk)) == [(1, 2, 0, "01", "02")]


def test_a_backtest_knows_its_version_and_who_stood_on_an_older_one(desk: Desk) -> None:
    desk.ingest(days(*range(2, 10)))
    early = backtest(desk, end="2020-01-05T00:00:00Z")
    whole = backtest(desk)
    to_come = backtest(desk, end="2020-01-20T00:00:00Z")
    for one in (early, whole, to_come):
        assert (one.data or {})["version"] == 1
    desk.ingest(days(7, close=3))
    late = backtest(desk)
    assert (late.data or {})["version"] == 2
    stood = listed(desk)[0]
    assert (stood["backtests"], stood["backtests_count"]) == ([to_come.id, whole.id], 2)
    desk.ingest(days(12))
    assert listed(desk)[0]["backtests"] == [to_come.id], "those with no end stand on what there was"
    desk.ingest(days(1, 30))
    assert listed(desk)[0]["backtests"] == [], "around all of them, in none"
    assert [one["backtests_count"] for one in listed(desk)] == [0, 1, 2, 0]
    with desk.stores.postgres.transaction() as session:
        found, _ = backtests.list_backtests(session, desk.owner_id, revision=stood["id"])
    assert [one.id for one in found] == [to_come.id, whole.id]


def test_backtests_on_built_bars_stand_on_what_these_are_from(desk: Desk) -> None:
    trades = "time,id,price\n" + "".join(f"2020-01-0{day}T10:00,{day},5\n" for day in (1, 2, 3))
    desk.run(desk.submit(None, upload=trades.encode(), kind="ticks"))
    built = backtest(desk)
    assert (built.data or {})["source"]["kind"] == "ticks"
    desk.ingest(days(1))
    desk.run(desk.submit(None, upload=b"time,id,price\n2020-01-03T23:59,9,6\n", kind="ticks"))
    desk.run(desk.submit(None, upload=b"time,id,price\n2020-01-04T00:00,10,6\n", kind="ticks"))
    after, within, other, _ = listed(desk)
    assert (after["kind"], after["backtests"]) == ("ticks", [])
    assert (within["kind"], within["backtests"]) == ("ticks", [built.id])
    assert (other["kind"], other["backtests"]) == ("bars", [])


def test_backtests_of_others_are_not_shown(desk: Desk) -> None:
    with desk.stores.postgres.transaction() as session:
        other = User(email=f"{uuid4()}@example.com", password_hash="-")
        session.add(other)
    desk.ingest(days(1, 2, 3))
    mine = backtest(desk)
    desk.ingest(days(2, close=3))
    assert listed(desk)[0]["backtests"] == [mine.id]
    assert listed(desk, other.id)[0]["backtests"] == []
    with desk.stores.postgres.transaction() as session:
        found, _ = backtests.list_backtests(session, other.id, revision=listed(desk)[0]["id"])
    assert found == []


def test_a_backtest_that_is_not_finished_or_was_tried_again_counts_once(desk: Desk) -> None:
    desk.ingest(days(1, 2, 3))
    done = backtest(desk)
    with desk.stores.postgres.transaction() as session:
        session.execute(update(Backtest).where(Backtest.id == done.id).values(result_attempt=2))
    desk.ingest(days(2, close=3))
    assert listed(desk)[0]["backtests"] == [], "the attempt that counts read something else"


def test_revisions_come_by_page(desk: Desk) -> None:
    for day in range(1, 6):
        desk.ingest(days(day))
    seen, cursor = [], None
    while True:
        with desk.stores.postgres.transaction() as session:
            page, cursor = data_reads.list_revisions(
                session, desk.owner_id, desk.symbol, cursor=cursor, limit=2
            )
        seen += [one["version"] for one in page]
        if cursor is None:
            break
    assert seen == [5, 4, 3, 2, 1]


def test_a_rebuild_of_the_catalog_notes_what_was_changed_behind_its_back(desk: Desk) -> None:
    desk.ingest(days(1, 2, 3))
    done = backtest(desk)
    instrument_catalog.rebuild(desk.stores)
    assert len(listed(desk)) == 1
    other = Change(
        symbol=f"{desk.symbol}B", first_ns=0, last_ns=0, days=days_of(np.array([0])), added=1, changed=0
    )
    with desk.stores.postgres.transaction() as session:
        series = session.scalars(select(InstrumentSeries).where(InstrumentSeries.symbol == desk.symbol)).one()
        series.rows = 2
        revisions.tell(session, done.id, BARS, "1d", 1, [other])  # of another series, being written
    instrument_catalog.rebuild(desk.stores)
    found = listed(desk)[0]
    assert (found["version"], found["rows_added"], found["ingestion_id"]) == (2, 1, None)
    assert found["backtests"] == [done.id]


def test_days_of_times_are_ranges_of_utc_days() -> None:
    moments = [datetime(2020, 1, day, hour, tzinfo=UTC) for day, hour in ((1, 23), (2, 0), (2, 5), (9, 1))]
    times = np.array([int(moment.timestamp()) * 10**9 for moment in moments])
    found = revisions.days_of(times)
    assert [(one.lower, one.upper) for one in found] == [
        (date(2020, 1, 1), date(2020, 1, 3)),
        (date(2020, 1, 9), date(2020, 1, 10)),
    ]
