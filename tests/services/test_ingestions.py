"""Bar files from the request to the rows in QuestDB, on the real servers."""

import contextlib
import gzip
import io
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st
from sqlalchemy import func, select, text, update

from cift_core.errors import InvalidInput, JobCancelled, LeaseLost, NotFound, StoreUnavailable
from cift_core.models import Ingestion, IngestionReject, JobStatus
from cift_core.services import ingestion_runs, ingestions, jobs, rejects
from cift_core.services.leases import Lease
from cift_core.services.market_kinds import BARS
from cift_core.services.market_locks import one_writer
from cift_core.stores import open_stores
from cift_core.stores.files import store_upload
from deploy.native.stack import Stack
from tests.services.desk import Desk, Row, counts

SAMPLE = Path(__file__).resolve().parents[2] / "data" / "sample"
HEADER = "timestamp,open,high,low,close,volume\n"


def day(number: int, close: float = 1.5, volume: str = "10") -> str:
    return f"2020-01-{number:02d},1,2,1,{close},{volume}\n"


@pytest.mark.parametrize("symbol", ["AAPL", "IBM", "MSFT"])
def test_the_daily_samples_go_in_whole_without_a_mapping(sample_desk: Desk, symbol: str) -> None:
    done = sample_desk.ingest(path=f"{symbol}-1d.csv")
    assert counts(done) == (3270, 3270, 0, 0)
    assert done.first_timestamp == datetime(2000, 3, 1, tzinfo=UTC)
    assert done.last_timestamp == datetime(2013, 3, 1, tzinfo=UTC)
    assert done.status == JobStatus.SUCCEEDED
    first = sample_desk.bars()[0]
    if symbol == "AAPL":
        assert first == (datetime(2000, 3, 1), 118.56, 132.06, 118.5, 130.31, 38478000.0, 31.68)  # noqa: DTZ001


def test_the_two_impossible_spy_bars_are_readable_rejects(sample_desk: Desk) -> None:
    done = sample_desk.ingest(path="SPY-1d.csv")
    assert counts(done) == (2519, 2517, 0, 2)
    assert sample_desk.rejects(done) == [
        (
            1808,
            "open 209.419998 lies outside low 209.850006 .. high 210.800003",
            "2015-03-05,209.419998,210.800003,209.850006,210.460007,198.019653,76873000",
        ),
        (
            1825,
            "open 205.740005 lies outside low 206.960007 .. high 208.610001",
            "2015-03-30,205.740005,208.610001,206.960007,208.250000,196.814926,96180400",
        ),
    ]


def test_hourly_gold_goes_in_whole_its_other_columns_ignored(sample_desk: Desk) -> None:
    done = sample_desk.ingest(path="XAUUSD-1h.csv.gz", interval="1h", options={"chunk_bytes": 1 << 20})
    assert counts(done) == (76499, 76499, 0, 0)
    assert done.request["source"]["format"] == "csv.gz"
    assert np.isnan([row[5:] for row in map(_floats, sample_desk.bars(interval="1h"))]).all()


def _floats(row: Row) -> list[float]:
    return [0.0, *(float("nan") if value is None else value for value in row[1:])]


def test_a_replay_writes_nothing(desk: Desk) -> None:
    text = (
        "Date,Open,High,Low,Close,Volume\n" + day(1) + day(2, volume="") + day(3) + "2020-01-04,5,1,1,1,1\n"
    )
    first = desk.ingest(text)
    assert counts(first) == (4, 3, 0, 1)
    stored = desk.bars()
    again = desk.ingest(text)
    assert counts(again) == (4, 0, 3, 1)
    assert (again.first_timestamp, again.last_timestamp) == (first.first_timestamp, first.last_timestamp)
    assert desk.bars() == stored
    assert desk.count_of(first) == 3


def test_a_correction_is_seen_as_one(desk: Desk) -> None:
    first = desk.ingest(HEADER + day(1) + day(2) + day(3))
    second = desk.ingest(HEADER + day(1) + day(2, close=1.25) + day(3, volume="") + day(4))
    assert counts(second) == (4, 3, 1, 0)
    assert [(row[4], row[5]) for row in desk.bars()] == [(1.5, 10), (1.25, 10), (1.5, None), (1.5, 10)]
    assert (desk.count_of(first), desk.count_of(second)) == (1, 3)


