"""The QuestDB pool and its writer, on a real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import numpy as np
import pandas as pd
import psycopg
import pytest
from questdb import QuestDBError

from cift_core.errors import StoreUnavailable
from cift_core.settings import Settings
from cift_core.stores import Stores
from cift_core.stores.questdb import QuestDBPool, Rows
from cift_core.stores.questdb_tables import TABLES
from deploy.native.stack import Stack
from tests.waiting import Deadline, wait_for
from tests.wire import Wire

START = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def questdb(stores: Stores) -> QuestDBPool:
    return stores.questdb


@pytest.fixture
def pool(settings: Settings) -> Iterator[QuestDBPool]:
    """A pool of this test's own, with the figures of the web process."""
    with closing(QuestDBPool(settings.questdb_pg_url, settings.questdb_http_url)) as pool:
        yield pool


@pytest.fixture
def table(questdb: QuestDBPool) -> Iterator[str]:
    """A table of this test's own."""
    with table_of(questdb, "symbol SYMBOL, price DOUBLE, trades LONG, job_id UUID, fine BOOLEAN") as name:
        yield name


@contextmanager
def table_of(questdb: QuestDBPool, columns: str, *, dedup: str = "") -> Iterator[str]:
    name = f"test_{uuid4().hex}"
    keys = f"DEDUP UPSERT KEYS({dedup})" if dedup else ""
    questdb.execute(
        f"CREATE TABLE {name} (timestamp TIMESTAMP, {columns})"
        f" TIMESTAMP(timestamp) PARTITION BY DAY WAL {keys}"
    )
    yield name
    questdb.execute(f"DROP TABLE {name}")


def frame(n: int, **columns: object) -> pd.DataFrame:
    times = pd.date_range(START, periods=n, freq="s", unit="us")
    return pd.DataFrame({"timestamp": times, "symbol": "AAPL", "price": np.arange(n, dtype=float), **columns})


def write(questdb: QuestDBPool, table: str, rows: pd.DataFrame) -> None:
    questdb.write(Rows(table, rows, at="timestamp", symbols=("symbol",)))
    questdb.wait_visible(table)


def count(questdb: QuestDBPool, table: str) -> int:
    return int(questdb.fetch(f"SELECT count() FROM {table}")[0][0])  # noqa: S608  ours


def test_creating_the_tables_again_changes_nothing(questdb: QuestDBPool) -> None:
    def definitions() -> list[object]:
        return [questdb.fetch(f"SHOW CREATE TABLE {name}") for name in TABLES]

    before = definitions()
    questdb.create_tables()
    assert definitions() == before


def test_every_table_is_written_ahead_and_knows_its_double_rows(questdb: QuestDBPool) -> None:
    found = questdb.fetch("SELECT table_name, walEnabled, dedup FROM tables()")
    assert {name: (wal, dedup) for name, wal, dedup in found if name in TABLES} == dict.fromkeys(
        TABLES, (True, True)
    )


def test_written_rows_are_read_back_as_they_were(questdb: QuestDBPool, table: str) -> None:
    job_id = uuid4()
    rows = frame(3, trades=[0, -1, 2**62], job_id=str(job_id), fine=[True, False, True])
    rows.loc[1, "price"] = np.nan
    rows.loc[2, "price"] = 0.1 + 0.2
    write(questdb, table, rows)
    naive = START.replace(tzinfo=None)
    assert questdb.fetch(f"SELECT * FROM {table}") == [  # noqa: S608  ours
        (naive, "AAPL", 0.0, 0, job_id, True),
        (naive + timedelta(seconds=1), "AAPL", None, -1, job_id, False),
        (naive + timedelta(seconds=2), "AAPL", 0.1 + 0.2, 2**62, job_id, True),
    ]


def test_rows_of_one_moment(questdb: QuestDBPool, table: str) -> None:
    moment = datetime(2024, 3, 1, 12, 0, 0, 123_456, tzinfo=UTC)
    questdb.write(Rows(table, pd.DataFrame({"price": [1.0, 2.0]}), at=moment))
    questdb.wait_visible(table)
    assert questdb.fetch(f"SELECT DISTINCT timestamp FROM {table}") == [(moment.replace(tzinfo=None),)]  # noqa: S608


