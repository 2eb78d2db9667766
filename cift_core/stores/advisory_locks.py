"""Advisory locks of PostgreSQL, held on a connection of their own with no transaction open."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from cift_core.stores.postgres import PostgresPool, unavailable

POLL_S = 0.1
_TRY = text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
_TRY_SHARED = text("SELECT pg_try_advisory_lock_shared(hashtextextended(:name, 0))")
_ALIVE = text("SELECT 1")
_UNLOCK = text("SELECT pg_advisory_unlock_all()")


@dataclass(frozen=True)
class Lock:
    """A lock by name; many may hold it `shared` while nobody holds it alone."""

    name: str
    shared: bool = False


@contextmanager
def hold(
    postgres: PostgresPool, *locks: Lock, while_waiting: Callable[[], None]
) -> Iterator[Callable[[], None]]:
    """Holds the locks, taken in this order, until the block ends; yields a check that they are still held.

    `while_waiting` is called before every further try, and ends the wait by raising.

    Raises:
        StoreUnavailable: the connection was lost, and the locks with it (the check raises it too).
    """
    with _translated():
        connection = postgres.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    with connection:
        try:
            for lock in locks:
                while not _taken(connection, lock):
                    while_waiting()
                    time.sleep(POLL_S)
            yield lambda: _check(connection)
        finally:
            if not connection.invalidated:
                with _translated():
                    connection.execute(_UNLOCK)


def _taken(connection: Connection, lock: Lock) -> bool:
    with _translated():
        return bool(connection.scalar(_TRY_SHARED if lock.shared else _TRY, {"name": lock.name}))


def _check(connection: Connection) -> None:
    with _translated():
        connection.execute(_ALIVE)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (DBAPIError, PoolTimeoutError) as error:
        raise unavailable(error) from error