def test_symbols_and_intervals_are_kept_apart(desk: Desk) -> None:
    text = HEADER + day(1) + day(2)
    assert counts(desk.ingest(text)) == (2, 2, 0, 0)
    assert counts(desk.ingest(text, interval="1w")) == (2, 2, 0, 0)
    assert counts(desk.ingest(text, symbol=desk.symbol + "B")) == (2, 2, 0, 0)


@pytest.mark.parametrize("chunk_bytes", [1, 60, 10_000])
def test_records_that_meet_again_in_the_file(desk: Desk, chunk_bytes: int) -> None:
    """The outcome is the same wherever the blocks end."""
    conflict = day(2, close=1.25)
    text = HEADER + day(3) + day(2) + day(2) + conflict + day(1) + day(3) + conflict + conflict + day(4)
    options = {"chunk_bytes": chunk_bytes}
    done = desk.ingest(text, options=options)
    assert counts(done) == (9, 4, 2, 3)
    assert [line for line, _, _ in desk.rejects(done)] == [5, 8, 9]
    assert desk.rejects(done)[0][1:] == (ingestion_runs.conflict_of(BARS), conflict.strip())
    assert [row[4] for row in desk.bars()] == [1.5] * 4
    replay = desk.ingest(text, options=options)
    assert counts(replay) == (9, 0, 6, 3)


def test_a_file_of_many_symbols(desk: Desk) -> None:
    names = [f"{desk.symbol}{letter}" for letter in "abc"]
    rows = [f"{name},{day(number).strip()}\n" for number in range(1, 21) for name in names]
    text = "Symbol," + HEADER + "".join(rows) + f"?,{day(1)}"
    for options in ({"chunk_bytes": 100}, {}):
        done = desk.ingest(text, symbol=None, options=options)
        assert done.request["source"]["columns"]["symbol"] == "Symbol"
        assert done.rows_read == done.rows_written + done.rows_duplicate + 1 == 61
        assert [desk.bars(name)[0][0] for name in names] == [datetime(2020, 1, 1)] * 3  # noqa: DTZ001
    assert done.rows_duplicate == 60


def test_a_file_without_a_header_line(desk: Desk) -> None:
    text = "1504224000000,4718.2,4719.1,4719.1,4718.2,10.18\n1504224060000,4719.1,4721.9,4722,4719.1,4.7\n"
    source = {"header": ["timestamp", "open", "close", "high", "low", "volume"], "timestamp_unit": "ms"}
    done = desk.ingest(text, source=source, interval="1m")
    assert counts(done) == (2, 2, 0, 0)
    assert desk.bars(interval="1m")[1][1:6] == (4719.1, 4722.0, 4719.1, 4721.9, 4.7)
    assert done.first_timestamp == datetime(2017, 9, 1, tzinfo=UTC)


def test_a_mapping_a_pattern_and_a_time_zone(desk: Desk) -> None:
    text = "when,o,h,l,c,unused\n02.07.2020 09:30,1,2,1,1.5,x\n"
    columns = {"timestamp": "when", "open": "o", "high": "h", "low": "l", "close": "c"}
    source = {"columns": columns, "timestamp_unit": "%d.%m.%Y %H:%M", "timezone": "America/New_York"}
    done = desk.ingest(text, source=source, interval="30m")
    assert done.first_timestamp == datetime(2020, 7, 2, 13, 30, tzinfo=UTC)
    assert desk.bars(interval="30m")[0][5:] == (None, None)


