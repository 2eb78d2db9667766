"""The PostgreSQL pool and the one unit of work, on a real server."""

# ruff: noqa: PT012  a unit of work that fails is a block of several statements
from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, select, text
from sqlalchemy.exc import IntegrityError, ProgrammingError
from sqlalchemy.orm import Session

from cift_core.errors import Conflict, StoreUnavailable
from cift_core.models import User
from cift_core.settings import Settings
from cift_core.stores import Stores
from cift_core.stores.postgres import (
    PostgresPool,
    after_commit,
    engine_options,
    sqlalchemy_url,
    transaction,
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


@pytest.fixture
def session(pool: PostgresPool) -> Iterator[Session]:
    """A session as a web request has one."""
    with pool.new_session() as session:
        yield session


def new_user() -> User:
    return User(email=f"{uuid4()}@example.com", password_hash="-")


def exists(stores: Stores, user: User) -> bool:
    """Whether somebody else sees the row."""
    with stores.postgres.transaction() as other:
        return other.scalar(select(User.id).where(User.email == user.email)) is not None


def terminate(stores: Stores, session: Session) -> None:
    """End the session's connection from the server's side."""
    pid = session.scalar(text("SELECT pg_backend_pid()"))
    with stores.postgres.transaction() as other:
        other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})


def assert_says_nothing_of_the_driver(error: StoreUnavailable) -> None:
    assert error.code == "postgres_unavailable"
    assert not [part for part in DRIVER_TEXT if part in error.message]


def test_a_unit_of_work_is_committed(stores: Stores, session: Session) -> None:
    with transaction(session):
        session.add(user := new_user())
        session.flush()
        assert not exists(stores, user)
    assert exists(stores, user)
    assert user.email
    assert user.id is not None


def test_a_failed_unit_of_work_is_rolled_back_and_its_error_raised(stores: Stores, session: Session) -> None:
    failure = Conflict("busy", "Not now.")
    with pytest.raises(Conflict) as caught, transaction(session):
        session.add(user := new_user())
        session.flush()
        raise failure
    assert caught.value is failure
    assert not exists(stores, user)


def test_a_pool_gives_each_unit_a_session_and_takes_its_connection_back(
    stores: Stores, pool: PostgresPool
) -> None:
    with pool.transaction() as session:
        session.add(user := new_user())
    assert exists(stores, user)
    with pytest.raises(ZeroDivisionError), pool.transaction() as session:
        session.execute(text("SELECT 1"))
        raise ZeroDivisionError
    assert pool.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_a_nested_failure_undoes_itself_alone(stores: Stores, session: Session) -> None:
    with transaction(session):
        session.add(before := new_user())
        with pytest.raises(IntegrityError), transaction(session):
            session.add(lost := new_user())
            session.add(User(email=before.email, password_hash="-"))
        session.add(after := new_user())
    assert exists(stores, before)
    assert exists(stores, after)
    assert not exists(stores, lost)


def test_a_nested_success_goes_down_with_the_unit_around_it(stores: Stores, session: Session) -> None:
    with pytest.raises(ZeroDivisionError), transaction(session):
        with transaction(session):
            session.add(user := new_user())
        raise ZeroDivisionError
    assert not exists(stores, user)


def test_what_is_registered_runs_in_order_once_others_see_the_commit(
    stores: Stores, session: Session
) -> None:
    seen: list[tuple[str, bool]] = []
    with transaction(session):
        session.add(user := new_user())
        after_commit(session, lambda: seen.append(("outer", exists(stores, user))))
        with transaction(session):
            after_commit(session, lambda: seen.append(("inner", exists(stores, user))))
        session.flush()
        assert seen == []
    assert seen == [("outer", True), ("inner", True)]


def test_nothing_runs_for_a_unit_that_was_rolled_back_not_even_after_a_later_one(session: Session) -> None:
    ran: list[str] = []
    with pytest.raises(ZeroDivisionError), transaction(session):
        after_commit(session, lambda: ran.append("rolled back"))
        raise ZeroDivisionError
    with transaction(session):
        after_commit(session, lambda: ran.append("committed"))
    with transaction(session):
        session.execute(text("SELECT 1"))
    assert ran == ["committed"]


def test_what_a_failed_savepoint_registered_is_dropped_and_nothing_else(session: Session) -> None:
    ran: list[str] = []
    with transaction(session):
        after_commit(session, lambda: ran.append("before"))
        with pytest.raises(ZeroDivisionError), transaction(session):
            after_commit(session, lambda: ran.append("failed"))
            with transaction(session):
                after_commit(session, lambda: ran.append("inside the failed"))
            raise ZeroDivisionError
        after_commit(session, lambda: ran.append("after"))
    assert ran == ["before", "after"]


def test_nothing_runs_when_the_commit_itself_fails(session: Session) -> None:
    ran: list[str] = []
    with pytest.raises(IntegrityError), transaction(session):
        session.execute(text("CREATE TEMP TABLE once (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)"))
        session.execute(text("INSERT INTO once VALUES (1), (1)"))
        after_commit(session, lambda: ran.append("never"))
    assert ran == []


def test_a_callback_may_do_a_unit_of_work_of_its_own(stores: Stores, session: Session) -> None:
    user = new_user()

    def add_user() -> None:
        with transaction(session):
            session.add(user)

    with transaction(session):
        after_commit(session, add_user)
    assert exists(stores, user)


@pytest.mark.parametrize("nested", [False, True])
def test_a_connection_lost_in_the_middle_is_a_store_unavailable(
    stores: Stores, session: Session, nested: bool
) -> None:
    ran: list[str] = []
    with pytest.raises(StoreUnavailable) as caught, transaction(session):
        session.add(user := new_user())
        session.flush()
        after_commit(session, lambda: ran.append("never"))
        terminate(stores, session)
        if nested:
            with transaction(session):
                session.execute(text("SELECT 1"))
        session.execute(text("SELECT 1"))
    assert_says_nothing_of_the_driver(caught.value)
    assert ran == []
    assert not exists(stores, user)
    with transaction(session):
        assert session.scalar(text("SELECT 1")) == 1


def test_a_connection_lost_before_the_commit_is_a_store_unavailable(stores: Stores, session: Session) -> None:
    with pytest.raises(StoreUnavailable) as caught, transaction(session):
        session.add(user := new_user())
        session.flush()
        terminate(stores, session)
    assert_says_nothing_of_the_driver(caught.value)
    assert not exists(stores, user)


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
    options = engine_options(20, 10)
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
    options = engine_options(1, 1) | {"pool_timeout": 0.1}
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