@pytest.mark.parametrize(
    "symbol",
    ["' OR '1'='1", "A'; DROP TABLE bars; --", "%s", "null", "", "BRK.B/x_y-z", "日本😀", "a\\b\n,c=d"],
)
def test_a_bound_value_stays_a_value(questdb: QuestDBPool, table: str, symbol: str) -> None:
    write(questdb, table, frame(2, symbol=["AAPL", symbol]))
    found = questdb.fetch(f"SELECT symbol, price FROM {table} WHERE symbol = %s", (symbol,))  # noqa: S608
    assert found == [(symbol, 1.0)]
    assert questdb.fetch("SELECT count() FROM tables() WHERE table_name = 'bars'") == [(1,)]


@pytest.mark.parametrize("bound", [-1, 0, 1, 40_000, 2**31, 2**62, -(2**62)])
def test_whole_numbers_of_every_width_compare_with_long(questdb: QuestDBPool, table: str, bound: int) -> None:
    values = [bound - 1, bound, bound + 1]
    write(questdb, table, frame(3, trades=values))
    found = questdb.fetch(f"SELECT trades FROM {table} WHERE trades > %s", (bound,))  # noqa: S608
    assert found == [(bound + 1,)]


def test_values_of_other_types_are_bound(questdb: QuestDBPool, table: str) -> None:
    job_id = uuid4()
    write(questdb, table, frame(3, job_id=[str(uuid4()), str(job_id), None]))
    moment = (START + timedelta(seconds=1)).replace(tzinfo=None)
    sql = f"SELECT price FROM {table} WHERE job_id = %s AND timestamp = %s AND price < %s"  # noqa: S608
    assert questdb.fetch(sql, (str(job_id), moment, 1.5)) == [(1.0,)]


def test_execute_binds_too(questdb: QuestDBPool, table: str) -> None:
    questdb.execute(
        f"INSERT INTO {table} (timestamp, symbol, price) VALUES (%s, %s, %s)",  # noqa: S608
        (START.replace(tzinfo=None), "x'); DROP TABLE bars; --", 1.5),
    )
    questdb.wait_visible(table)
    assert questdb.fetch(f"SELECT symbol, price FROM {table}") == [("x'); DROP TABLE bars; --", 1.5)]  # noqa: S608


def test_a_batch_goes_to_two_tables(questdb: QuestDBPool, table: str) -> None:
    with table_of(questdb, "price DOUBLE") as other:
        questdb.write(
            Rows(table, frame(3), at="timestamp", symbols=("symbol",)),
            Rows(other, pd.DataFrame({"price": [1.0]}), at=START),
        )
        questdb.wait_visible(table, other)
        assert (count(questdb, table), count(questdb, other)) == (3, 1)


def test_no_rows_are_no_error(questdb: QuestDBPool, table: str) -> None:
    questdb.write()
    write(questdb, table, frame(0))
    assert count(questdb, table) == 0


def test_more_rows_than_one_request_holds(questdb: QuestDBPool) -> None:
    n = 250_001  # of more than 400 bytes: above the client's limit of 100 MB
    ids = {f"id_{i}": str(uuid4()) for i in range(9)}
    rows = pd.DataFrame({"n": np.arange(n), **ids})
    with table_of(questdb, f"n LONG, {', '.join(f'{name} UUID' for name in ids)}") as table:
        questdb.write(Rows(table, rows, at=START))
        questdb.wait_visible(table)
        found = questdb.fetch(f"SELECT count(), count_distinct(n), max(n) FROM {table}")  # noqa: S608  ours
        assert found == [(n, n, n - 1)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"price": "dear"},
        {"trades": "many"},
        {"job_id": "me"},
        {"timestamp": datetime(1969, 12, 31, tzinfo=UTC)},
    ],
)
def test_rows_that_do_not_fit_are_an_error_of_ours_and_leave_nothing_behind(
    questdb: QuestDBPool, table: str, wrong: dict[str, object]
) -> None:
    with pytest.raises(QuestDBError):
        write(questdb, table, frame(2, **wrong))
    write(questdb, table, frame(1))
    assert count(questdb, table) == 1