def test_an_upload_is_read_and_then_removed(desk: Desk) -> None:
    data = gzip.compress((HEADER + day(1)).encode())
    done = desk.run(desk.submit(None, upload=data))
    assert counts(done) == (1, 1, 0, 0)
    assert done.request["source"]["format"] == "csv.gz"
    assert done.request["source"]["path"] is None
    assert done.upload_sha256 is not None
    waiting = desk.submit(None, upload=data)
    stray = store_upload(desk.settings, io.BytesIO(b"just sent"))
    with desk.stores.postgres.transaction() as session:
        assert ingestions.remove_ended_uploads(session, desk.settings) == 1
    left = {path.stem for path in desk.settings.upload_dir.iterdir()}
    assert left == {str(waiting.id), str(stray.id)}
    with pytest.raises(InvalidInput, match="see errors"):
        desk.submit(None, upload=data, interval="2d", kind="x")
    assert len(list(desk.settings.upload_dir.iterdir())) == 2


def test_rejects_are_paged_and_their_owner_s_only(desk: Desk) -> None:
    done = desk.ingest(HEADER + "x\n" * 250 + day(1))
    assert counts(done) == (251, 1, 0, 250)
    assert [line for line, _, _ in desk.rejects(done)] == list(range(2, 252))
    with desk.stores.postgres.transaction() as session:
        for call in (ingestions.get, ingestions.cancel, ingestions.list_rejects):
            with pytest.raises(NotFound):
                call(session, uuid4(), done.id)  # type: ignore[operator]
        assert ingestions.list_ingestions(session, uuid4())[0] == []
        mine, following = ingestions.list_ingestions(session, desk.owner_id, status="succeeded", limit=1)
        assert ([ingestion.id for ingestion in mine], following) == ([done.id], None)


class Killed(Exception):
    """Stands for the worker's end: nothing after it runs."""


def kill_after_block(desk: Desk, ingestion: Ingestion, block_count: int, chunk_bytes: int) -> None:
    claim = desk.claim(ingestion)

    class Dying(Lease):
        blocks = 0

        def check(self) -> None:
            self.blocks += 1
            if self.blocks > block_count:
                raise Killed

    lease = Dying(desk.stores.postgres, claim, 60)
    with pytest.raises(Killed):
        ingestion_runs.run(desk.stores, lease, chunk_bytes=chunk_bytes)
    with desk.stores.postgres.transaction() as session:
        assert jobs.release(session, claim)


def test_a_killed_attempts_rows_are_not_duplicates(desk: Desk) -> None:
    desk.ingest(HEADER + day(9))
    days = "".join(day(number) for number in range(1, 21))
    text = HEADER + "x\n" + days + day(3) + day(4, close=1.25) + "x\n"
    desk.write(text)
    ingestion = desk.submit()
    kill_after_block(desk, ingestion, block_count=5, chunk_bytes=60)
    assert 5 < desk.get(ingestion).rows_written < 15
    done = desk.run(ingestion, chunk_bytes=100)
    assert counts(done) == (24, 19, 2, 3)
    assert len(desk.bars()) == 20
    assert desk.count_of(done) == 19
    assert [line for line, _, _ in desk.rejects(done)] == [2, 24, 25]
    with desk.stores.postgres.transaction() as session:
        kept = session.scalars(select(IngestionReject.attempt).filter_by(ingestion_id=done.id)).all()
    assert set(kept) == {done.attempt}


