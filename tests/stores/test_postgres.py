"""The PostgreSQL pool, on a real server."""

# ruff: noqa: PT012  a unit of work that fails is a block of several statements
from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import ProgrammingError

from cift_core.errors import StoreUnavailable
from cift_core.models import User
from cift_core.settings import Settings
from cift_core.stores import Stores
from cift_core.stores.postgres import (
    PostgresPool,
    engine_options,
    sqlalchemy_url,
)
from deploy.native.stack import Stack
from tests.waiting import Deadline, wait_for
from tests.wire import Wire

DRIVER_TEXT = ("127.0.0.1", "connection", "psycopg", "terminat", "FATAL", "SELECT", "port")


@pytest.fixture
def pool(settings: Settings) -> Iterator[PostgresPool]:
    """A pool of this test's own, with the figures of the web process."""
    with closing(PostgresPool(settings.postgres_url)) as pool:
        yield pool


def assert_says_nothing_of_the_driver(error: StoreUnavailable) -> None:
    assert error.code == "postgres_unavailable"
    assert not [part for part in DRIVER_TEXT if part in error.message]


def test_a_pool_gives_each_unit_a_session_and_takes_its_connection_back(
    stores: Stores, pool: PostgresPool
) -> None:
    with pool.transaction() as session:
        session.add(user := User(email=f"{uuid4()}@example.com", password_hash="-"))
    assert user.email, "readable though its session is gone"
    with stores.postgres.transaction() as session:
        assert session.get(User, user.id)
    with pytest.raises(ZeroDivisionError), pool.transaction() as session:
        session.execute(text("SELECT 1"))
        raise ZeroDivisionError
    assert pool.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_a_server_that_is_not_there_is_a_store_unavailable() -> None:
    with closing(PostgresPool("postgresql://cift:hunter2@127.0.0.1:1/cift")) as pool:
        for ask in (pool.probe, lambda: run(pool, "SELECT 1")):
            with pytest.raises(StoreUnavailable) as caught:
                ask()
            assert_says_nothing_of_the_driver(caught.value)


def run(pool: PostgresPool, sql: str) -> object:
    with pool.transaction() as session:
        return session.scalar(text(sql))


def test_a_statement_that_never_ends_is_ended(pool: PostgresPool) -> None:
    with pytest.raises(StoreUnavailable), pool.transaction() as session:
        session.execute(text("SET LOCAL statement_timeout = '50ms'"))
        session.execute(text("SELECT pg_sleep(60)"))
    assert run(pool, "SHOW statement_timeout") == "30s"
    assert run(pool, "SHOW lock_timeout") == "10s"


def test_a_wrong_statement_is_not_a_store_unavailable(pool: PostgresPool) -> None:
    with pytest.raises(ProgrammingError):
        run(pool, "SELECT nonsense")


def test_connections_speak_utc(pool: PostgresPool) -> None:
    assert run(pool, "SHOW timezone") == "UTC"


def test_connections_are_checked_before_use_and_kept_for_an_hour_at_most() -> None:
    options = engine_options("postgresql://u@h/d", 20, 10)
    assert options["pool_pre_ping"] is True
    assert options["pool_recycle"] == 3600


def test_forty_threads_share_thirty_connections_and_all_finish(settings: Settings) -> None:
    with (
        Wire(settings.postgres_url, latency_s=0.02) as wire,
        closing(PostgresPool(wire.url)) as pool,
    ):

        def work(number: int) -> None:
            deadline = Deadline(30)
            left = 3
            while left:  # until the pool has grown, and then a little longer
                with pool.transaction() as session:
                    assert session.scalar(text("SELECT :n"), {"n": number}) == number
                left -= wire.most >= 30
                deadline.check(wire.most)

        with ThreadPoolExecutor(40) as threads:
            list(threads.map(work, range(40)))
        assert wire.most == 30
        wait_for(lambda: wire.now == 20, 10, "the overflow is closed again")


def test_a_pool_that_stays_busy_says_so(settings: Settings) -> None:
    options = engine_options(settings.postgres_url, 1, 1) | {"pool_timeout": 0.1}
    engine = create_engine(sqlalchemy_url(settings.postgres_url), **options)
    with closing(PostgresPool(settings.postgres_url)) as pool:
        pool.engine = engine
        with pool.transaction() as one, pool.transaction() as two:
            one.execute(text("SELECT 1"))
            two.execute(text("SELECT 1"))
            with pytest.raises(StoreUnavailable, match="in use") as caught:
                run(pool, "SELECT 1")
            assert caught.value.code == "postgres_busy"
            pool.probe()  # a busy pool is no server that is down
        assert run(pool, "SELECT 1") == 1


def test_after_a_restart_the_next_unit_of_work_succeeds(pool: PostgresPool, stack: Stack) -> None:
    with ThreadPoolExecutor(5) as threads:  # several idle connections, all of them about to die
        barrier = threading.Barrier(5)

        def hold(_: int) -> None:
            with pool.transaction() as session:
                session.execute(text("SELECT 1"))
                barrier.wait(10)

        list(threads.map(hold, range(5)))
    before = run(pool, "SELECT pg_postmaster_start_time()")
    pool.probe()
    stack.stop("postgres")
    stack.start("postgres")
    pool.probe()
    for _ in range(5):
        assert run(pool, "SELECT pg_postmaster_start_time()") != before


def test_the_probe_fails_while_the_server_is_down_and_succeeds_when_it_is_back(
    pool: PostgresPool, stack: Stack, stop_server: Callable[[str], None]
) -> None:
    pool.probe()
    stop_server("postgres")
    for _ in range(2):
        with pytest.raises(StoreUnavailable) as caught:
            pool.probe()
        assert_says_nothing_of_the_driver(caught.value)
    with pytest.raises(StoreUnavailable):
        run(pool, "SELECT 1")
    stack.start("postgres")
    pool.probe()
    assert run(pool, "SELECT 1") == 1
