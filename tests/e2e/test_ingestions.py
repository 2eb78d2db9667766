"""Bars brought in at once, twice and badly: counts exact, nothing twice, rejects readable."""

import gzip
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import select

from cift_core.models import WatchedContent, WatchedFile
from cift_core.services.watched_folders import TEMPLATE
from tests.e2e import market
from tests.e2e.client import Client, Json, ingestion
from tests.e2e.service import Service
from tests.waiting import wait_for

COUNTS = ("rows_read", "rows_written", "rows_duplicate", "rows_rejected")
HEADER = "timestamp,open,high,low,close,adjusted_close,volume\n"


def counts(job: Json) -> tuple[int, ...]:
    """The balance of a finished ingestion, which must hold."""
    read, written, duplicate, rejected = (job[name] for name in COUNTS)
    assert read == written + duplicate + rejected
    return read, written, duplicate, rejected


def stored(service: Service, symbol: str) -> tuple[int, int]:
    """How many rows QuestDB holds of a symbol, and for how many different times."""
    sql = "SELECT count(), count_distinct(timestamp) FROM bars WHERE symbol = %s"
    ((rows, times),) = service.stores.questdb.fetch(sql, (symbol,))
    return rows, times


def apple(taken: slice) -> bytes:
    """A part of the AAPL file, with its columns named as ours."""
    columns = ("date", "open", "high", "low", "close", "adj close", "volume")
    lines = [",".join(row[name] for name in columns) for row in market.rows("AAPL-1d.csv")[taken]]
    return (HEADER + "\n".join(lines) + "\n").encode()


@pytest.fixture
def symbol() -> str:
    """A symbol of this test's own."""
    return f"T{uuid4().hex[:12]}"


def ended(client: Client, job_ids: Sequence[str]) -> list[Json]:
    return [client.succeeded(job_id, "ingestions") for job_id in job_ids]


def test_the_two_impossible_bars_of_spy_are_readable_rejects(
    service: Service, alice: Client, imported: dict[str, str]
) -> None:
    job = alice.job(imported["SPY"], "ingestions")
    assert counts(job) == (2519, 2517, 0, 2)
    rejects = alice.items(job["rejects_url"].removeprefix("/api/v1"), limit=1)
    lines = (market.SAMPLE / "SPY-1d.csv").read_text().splitlines()
    assert [item["raw"] for item in rejects] == [lines[item["line"] - 1] for item in rejects]
    assert all(item["reason"] for item in rejects)
    assert stored(service, "SPY") == (2517, 2517)


def test_all_of_the_sample_arrived(service: Service, imported: dict[str, str], alice: Client) -> None:
    assert counts(alice.job(imported["AAPL"], "ingestions")) == (3270, 3270, 0, 0)
    assert counts(alice.job(imported["XAUUSD"], "ingestions")) == (76_499, 76_499, 0, 0)
    assert stored(service, "XAUUSD") == (76_499, 76_499)


def test_the_same_file_twice_at_once(service: Service, alice: Client, symbol: str) -> None:
    text = apple(slice(None))
    jobs = ended(alice, [alice.upload(text, symbol) for _ in range(2)])
    assert sorted(counts(job) for job in jobs) == [(3270, 0, 3270, 0), (3270, 3270, 0, 0)]
    assert stored(service, symbol) == (3270, 3270)


def test_the_same_file_one_after_the_other(service: Service, alice: Client, symbol: str) -> None:
    text = apple(slice(0, 500))
    results = [counts(ended(alice, [alice.upload(text, symbol)])[0]) for _ in range(2)]
    assert results == [(500, 500, 0, 0), (500, 0, 500, 0)]
    assert stored(service, symbol) == (500, 500)


def test_different_files_of_one_symbol_at_once(service: Service, alice: Client, symbol: str) -> None:
    parts = [slice(0, 2000), slice(1000, 3000), slice(2500, 3270)]
    jobs = ended(alice, [alice.upload(apple(part), symbol) for part in parts])
    assert [counts(job)[0] for job in jobs] == [2000, 2000, 770]
    assert sum(job["rows_written"] for job in jobs) == 3270
    assert sum(job["rows_duplicate"] for job in jobs) == 1500
    assert stored(service, symbol) == (3270, 3270)
    backtest = alice.succeeded(alice.submit(symbols=[symbol], prices="adjusted"))
    assert backtest["data"]["sha256"] == market.adjusted_bars("AAPL-1d.csv").sha256()