def test_an_attempt_killed_before_its_counts_were_kept(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """All rows are in QuestDB, none is counted: the next attempt finds its own."""

    def die(*_: object) -> None:
        raise Killed

    desk.write(HEADER + "".join(day(number) for number in range(1, 21)))
    ingestion = desk.submit()
    with monkeypatch.context() as patch:
        patch.setattr(ingestion_runs, "_record", die)
        kill_after_block(desk, ingestion, block_count=1, chunk_bytes=1 << 20)
    assert desk.get(ingestion).rows_written == 0
    desk.stores.questdb.wait_visible("bars")
    assert desk.count_of(ingestion) == 20
    done = desk.run(ingestion)
    assert counts(done) == (20, 20, 0, 0)


def test_a_file_changed_between_two_attempts_never_ends_as_done(desk: Desk) -> None:
    desk.write(HEADER + day(1) + day(2) + day(3))
    ingestion = desk.submit()
    kill_after_block(desk, ingestion, block_count=2, chunk_bytes=1)
    desk.write(HEADER + day(1) + day(3))
    with pytest.raises(InvalidInput) as caught:
        desk.run(ingestion)
    assert caught.value.code == "file_changed"


def test_a_lost_lease_keeps_no_rejects(desk: Desk) -> None:
    desk.write(HEADER + "x\n")
    ingestion = desk.submit()
    claim = desk.claim(ingestion)
    with desk.stores.postgres.transaction() as session:
        jobs.release(session, claim)
    with pytest.raises(LeaseLost):
        ingestion_runs.run(desk.stores, Lease(desk.stores.postgres, claim, 60))
    assert desk.rejects(ingestion) == []


def test_two_writers_of_one_symbol_take_turns(desk: Desk) -> None:
    """Six files for one symbol at once: each row is written by exactly one of them."""
    text = HEADER + "".join(day(number) for number in range(1, 29))
    desk.write(text)
    waiting = [desk.submit() for _ in range(6)]
    done: list[Ingestion] = []
    desks = [_with_own_stores(desk) for _ in waiting]
    threads = [
        threading.Thread(target=lambda d=d, i=i: done.append(d.run(i, chunk_bytes=200)))
        for d, i in zip(desks, waiting, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    for each in desks:
        each.stores.close()
    assert len(done) == 6
    assert sorted(ingestion.rows_written for ingestion in done) == [0, 0, 0, 0, 0, 28]
    assert sum(desk.count_of(ingestion) for ingestion in done) == 28


def _with_own_stores(desk: Desk) -> Desk:
    opened = replace(open_stores(desk.settings, "worker"), settings=desk.settings)
    other = Desk(opened, desk.owner_id)
    other.symbol = desk.symbol
    return other


def submit_many_symbols(desk: Desk) -> Ingestion:
    desk.write("symbol," + HEADER + f"{desk.symbol},{day(1)}", "many.csv")
    return desk.submit("many.csv", symbol=None)


def test_a_writer_waits_for_the_lock_and_heeds_a_cancel(desk: Desk) -> None:
    desk.write(HEADER + day(1))
    with one_writer(desk.stores.postgres, BARS, desk.symbol, lambda: None):
        other = desk.submit(symbol=desk.symbol + "B")
        assert counts(desk.run(other)) == (1, 1, 0, 0)  # another symbol need not wait
        for ingestion in (desk.submit(), submit_many_symbols(desk)):
            claim = desk.claim(ingestion)
            with Lease(desk.stores.postgres, claim, 1) as lease:
                with desk.stores.postgres.transaction() as session:
                    ingestions.cancel(session, desk.owner_id, ingestion.id)
                with pytest.raises(JobCancelled):
                    ingestion_runs.run(desk.stores, lease)
            assert desk.count_of(ingestion) == 0
    assert counts(desk.ingest()) == (1, 1, 0, 0)


def test_a_file_of_many_symbols_excludes_every_writer(desk: Desk) -> None:
    with one_writer(desk.stores.postgres, BARS, None, lambda: None):

        def give_up() -> None:
            raise Killed

        with pytest.raises(Killed), one_writer(desk.stores.postgres, BARS, desk.symbol, give_up):
            pass
    with one_writer(desk.stores.postgres, BARS, desk.symbol, give_up):
        pass


def test_a_lost_lock_is_noticed_before_the_next_write(desk: Desk) -> None:
    with (
        contextlib.suppress(StoreUnavailable),
        one_writer(desk.stores.postgres, BARS, desk.symbol, _wait) as check,
    ):
        check()
        end_lock_holders(desk)
        with pytest.raises(StoreUnavailable):
            check()


def _wait() -> None:
    """Wait on."""


def end_lock_holders(desk: Desk) -> None:
    with desk.stores.postgres.engine.connect() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
        )


@pytest.mark.parametrize(
    ("data", "name", "code", "part"),
    [
        (b"", "bars.csv", "empty_file", "is empty"),
        (gzip.compress(b"", mtime=0), "bars.csv.gz", "empty_file", "is empty"),
        (b"a,b\0,c\n", "bars.csv", "not_text", "NUL bytes"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "bars.csv", "not_text", "UTF-8"),
        ((HEADER + day(1)).encode("utf-16"), "bars.csv", "not_text", "UTF-8"),
        (b"\xff\xfe\n1\n", "bars.csv", "not_text", "UTF-8"),
        ((HEADER + day(1)).replace("\n", "\r").encode(), "bars.csv", "not_text", "CR alone"),
        (b"x" * 70_000, "bars.csv", "line_too_long", "Line 1"),
        (gzip.compress((HEADER + day(1)).encode(), mtime=0)[:-9], "bars.csv.gz", "gzip_truncated", "cut off"),
        (b"\x1f\x8b" + b"garbage" * 9, "bars.csv.gz", "gzip_corrupt", "damaged"),
        ((HEADER + day(1)).replace(",", ";").encode(), "bars.csv", "invalid_ingestion", "';'"),
    ],
)
def test_files_refused_at_submit(desk: Desk, data: bytes, name: str, code: str, part: str) -> None:
    desk.write(data, name)
    for how in ({"path": name}, {"path": None, "upload": data}):
        with pytest.raises(InvalidInput) as caught:
            desk.submit(**how)
        assert caught.value.code == code
        assert part in caught.value.message + str(caught.value.errors)
        assert caught.value.errors


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (HEADER.encode(), "no_records"),
        ((HEADER + day(1) + "x" * 70_000 + "\n").encode(), "line_too_long"),
        (
            gzip.compress(
                (HEADER + "".join(map(day, range(1, 29)))).encode()
                + os.urandom(200_000).hex(",").encode().replace(b",", b"\n")
            )[:-2000],
            "gzip_truncated",
        ),
        (gzip.compress(HEADER.encode() + day(1).encode() * 1_000_000, mtime=0), "compression_bomb"),
    ],
)
def test_files_that_fail_on_the_way(desk: Desk, data: bytes, code: str) -> None:
    ingestion = desk.submit(None, upload=data)
    with pytest.raises(InvalidInput) as caught:
        desk.run(ingestion)
    assert caught.value.code == code