def test_a_batch_that_fails_half_way_writes_nothing_later(questdb: QuestDBPool, table: str) -> None:
    good = Rows(table, frame(5), at="timestamp", symbols=("symbol",))
    bad = Rows("bars", frame(1, timestamp=datetime(1969, 12, 31, tzinfo=UTC)), at="timestamp")
    with pytest.raises(QuestDBError):
        questdb.write(good, bad)
    write(questdb, table, frame(1))
    assert count(questdb, table) == 1


def test_a_wrong_query_is_an_error_of_ours(questdb: QuestDBPool) -> None:
    for ask in (questdb.fetch, questdb.execute):
        with pytest.raises(psycopg.DatabaseError):
            ask("SELECT nonsense FROM bars")


def test_bars_are_kept_once_by_time_symbol_and_interval(questdb: QuestDBPool) -> None:
    symbol = f"T{uuid4().hex[:8]}"
    bar = {"symbol": symbol, "interval": "1d", "open": 1.0, "high": 2.0, "low": 0.5, "close": 1.5}
    first = pd.DataFrame([bar, bar | {"interval": "1h"}, bar | {"symbol": symbol + "X"}])
    for close in (1.5, 1.75):
        questdb.write(Rows("bars", first.assign(close=close), at=START, symbols=("symbol", "interval")))
    questdb.wait_visible("bars")
    found = questdb.fetch(
        "SELECT symbol, interval, close FROM bars WHERE symbol IN (%s, %s)", (symbol, symbol + "X")
    )
    assert sorted(found) == [(symbol, "1d", 1.75), (symbol, "1h", 1.75), (symbol + "X", "1d", 1.75)]


def test_a_suspended_table_is_unavailable_until_it_is_resumed(
    questdb: QuestDBPool, table: str, stack: Stack
) -> None:
    found = questdb.fetch("SELECT directoryName FROM tables() WHERE table_name = %s", (table,))
    in_the_way = stack.root / "questdb" / "db" / found[0][0] / f"{START:%Y-%m-%d}"
    in_the_way.touch()  # where the first rows' partition has to go: the server can't apply the write
    with pytest.raises(StoreUnavailable, match=table) as caught:
        write(questdb, table, frame(1))
    assert caught.value.code == "questdb_suspended"
    with pytest.raises(StoreUnavailable, match=table):
        questdb.probe()
    questdb.wait_visible("bars")  # another table is not concerned
    in_the_way.unlink()
    questdb.execute(f"ALTER TABLE {table} RESUME WAL")
    questdb.wait_visible(table)
    assert count(questdb, table) == 1
    questdb.probe()


def test_waiting_for_visible_rows_ends(questdb: QuestDBPool, table: str) -> None:
    def look_at_once() -> None:
        for _ in range(50):  # the server may be the faster one
            questdb.write(Rows(table, frame(50_000), at="timestamp", symbols=("symbol",)))
            questdb.wait_visible(table, timeout_s=0)

    with pytest.raises(StoreUnavailable) as caught:
        look_at_once()
    assert caught.value.code == "questdb_behind"
    questdb.wait_visible(table)


def test_a_lost_acknowledgement_is_written_again_and_stands_once(
    questdb: QuestDBPool, settings: Settings
) -> None:
    with (
        table_of(questdb, "symbol SYMBOL, price DOUBLE", dedup="timestamp, symbol") as table,
        Wire(settings.questdb_http_url) as wire,
        closing(QuestDBPool(settings.questdb_pg_url, wire.url)) as pool,
    ):
        wire.answers_to_lose = 1
        write(pool, table, frame(1_000))
        assert wire.ever == 2, "the first connection broke"
        assert questdb.fetch("SELECT sequencerTxn FROM wal_tables() WHERE name = %s", (table,)) == [(2,)]
        assert count(questdb, table) == 1_000