def test_a_worker_killed_while_it_ingests(service: Service, alice: Client, symbol: str) -> None:
    with service.frozen("questdb"):
        job_id = alice.upload(apple(slice(None)), symbol)
        service.ingesting(job_id)
        service.kill_children("worker")
    job = alice.succeeded(job_id, "ingestions")
    assert job["attempt"] == 2
    assert counts(job) == (3270, 3270, 0, 0)
    assert stored(service, symbol) == (3270, 3270)


def test_questdb_killed_while_it_takes_bars(service: Service, alice: Client, symbol: str) -> None:
    with service.frozen("questdb"):
        job_id = alice.upload(apple(slice(None)), symbol)
        service.ingesting(job_id)
        service.kill("questdb")
    job = alice.succeeded(job_id, "ingestions")
    assert counts(job) == (3270, 3270, 0, 0)
    assert stored(service, symbol) == (3270, 3270)


@pytest.fixture
def watched(service: Service, alice: Client, symbol: str) -> Iterator[Path]:
    """A folder of the service's data folder that is watched for Alice."""
    folder = service.stores.settings.data_dir / f"e2e-{symbol}"
    folder.mkdir()
    request = {"kind": "bars", "symbol": symbol, "interval": "1d"}
    (folder / TEMPLATE).write_text(json.dumps({"owner": "alice@example.org", "request": request}))
    yield folder
    shutil.rmtree(folder)


def test_a_file_in_a_watched_folder(service: Service, alice: Client, symbol: str, watched: Path) -> None:
    (watched / "a.csv").write_bytes(apple(slice(0, 100)))
    path = f"{watched.name}/a.csv"

    def look(model: type[WatchedFile] | type[WatchedContent]) -> WatchedFile | WatchedContent | None:
        with service.stores.postgres.transaction() as session:
            return session.scalars(select(model).where(model.path == path)).one_or_none()

    for model in (WatchedFile, WatchedContent):  # beat would look again after half a minute
        service.send("cift.maintenance.watch_folders", queue="maintenance")
        found = wait_for(lambda model=model: look(model), what=model.__name__)
    assert isinstance(found, WatchedContent)
    job = alice.succeeded(str(found.ingestion_id), "ingestions")
    assert counts(job) == (100, 100, 0, 0)
    assert stored(service, symbol) == (100, 100)


def test_a_gzip_file_that_breaks_off(alice: Client, symbol: str) -> None:
    whole = gzip.compress(apple(slice(None)))
    job = alice.ended(alice.upload(whole[: len(whole) // 2], symbol), "ingestions")
    assert job["status"] == "failed"
    assert_a_sentence(job["error"])


def test_a_file_with_a_header_and_no_record(alice: Client, symbol: str) -> None:
    job = alice.ended(alice.upload(HEADER.encode(), symbol), "ingestions")
    assert (job["status"], job["error"]["code"]) == ("failed", "no_records")


def test_a_file_that_is_no_table_is_refused_at_once(alice: Client, symbol: str) -> None:
    for text in (b"", b"\x00\xff" * 100, b"{}", b"one,two\n1,2\n"):
        answer = alice.send(
            "POST",
            "/api/v1/ingestions",
            files={
                "file": ("bars.csv", text),
                "request": (None, json.dumps(ingestion(symbol))),
            },
        )
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"]


def test_a_path_outside_the_data_folder_is_refused(alice: Client, symbol: str) -> None:
    for path in ("../README.md", "/etc/passwd", "sample/none.csv"):
        answer = alice.send("POST", "/api/v1/ingestions", json=ingestion(symbol, path))
        assert answer.status_code == 422, answer.text
        assert [error["pointer"] for error in answer.json()["errors"]] == ["/source/path"]


def assert_a_sentence(error: Json) -> None:
    assert error["code"] != "internal_error"
    assert len(error["detail"].split()) > 4
    assert "Traceback" not in error["detail"]