GOOD, BAD = "2020-01-{:02},1,2,1,2,5\n", "2020-02-{:02},1,2,1,x,5\n"


def with_bad_rows(bad: int, good: int) -> str:
    lines = [BAD.format(day) for day in range(1, bad + 1)] + [GOOD.format(day) for day in range(1, good + 1)]
    return HEADER + "".join(lines)


@pytest.mark.parametrize("chunk_bytes", [64, 2**20])
def test_above_the_share_of_rejects_nothing_is_written(desk: Desk, chunk_bytes: int) -> None:
    desk.write(with_bad_rows(bad=3, good=7))
    ingestion = desk.submit(max_reject_share=0.29)
    with pytest.raises(InvalidInput) as caught:
        desk.run(ingestion, chunk_bytes=chunk_bytes)
    assert caught.value.code == "rejects_above_share"
    assert caught.value.message.startswith(
        "3 of 10 records (30.00%) were refused, max_reject_share allows 29.00%: nothing was written."
    )
    assert desk.count_of(ingestion) == 0
    assert [place for place, _, _ in desk.rejects(ingestion)] == [2, 3, 4]


@pytest.mark.parametrize("chunk_bytes", [64, 2**20])
def test_up_to_the_share_of_rejects_the_rest_goes_in(desk: Desk, chunk_bytes: int) -> None:
    desk.write(with_bad_rows(bad=3, good=7))
    ingestion = desk.run(desk.submit(max_reject_share=0.3), chunk_bytes=chunk_bytes)
    assert (ingestion.rows_read, ingestion.rows_written, ingestion.rows_rejected) == (10, 7, 3)
    assert desk.count_of(ingestion) == 7
    assert [place for place, _, _ in desk.rejects(ingestion)] == [2, 3, 4], "once, though read twice"


@pytest.mark.parametrize("share", [None, 1])
def test_a_file_of_rejects_alone_fails(desk: Desk, share: float | None) -> None:
    desk.write(with_bad_rows(bad=4, good=0))
    ingestion = desk.submit(max_reject_share=share)
    with pytest.raises(InvalidInput, match=r"4 of 4 records \(100\.00%\) were refused, none could be taken"):
        desk.run(ingestion)
    assert len(desk.rejects(ingestion)) == 4


