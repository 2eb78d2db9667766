"""PostgreSQL: the durable record. The pool, and the one unit of work."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import sqlalchemy
from psycopg.errors import DiskFull
from sqlalchemy import Engine, Pool, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from cift_core.errors import StoreUnavailable
from cift_core.stores.timed_connections import TimedConnection

RECYCLE_S = 3600
STATEMENT_TIMEOUT_S = 30
PING_TIMEOUT_S = 1.0  # who misses it gets a new connection
_ANSWER_TIMEOUT_S = STATEMENT_TIMEOUT_S + 5.0  # the server ends a long statement itself, unless it hangs
_CONNECT: dict[str, Any] = {
    "connect_timeout": 3,
    "application_name": "cift",
    "options": f"-c timezone=UTC -c lock_timeout=10s -c statement_timeout={STATEMENT_TIMEOUT_S}s",
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
_TRANSACTION = {"isolation_level": "READ COMMITTED"}
_CALLBACKS, _READING = "after_commit", "reading"


def sqlalchemy_url(url: str) -> sqlalchemy.URL:
    """The URL with the psycopg 3 driver named, whatever `postgres://` spelling was given."""
    return make_url(url.replace("postgres://", "postgresql://", 1)).set(drivername="postgresql+psycopg")


class PostgresConnection(TimedConnection):
    """A server that lives and does not answer holds nobody for long, least of all who only begins."""

    timeout_s = _ANSWER_TIMEOUT_S


@event.listens_for(Pool, "checkin")
def _wait_briefly(connection: object, *_: object) -> None:
    if isinstance(connection, PostgresConnection):
        connection.timeout_s = PING_TIMEOUT_S


@event.listens_for(Pool, "checkout")  # after the pool's own question whether the connection lives
def _wait_for_answers(connection: object, *_: object) -> None:
    if isinstance(connection, PostgresConnection):
        connection.timeout_s = _ANSWER_TIMEOUT_S


def engine_options(url: str, pool_size: int, max_overflow: int) -> dict[str, Any]:
    """The options of every engine of this project, the web's and the workers' alike."""
    return {
        "creator": partial(PostgresConnection.connect, url, **_CONNECT),
        "pool_size": pool_size,
        "max_overflow": max_overflow,
        "pool_pre_ping": True,
        "pool_recycle": RECYCLE_S,
        "pool_timeout": 5,
        "skip_autocommit_rollback": True,  # after `reading` there is nothing to roll back
    }


class PostgresPool:
    """A lazy pool of connections of one process; a forked child must build its own."""

    def __init__(self, url: str, *, pool_size: int = 20, max_overflow: int = 10) -> None:
        self.engine: Engine = create_engine(
            sqlalchemy_url(url), **engine_options(url, pool_size, max_overflow)
        )
        # apart from the pool, so that a busy pool is not reported as a store that is down
        self._probe_engine = create_engine(sqlalchemy_url(url), **engine_options(url, 1, 0))

    def new_session(self) -> Session:
        """A session whose objects stay readable after the commit."""
        return Session(self.engine, expire_on_commit=False)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """One unit of work on a session of its own: see `transaction`."""
        with self.new_session() as session, transaction(session):
            yield session

    def probe(self) -> None:
        """Return when the server answers a query.

        Raises:
            StoreUnavailable: it does not.
        """
        try:
            with self._probe_engine.connect() as connection:
                connection.exec_driver_sql("SELECT 1")
        except (DBAPIError, PoolTimeoutError) as error:
            self._probe_engine.dispose()
            raise unavailable(error) from error

    def close(self) -> None:
        """Close every connection; the pool may be used again afterwards."""
        self.engine.dispose()
        self._probe_engine.dispose()


@contextmanager
def transaction(session: Session) -> Iterator[Session]:
    """One unit of work: commit, or roll back and re-raise; then run what `after_commit` registered.

    Inside another unit of the same session it is a savepoint: its failure undoes it alone.

    Raises:
        StoreUnavailable: the server could not be reached or gave up; nothing was committed, unless the
            connection was lost during the commit itself, when the outcome is not known.
    """
    if _READING in session.info:
        raise RuntimeError("a unit of work can't begin inside `reading`")
    if _CALLBACKS in session.info:
        with _savepoint(session):
            yield session
        return
    callbacks: list[Callable[[], None]] = []
    session.info[_CALLBACKS] = callbacks
    try:
        session.connection(execution_options=_TRANSACTION)
        yield session
        session.commit()
    except BaseException as error:
        session.rollback()
        if isinstance(error, OperationalError | InterfaceError | PoolTimeoutError):
            raise unavailable(error) from error
        raise
    finally:
        del session.info[_CALLBACKS]
    for callback in callbacks:
        callback()


@contextmanager
def reading(session: Session) -> Iterator[Session]:
    """Queries without a transaction, on an engine in autocommit: each sees what is committed when it begins.

    That saves the two round trips of BEGIN and COMMIT. A unit of work can't begin inside. What was read stays
    readable afterwards, and belongs to no session.

    Raises:
        StoreUnavailable: the server could not be reached or gave up.
    """
    try:
        session.info[_READING] = True
        yield session
    except (OperationalError, InterfaceError, PoolTimeoutError) as error:
        raise unavailable(error) from error
    finally:
        session.info.pop(_READING, None)
        session.close()  # a rollback would expire what was read, to be read again at its next use


@contextmanager
def _savepoint(session: Session) -> Iterator[None]:
    callbacks: list[Callable[[], None]] = session.info[_CALLBACKS]
    registered = len(callbacks)
    try:
        with session.begin_nested():
            yield
    except BaseException:
        del callbacks[registered:]
        raise


def after_commit(session: Session, callback: Callable[[], None]) -> None:
    """Call `callback` once the session's unit of work is committed; never when it is rolled back."""
    session.info[_CALLBACKS].append(callback)


def unavailable(error: Exception) -> StoreUnavailable:
    """The error to raise in place of a driver's, without the driver's text (that goes to the log)."""
    if isinstance(error, PoolTimeoutError):
        return StoreUnavailable(
            "postgres_busy", "All connections of this process to PostgreSQL are in use; try again."
        )
    if isinstance(error, DBAPIError) and isinstance(error.orig, DiskFull):
        return StoreUnavailable(
            "postgres_full", "PostgreSQL's disk is full: nothing was stored. Try again when there is room."
        )
    return StoreUnavailable(
        "postgres_unavailable", f"PostgreSQL does not answer ({type(error).__name__}); try again."
    )
