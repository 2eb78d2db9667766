"""The connections to QuestDB: how many, how long, and what happens when one is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import pytest

from cift_core.errors import StoreUnavailable
from cift_core.settings import Settings
from cift_core.stores import Stores
from cift_core.stores.questdb import QuestDBPool
from cift_core.stores.questdb_batches import Rows
from deploy.native.stack import Stack
from tests.stores.questdb_rows import count, frame, table_of, write
from tests.waiting import Deadline, wait_for
from tests.wire import Wire


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
    with table_of(questdb, "symbol SYMBOL, price DOUBLE, trades LONG") as name:
        yield name


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