@pytest.mark.parametrize("share", [-0.1, 1.1, "0.5", True, float("nan")])
def test_a_share_is_a_number_from_0_to_1(desk: Desk, share: object) -> None:
    desk.write(with_bad_rows(bad=0, good=1))
    with pytest.raises(InvalidInput) as caught:
        desk.submit(max_reject_share=share)
    assert [error.pointer for error in caught.value.errors] == ["/max_reject_share"]


def test_too_many_rejects_end_the_job(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejects, "MAX_REJECTS", 10)
    desk.write(HEADER + day(1) + "x\n" * 11)
    ingestion = desk.submit()
    with pytest.raises(InvalidInput, match="line 13: 1 field, expected 6") as caught:
        desk.run(ingestion)
    assert caught.value.code == "too_many_rejects"
    assert desk.rejects(ingestion) == []


def errors_of(desk: Desk, request: Any) -> dict[str, str]:
    with pytest.raises(InvalidInput) as caught, desk.stores.postgres.transaction() as session:
        ingestions.submit(session, desk.settings, desk.owner_id, request)
    return {error.pointer: error.detail for error in caught.value.errors}


def test_every_wrong_field_is_told_at_once(desk: Desk) -> None:
    desk.write("Date,Open,High,Low,Close\n")
    found = errors_of(
        desk,
        {
            "source": {
                "type": "file",
                "path": "bars.csv",
                "fromat": "csv",
                "format": "xml",
                "columns": {
                    "timestamp": "Date",
                    "open": "Opn",
                    "high": "High",
                    "low": "High",
                    "close": 3,
                    "price": "x",
                },
                "timestamp_unit": "minutes",
                "timezone": "Mars/Base",
                "a/b": 1,
            },
            "kind": "bars",
            "symbol": "A B",
            "interval": "2d",
            "extra": 1,
        },
    )
    assert {pointer: detail[:45] for pointer, detail in found.items()} == {
        "/extra": "is not a field here; these are: source, kind,",
        "/source/fromat": 'is not a field here (did you mean "format"?)',
        "/source/a~1b": "is not a field here; these are: type, path, f",
        "/source/format": "'xml' is none of: csv, csv.gz, csv.zip, parqu",
        "/source/columns/price": "is not a field here; these are: timestamp, op",
        "/source/columns/close": "must be a string that is not empty",
        "/source/columns/low": "'High' is mapped already",
        "/source/columns/open": 'the file has no column "Opn" (did you mean "O',
        "/source/timestamp_unit": "must be s, ms, us, ns, iso or a strptime patt",
        "/source/timezone": "must be an IANA time zone such as 'America/Ne",
        "/symbol": "'A B' does not match [A-Za-z0-9][A-Za-z0-9._/",
        "/interval": "'2d' is none of: 1s, 5s, 15s, 1m, 5m, 15m, 30",
    }


@pytest.mark.parametrize(
    "request_", [None, [], "x", 3, {}, {"source": []}, {"source": {"columns": [], "header": {}}}]
)
def test_requests_of_any_shape_are_refused(desk: Desk, request_: Any) -> None:
    assert errors_of(desk, request_)


def test_what_no_source_is_and_what_a_kind_does_not_have(desk: Desk) -> None:
    source = {"type": "kafca", "path": "a.parquet"}
    assert errors_of(desk, {"source": source, "kind": "ticks", "symbol": "A", "interval": "1d"}) == {
        "/source/type": "'kafca' is none of: file, kafka (did you mean \"kafka\"?)",
        "/source/path": "there is no file 'a.parquet' below the data folder",
        "/interval": "leave it out: ticks have none",
    }
    found = errors_of(desk, {"source": source | {"columns": {"x": "y"}}, "kind": "candles", "symbol": "A"})
    assert found["/kind"] == "'candles' is none of: bars, ticks, quotes"