def test_a_connection_that_stays_lost_is_unavailable(
    questdb: QuestDBPool, settings: Settings, table: str
) -> None:
    with (
        Wire(settings.questdb_http_url) as wire,
        closing(QuestDBPool(settings.questdb_pg_url, wire.url)) as pool,
    ):
        wire.answers_to_lose = 1_000
        with pytest.raises(StoreUnavailable) as caught:
            write(pool, table, frame(1))
        assert caught.value.code == "questdb_unavailable"
        assert "127.0.0.1" not in caught.value.message
        wire.answers_to_lose = 0
        write(pool, table, frame(1))


def test_a_writer_keeps_its_connection(questdb: QuestDBPool, settings: Settings, table: str) -> None:
    with (
        Wire(settings.questdb_http_url) as wire,
        closing(QuestDBPool(settings.questdb_pg_url, wire.url)) as pool,
    ):
        for _ in range(20):
            pool.write(Rows(table, frame(1), at="timestamp", symbols=("symbol",)))
        assert wire.ever == 1
        pool.close()
        wait_for(lambda: wire.now == 0, 10)
        pool.write(Rows(table, frame(1), at="timestamp", symbols=("symbol",)))
        assert wire.ever == 2, "a closed pool may be used again"


def test_writers_of_many_threads_do_not_mix_their_rows(questdb: QuestDBPool, table: str) -> None:
    def work(number: int) -> None:
        for begin in range(0, 100, 10):
            rows = frame(10, trades=np.arange(10) + number * 100 + begin)
            questdb.write(Rows(table, rows, at="timestamp", symbols=("symbol",)))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    questdb.wait_visible(table)
    found = questdb.fetch(f"SELECT trades FROM {table} ORDER BY trades")  # noqa: S608
    assert [n for (n,) in found] == list(range(800))


def test_forty_threads_share_five_to_twenty_connections(settings: Settings) -> None:
    with (
        Wire(settings.questdb_pg_url, latency_s=0.02) as wire,
        closing(QuestDBPool(wire.url, settings.questdb_http_url)) as pool,
    ):
        pool.fetch("SELECT 1")
        wait_for(lambda: wire.now >= 5, 10)

        def work(number: int) -> None:
            deadline = Deadline(20)
            left = 3
            while left:  # until the pool has grown, and then a little longer
                assert pool.fetch("SELECT %s + 0", (number,)) == [(number,)]
                left -= wire.most >= 20
                deadline.check(wire.most)

        with ThreadPoolExecutor(40) as threads:
            list(threads.map(work, range(40)))
        assert wire.most == 20


def test_a_pool_opens_nothing_before_its_first_use(settings: Settings) -> None:
    with (
        Wire(settings.questdb_pg_url) as wire,
        closing(QuestDBPool(wire.url, settings.questdb_http_url)) as pool,
    ):
        assert wire.ever == 0
        pool.fetch("SELECT 1")
        assert wire.ever > 0


def test_a_restart_fails_what_is_asked_meanwhile_and_nothing_after_it(
    questdb: QuestDBPool, pool: QuestDBPool, table: str, stack: Stack, stop_server: Callable[[str], None]
) -> None:
    for each in (questdb, pool):
        write(each, table, frame(1))
        each.probe()
    stop_server("questdb")
    for ask in (
        pool.probe,
        lambda: pool.fetch("SELECT 1"),
        lambda: pool.write(Rows(table, frame(1), at="timestamp", symbols=("symbol",))),
    ):
        with pytest.raises(StoreUnavailable) as caught:
            ask()
        assert caught.value.code == "questdb_unavailable"
        assert "127.0.0.1" not in caught.value.message
    stack.start("questdb")
    for each in (questdb, pool):  # the first was idle all the time, and its connections are dead
        each.probe()
        write(each, table, frame(2))
    assert count(questdb, table) == count(pool, table) == 6
