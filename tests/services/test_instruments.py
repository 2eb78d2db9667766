"""The catalog of instruments and the last price: true after every ingestion, however it ended."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import delete, select

from cift_core.errors import InvalidInput, JobCancelled, NotFound
from cift_core.models import Ingestion, InstrumentSeries
from cift_core.services import ingestion_runs, instrument_catalog, instruments, jobs
from cift_core.services.hot_data import HotData
from cift_core.services.leases import Lease
from cift_core.services.market_kinds import TICKS
from cift_core.services.market_locks import one_writer
from cift_core.stores import open_stores
from tests.services.desk import Desk, counts

BARS = "time,open,high,low,close\n"
TRADES = "time,id,price\n"


@pytest.fixture
def hot(desk: Desk) -> HotData:
    return HotData(desk.stores.cache)


class Reader:
    """Reads the catalog as the web process does, always through the same cache."""

    def __init__(self, desk: Desk, hot: HotData) -> None:
        self.desk = desk
        self.hot = hot

    def listed(self, **query: Any) -> list[Any]:
        with self.desk.stores.postgres.transaction() as session:
            found, _ = instruments.list_instruments(
                session, self.hot, **{"prefix": self.desk.symbol, "limit": 500} | query
            )
        return found

    def rows(self) -> dict[str, int]:
        return {item["symbol"].removeprefix(self.desk.symbol): item["rows"] for item in self.listed()}

    def price(self) -> Any:
        with self.desk.stores.postgres.transaction() as session:
            series = instruments.last_price(session, self.desk.symbol)
        return instruments.read_price(self.desk.stores.questdb, self.hot, series)


@pytest.fixture
def reader(desk: Desk, hot: HotData) -> Reader:
    return Reader(desk, hot)


def trades(desk: Desk, text: str, **request: Any) -> Ingestion:
    source = {"timestamp_unit": "s"}
    return desk.run(desk.submit(None, upload=text.encode(), kind="ticks", source=source, **request))


def series(desk: Desk) -> list[InstrumentSeries]:
    with desk.stores.postgres.transaction() as session:
        query = select(InstrumentSeries).where(InstrumentSeries.symbol.startswith(desk.symbol))
        return list(session.scalars(query.order_by(InstrumentSeries.symbol, InstrumentSeries.kind)))


def test_what_there_is_of_a_symbol(desk: Desk, reader: Reader) -> None:
    desk.ingest(BARS + "2020-01-01,1,2,1,2\n2020-01-02,1,2,1,2\n")
    desk.ingest(BARS + "2020-01-03T10:00Z,1,2,1,2\n", interval="1m")
    trades(desk, TRADES + "1577836800.000000001,1,5\n")
    (found,) = reader.listed()
    assert found == {
        "symbol": desk.symbol,
        "kinds": ["bars", "ticks"],
        "intervals": ["1m", "1d"],
        "first": "2020-01-01T00:00:00Z",
        "last": "2020-01-03T10:00:00Z",
        "rows": 4,
        "series": [
            {
                "kind": "bars",
                "interval": "1m",
                "first": "2020-01-03T10:00:00Z",
                "last": "2020-01-03T10:00:00Z",
                "rows": 1,
            },
            {
                "kind": "bars",
                "interval": "1d",
                "first": "2020-01-01T00:00:00Z",
                "last": "2020-01-02T00:00:00Z",
                "rows": 2,
            },
            {
                "kind": "ticks",
                "interval": None,
                "first": "2020-01-01T00:00:00.000000001Z",
                "last": "2020-01-01T00:00:00.000000001Z",
                "rows": 1,
            },
        ],
    }
    with desk.stores.postgres.transaction() as session:
        assert instruments.get_instrument(session, desk.symbol) == found
        for nothing in (desk.symbol + "x", "a b", "\0", ""):
            with pytest.raises(NotFound):
                instruments.get_instrument(session, nothing)


def test_a_list_is_never_stale_after_an_ingestion(desk: Desk, reader: Reader) -> None:
    """Read, and so kept, before and after each."""
    assert reader.rows() == {}
    text = TRADES + "1,1,5\n2,2,6\n"
    for data, rows, price in (
        (text, 2, 6.0),
        (text, 2, 6.0),  # a replay
        (TRADES + "2,2,7\n", 2, 7.0),  # a correction, of the last price too
        (TRADES + "3,3,8\n", 3, 8.0),
        (TRADES + "0,9,9\n", 4, 8.0),
    ):
        trades(desk, data)
        assert reader.rows() == {"": rows}
        assert reader.rows() == {"": rows}
        assert [reader.price()["price"], reader.price()["price"]] == [price, price]


def test_a_reader_that_overlaps_with_an_ingestion_leaves_nothing_stale(desk: Desk, reader: Reader) -> None:
    """It reads what is not finished yet, and fills the cache after the ingestion finished."""
    trades(desk, TRADES + "1,1,5\n")
    kept: list[tuple[str, Any]] = []

    class Slow(HotData):
        def put(self, key: str, value: Any) -> None:
            kept.append((key, value))

    slow = Reader(desk, Slow(desk.stores.cache))
    assert (slow.rows(), slow.price()["price"]) == ({"": 1}, 5.0)
    trades(desk, TRADES + "2,2,6\n")
    for key, value in kept:
        reader.hot.put(key, value)
    assert len(kept) == 2
    assert (reader.rows(), reader.price()["price"]) == ({"": 2}, 6.0)


def test_the_cache_is_used_and_expires(desk: Desk, reader: Reader) -> None:
    trades(desk, TRADES + "1,1,5\n")
    assert reader.price()["price"] == 5.0
    cache = desk.stores.cache
    key = f"{desk.symbol}:price"
    ttl_s = cache.ttl_s(key)
    assert ttl_s is not None
    assert 0 < ttl_s <= 300
    kept = cache.get(key)
    assert kept is not None
    cache.set(key, kept.replace(b"5.0", b"5.5"), ttl_s=60)
    assert reader.price()["price"] == 5.5, "asked of QuestDB again"


def test_without_redis_everything_is_answered(desk: Desk, stop_server: Callable[[str], None]) -> None:
    trades(desk, TRADES + "1,1,5\n")
    opened = open_stores(desk.settings, "worker")
    stop_server("redis-cache")
    alone = Reader(Desk(opened, desk.owner_id), HotData(opened.cache))
    alone.desk.symbol = desk.symbol
    assert (alone.rows(), alone.price()["price"]) == ({"": 1}, 5.0)
    opened.close()


def test_pages_and_filters(desk: Desk, reader: Reader) -> None:
    text = "symbol,time,price\n" + "".join(f"{desk.symbol}{letter},1,5\n" for letter in "dbac")
    trades(desk, text, symbol=None)
    desk.ingest(BARS + "2020-01-01,1,2,1,2\n", symbol=f"{desk.symbol}b", interval="1h")
    assert reader.rows() == {"a": 1, "b": 2, "c": 1, "d": 1}
    assert [item["symbol"][-1] for item in reader.listed(kind="bars")] == ["b"]
    assert [item["symbol"][-1] for item in reader.listed(interval="1h")] == ["b"]
    assert reader.listed(interval="1m") == reader.listed(kind="quotes") == []
    assert reader.listed(prefix=desk.symbol + "%") == []
    seen, cursor = [], None
    while True:
        with desk.stores.postgres.transaction() as session:
            page, cursor = instruments.list_instruments(
                session, reader.hot, prefix=desk.symbol, cursor=cursor, limit=3
            )
        seen += [item["symbol"][-1] for item in page]
        if cursor is None:
            break
    assert seen == list("abcd")


def test_the_last_price_is_of_what_goes_on_longest(desk: Desk, reader: Reader) -> None:
    quotes = b"time,bid,ask\n9000000000,1,2\n"
    desk.run(desk.submit(None, upload=quotes, kind="quotes", source={"timestamp_unit": "s"}))
    assert reader.price() == {
        "symbol": desk.symbol,
        "price": 1.5,
        "time": "2255-03-14T16:00:00Z",
        "kind": "quotes",
        "interval": None,
    }
    desk.ingest(BARS + "2020-01-01,1,3,1,3\n")
    assert (reader.price()["price"], reader.price()["interval"]) == (3.0, "1d")
    trades(desk, TRADES + "1577923199,1,4\n")
    assert reader.price()["kind"] == "bars", "the day ends a second later"
    trades(desk, TRADES + "1577923200,2,5\n1577923200,4,7\n1577923200,3,6\n")
    assert (reader.price()["price"], reader.price()["kind"]) == (7.0, "ticks")


class Killed(Exception):
    """Stands for the worker's end: nothing after it runs."""