@pytest.mark.parametrize(
    ("text", "changes", "pointer", "part"),
    [
        ("Date,Open,High,Low\n", {}, "/source/columns/close", "not found among"),
        ("Date,Time,Open,High,Low,Close\n", {}, "/source/columns/timestamp", "could each be it"),
        ("Symbol," + HEADER, {}, "/symbol", "leave symbol out"),
        (HEADER, {"symbol": None}, "/symbol", "is missing"),
        ("1504224000000,1,2,3,4,5\n", {}, "/source/header", "is a record, not a header"),
        (
            "2020-01-02,1,2,3,4,5\n",
            {"source": {"header": list("abcde")}},
            "/source/header",
            "names 5 columns",
        ),
        (HEADER, {"source": {"header": ["a", "a", "b", "c", "d", "e"]}}, "/source/header", "more than once"),
        (HEADER, {"source": {"header": [1]}}, "/source/header", "list of column names"),
        (HEADER, {"source": {"format": "csv.gz"}}, "/source/format", "but the file is csv"),
        (HEADER, {"source": {"columns": {}}}, "/source/columns/low", "is missing"),
        (
            HEADER,
            {"source": {"timestamp_unit": "ms", "timezone": "Europe/Berlin"}},
            "/source/timezone",
            "leave it out",
        ),
        (HEADER, {"source": {"path": "../bars.csv"}}, "/source/path", "'..'"),
        (HEADER, {"source": {"path": None}}, "/source/path", "is missing"),
        (
            "time,time,open,high,low,close\n",
            {
                "source": {
                    "columns": {
                        "timestamp": "time",
                        "open": "open",
                        "high": "high",
                        "low": "low",
                        "close": "close",
                    }
                }
            },
            "/source/columns/timestamp",
            "2 columns",
        ),
    ],
)
def test_requests_that_do_not_fit_the_file(
    desk: Desk, text: str, changes: dict[str, Any], pointer: str, part: str
) -> None:
    desk.write(text)
    with pytest.raises(InvalidInput) as caught:
        desk.submit(**changes)
    assert part in {error.pointer: error.detail for error in caught.value.errors}[pointer]


def test_a_path_beside_an_upload_is_refused(desk: Desk) -> None:
    with pytest.raises(InvalidInput) as caught:
        desk.submit("bars.csv", upload=HEADER.encode())
    assert [error.pointer for error in caught.value.errors] == ["/source/path"]


def test_the_stored_request_has_every_default(desk: Desk) -> None:
    desk.write(HEADER + day(1))
    assert desk.submit().request == {
        "source": {
            "type": "file",
            "path": "bars.csv",
            "format": "csv",
            "columns": {name: name for name in HEADER.strip().split(",")},
            "header": None,
            "timestamp_unit": "iso",
            "timezone": "UTC",
        },
        "kind": "bars",
        "symbol": desk.symbol,
        "interval": "1d",
        "crossed_quotes": None,
        "max_reject_share": None,
    }


def test_questdb_down_is_no_end_of_the_job(
    desk: Desk, stack: Stack, stop_server: Callable[[str], None]
) -> None:
    desk.write(HEADER + day(1))
    ingestion = desk.submit()
    before, after = _with_own_stores(desk), _with_own_stores(desk)
    stop_server("questdb")
    with pytest.raises(StoreUnavailable):
        before.run(ingestion)
    stack.start("questdb")
    with desk.stores.postgres.transaction() as session:
        session.execute(
            update(Ingestion)
            .where(Ingestion.id == ingestion.id)
            .values(lease_expires_at=func.now() - text("interval '1 s'"))
        )
    assert counts(after.run(ingestion)) == (1, 1, 0, 0)
    for each in (before, after):
        each.stores.close()


@given(st.binary(max_size=300))
@settings_of_hypothesis(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_end_balanced(desk: Desk, data: bytes) -> None:
    done = desk.run(desk.submit(None, upload=HEADER.encode() + day(1).encode() + data))
    assert done.rows_read == done.rows_written + done.rows_duplicate + done.rows_rejected
    assert len(desk.rejects(done)) == done.rows_rejected
