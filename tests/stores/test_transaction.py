"""The one unit of work, on a real PostgreSQL."""

# ruff: noqa: PT012  a unit of work that fails is a block of several statements
from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cift_core.errors import Conflict, StoreUnavailable
from cift_core.models import User
from cift_core.stores import Stores
from cift_core.stores.postgres import after_commit, reading, transaction


@pytest.fixture
def session(stores: Stores) -> Iterator[Session]:
    """A session as a web request has one."""
    engine = stores.postgres.engine.execution_options(isolation_level="AUTOCOMMIT")
    with Session(engine, expire_on_commit=False) as session:
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
    assert caught.value.message == "PostgreSQL does not answer (OperationalError); try again."
    assert ran == []
    assert not exists(stores, user)
    with transaction(session):
        assert session.scalar(text("SELECT 1")) == 1


def test_a_connection_lost_before_the_commit_is_a_store_unavailable(stores: Stores, session: Session) -> None:
    with pytest.raises(StoreUnavailable) as caught, transaction(session):
        session.add(user := new_user())
        session.flush()
        terminate(stores, session)
    assert caught.value.message == "PostgreSQL does not answer (OperationalError); try again."
    assert not exists(stores, user)


def test_reading_sees_what_others_commit_meanwhile_and_leaves_no_transaction_open(
    stores: Stores, session: Session
) -> None:
    user = new_user()
    with reading(session):
        assert session.scalar(select(User.id).where(User.email == user.email)) is None
        pid = session.scalar(text("SELECT pg_backend_pid()"))
        with transaction(stores.postgres.new_session()) as other:
            state = other.execute(
                text("SELECT state, xact_start FROM pg_stat_activity WHERE pid = :pid"), {"pid": pid}
            ).one()
            assert tuple(state) == ("idle", None)
            other.add(user)
        assert session.scalar(select(User.id).where(User.email == user.email)) == user.id
    assert not session.in_transaction(), "the connection is back in the pool"
    with transaction(session):
        session.add(second := new_user())
        session.flush()
        assert not exists(stores, second), "a unit of work afterwards is one again"


def test_what_was_read_stays_readable_and_is_not_read_again(stores: Stores, session: Session) -> None:
    with transaction(session):
        session.add(user := new_user())
    with reading(session):
        read = session.scalars(select(User).where(User.id == user.id)).one()
    assert read.email == user.email
    assert not session.in_transaction(), "no connection was taken for it"


def test_a_unit_of_work_cannot_begin_inside_reading(session: Session) -> None:
    with reading(session), pytest.raises(RuntimeError, match="inside `reading`"), transaction(session):
        pass
    with transaction(session):
        assert session.scalar(text("SELECT 1")) == 1


def test_reading_from_a_connection_that_is_lost_says_so(stores: Stores, session: Session) -> None:
    with pytest.raises(StoreUnavailable), reading(session):
        terminate(stores, session)
        session.scalar(text("SELECT 1"))
    with reading(session):
        assert session.scalar(text("SELECT 1")) == 1