def run_until(desk: Desk, error: type[Exception]) -> None:
    """An ingestion that ends so after it has written two chunks."""
    text = TRADES + "".join(f"{n},{n},5\n" for n in range(1, 9))
    ingestion = desk.submit(None, upload=text.encode(), kind="ticks", source={"timestamp_unit": "s"})
    claim = desk.claim(ingestion)

    class Dying(Lease):
        chunks = 0

        def check(self) -> None:
            self.chunks += 1
            if self.chunks > 3:
                raise error("x", "y")

    with pytest.raises(error):
        ingestion_runs.run(desk.stores, Dying(desk.stores.postgres, claim, 60), chunk_bytes=12)
    with desk.stores.postgres.transaction() as session:
        jobs.release(session, claim)


@pytest.mark.parametrize("error", [InvalidInput, JobCancelled])
def test_what_a_failed_or_cancelled_ingestion_wrote_is_counted(
    desk: Desk, reader: Reader, error: type[Exception]
) -> None:
    run_until(desk, error)
    assert reader.rows() == {"": len(desk.ticks())} != {"": 0}
    assert [one.settled for one in series(desk)] == [True]


def test_what_a_killed_ingestion_left_is_settled_once_nobody_writes(desk: Desk, reader: Reader) -> None:
    run_until(desk, Killed)
    assert reader.rows() == {}
    assert [one.settled for one in series(desk)] == [False]
    with one_writer(desk.stores.postgres, TICKS, desk.symbol, lambda: None):
        instrument_catalog.settle_left(desk.stores)
    assert [one.settled for one in series(desk)] == [False], "somebody writes it"
    assert instrument_catalog.settle_left(desk.stores) >= 1
    assert reader.rows() == {"": len(desk.ticks())} != {"": 0}


def test_the_catalog_can_be_rebuilt(desk: Desk, reader: Reader) -> None:
    desk.ingest(BARS + "2020-01-01,1,2,1,2\n")
    assert counts(trades(desk, TRADES + "1,1,5\n")) == (1, 1, 0, 0)
    before = reader.listed()
    with desk.stores.postgres.transaction() as session:
        session.execute(delete(InstrumentSeries).where(InstrumentSeries.kind == "ticks"))
        session.add(
            InstrumentSeries(
                symbol=f"{desk.symbol}z", kind="bars", interval="1d", rows=1, first_ns=1, last_ns=1
            )
        )
    assert instrument_catalog.rebuild(desk.stores) >= 2
    assert reader.listed() == before
