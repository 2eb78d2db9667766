"""Ingestions of a real file that meet a killed QuestDB or a suspended table: done exactly, or not at all."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cift_core.errors import StoreUnavailable
from cift_core.models import Ingestion
from cift_core.services import ingestion_runs, jobs
from cift_core.services.leases import Lease
from cift_core.stores import open_stores
from deploy.native.stack import Stack
from tests.services.desk import Desk, counts

ROWS, CHUNK_BYTES = 76_499, 300_000


@pytest.fixture(params=[True, False], ids=["by files", "over HTTP"])
def gold(sample_desk: Desk, request: pytest.FixtureRequest) -> Iterator[Desk]:
    """A desk with connections of its own, and rows that go in by either way."""
    settings = sample_desk.settings
    if not request.param:
        settings = replace(settings, questdb_import_dir=None)
    stores = replace(open_stores(settings, "worker"), settings=settings)
    yield Desk(stores, sample_desk.owner_id)
    stores.close()


def attempt(
    desk: Desk,
    ingestion: Ingestion,
    *,
    at: int = 0,
    do: Callable[[], None] = lambda: None,
    chunk_bytes: int = CHUNK_BYTES,
) -> None:
    """An attempt in which something happens before chunk `at`; it does not end as done, and is released."""
    claim = desk.claim(ingestion)

    class Watched(Lease):
        chunks = 0

        def check(self) -> None:
            self.chunks += 1
            if self.chunks == at:
                do()

    with pytest.raises(StoreUnavailable):
        ingestion_runs.run(desk.stores, Watched(desk.stores.postgres, claim, 600), chunk_bytes=chunk_bytes)
    with desk.stores.postgres.transaction() as session:
        assert jobs.release(session, claim)


def assert_done_exactly(desk: Desk, ingestion: Ingestion) -> None:
    done = desk.run(ingestion, chunk_bytes=CHUNK_BYTES)
    assert counts(done) == (ROWS, ROWS, 0, 0)
    assert desk.count_of(done) == ROWS
    assert len(desk.bars(interval="1h")) == ROWS
    again = desk.ingest(path="XAUUSD-1h.csv.gz", interval="1h")
    assert counts(again) == (ROWS, 0, ROWS, 0)


def test_questdb_is_killed_in_the_middle(gold: Desk, stack: Stack) -> None:
    ingestion = gold.submit("XAUUSD-1h.csv.gz", interval="1h")

    def kill() -> None:
        stack.kill("questdb")

    attempt(gold, ingestion, at=6, do=kill)
    stack.wait_until_ready("questdb")
    assert 0 < gold.get(ingestion).rows_written < ROWS
    assert list(Path(stack.env["CIFT_QUESTDB_IMPORT_DIR"]).glob("cift-*")) == []
    assert_done_exactly(gold, ingestion)


def test_a_table_is_suspended_in_the_middle_and_before(gold: Desk, stack: Stack) -> None:
    """As on a full disk: the server can't apply the rows of the second year."""
    year = 2190 if gold.settings.questdb_import_dir else 2192
    days = [f"{year + later}-01-{day:02},1,2,1,1.5\n" for later in (0, 1) for day in range(1, 21)]
    data = ("timestamp,open,high,low,close\n" + "".join(days)).encode()
    ((name, transactions),) = gold.stores.questdb.fetch(
        "SELECT directoryName, writerTxn FROM tables() JOIN wal_tables() ON table_name = name"
        " WHERE table_name = 'bars'"
    )
    folder = stack.root / "questdb" / "db" / name
    # where the year's partition would have to go, in whichever transaction
    in_the_way = [
        folder / f"{year + 1}{end}" for end in ("", *map(".{}".format, range(2 * transactions + 500)))
    ]
    for path in in_the_way:
        path.touch()
    ingestion = gold.submit(None, upload=data)
    try:
        attempt(gold, ingestion, chunk_bytes=100)
        assert gold.get(ingestion).rows_written > 0
        attempt(gold, ingestion, chunk_bytes=100)
        assert gold.get(ingestion).rows_written == 0, "nothing is written to a table that is suspended"
    finally:
        for path in in_the_way:
            path.unlink()
        gold.stores.questdb.execute("ALTER TABLE bars RESUME WAL")
    done = gold.run(ingestion)
    assert counts(done) == (40, 40, 0, 0)
    assert gold.count_of(done) == len(gold.bars()) == 40
