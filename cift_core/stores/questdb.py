"""QuestDB: market data and the series of results. Reads over PGWire or as exports, writes over ILP/HTTP."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pyarrow as pa
from psycopg import Connection
from psycopg_pool import ConnectionPool, PoolTimeout
from questdb import QuestDBError, Sender
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from cift_core.errors import StoreUnavailable
from cift_core.stores.questdb_batches import Columns, Records, Rows
from cift_core.stores.questdb_exports import export
from cift_core.stores.questdb_imports import insert_by_file
from cift_core.stores.questdb_senders import is_connection_lost, sender_conf
from cift_core.stores.questdb_tables import ADDED_COLUMNS, TABLES
from cift_core.stores.timed_connections import TimedConnection

Row = tuple[Any, ...]
Answer = TypeVar("Answer")
CONNECTION_TIMEOUT_S, REFUSAL_TIMEOUT_S = 5.0, 0.5
_CONNECT = {
    "autocommit": True,
    "prepare_threshold": None,  # a prepared `select *` breaks after an ALTER
    "connect_timeout": 3,
    "application_name": "cift",
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}


class QuestDBPool:
    """Pooled PGWire connections and an ILP writer of one process, opened at first use."""

    def __init__(
        self,
        pg_url: str,
        http_url: str,
        *,
        min_size: int = 5,
        max_size: int = 20,
        query_timeout_s: float = 10.0,
        import_dir: Path | None = None,
    ) -> None:
        self._pg_url = pg_url.replace("postgres://", "postgresql://", 1)
        self._http_url = http_url
        self._sender_conf = sender_conf(http_url)
        self._sizes = (min_size, max_size)
        self._query_timeout_s = query_timeout_s
        self._import_dir = import_dir
        self._pool: ConnectionPool[TimedConnection] | None = None
        self._lock = threading.Lock()
        self._idle_senders: list[Sender] = []
        self._probe_connection: Connection[Row] | None = None

    def fetch(self, sql: str, params: Sequence[object] = ()) -> list[Row]:
        """All rows of a query, values bound. TIMESTAMP columns come back naive, in UTC.

        Raises:
            StoreUnavailable: the server does not answer.
        """

        def rows(connection: Connection[Row]) -> list[Row]:
            with connection.cursor(binary=True) as cursor:
                return cursor.execute(sql, params).fetchall()

        return self._ask(rows)

    def export(self, sql: str, params: Sequence[object] = ()) -> pa.Table:
        """All rows of a query as columns, for long results. Texts in `params` are of letters, digits, `._/-`.

        Raises:
            StoreUnavailable: the server does not answer, or breaks off.
        """
        return export(self._http_url, sql, params, timeout_s=self._query_timeout_s)

    def execute(self, sql: str, params: Sequence[object] = ()) -> None:
        """Run a statement that returns nothing.

        Raises:
            StoreUnavailable: the server does not answer.
        """
        self._ask(lambda connection: connection.execute(sql, params))

    def insert(self, columns: Columns) -> None:
        """Append many rows, as `write` does; where the server shares a folder with us, by a file in it.

        Raises:
            StoreUnavailable: the server does not answer, or the folder is not what the settings say.
        """
        if self._import_dir is None:
            self.write(columns)
        else:
            insert_by_file(self._import_dir, columns, self.execute)

    def write(self, *batches: Rows | Records | Columns) -> None:
        """Append rows; acknowledged is durable but not yet visible.

        After a lost connection everything is sent again, so a table whose rows must not stand twice needs
        dedup keys.

        Raises:
            StoreUnavailable: still refused after the tries.
        """
        retrying = Retrying(
            retry=retry_if_exception(is_connection_lost),
            stop=stop_after_attempt(3),
            wait=wait_exponential_jitter(multiplier=0.1, max=1.0),
            reraise=True,
        )
        try:
            retrying(self._send, batches)
        except QuestDBError as error:
            if not is_connection_lost(error):
                raise
            raise _unavailable(error) from error

    def _send(self, batches: Sequence[Rows | Records | Columns]) -> None:
        sender = self._sender()
        try:
            for batch in batches:
                batch.put_into(sender)
            sender.flush()
        except BaseException:
            sender.close(flush=False)
            raise
        self._idle_senders.append(sender)

    def _sender(self) -> Sender:
        try:
            return self._idle_senders.pop()
        except IndexError:
            sender = Sender.from_conf(self._sender_conf)
            sender.establish()  # type: ignore[no-untyped-call]  # the package's stub has no types for it
            return sender

    def wait_visible(self, *tables: str, timeout_s: float = 30.0) -> None:
        """Return when every write acknowledged before this call can be read.

        Raises:
            StoreUnavailable: a table is suspended, or did not catch up in time.
        """
        deadline = time.monotonic() + timeout_s
        targets: dict[str, int] = {}
        pause_s = 0.001
        while True:
            behind = False
            for name, suspended, sequencer_txn, writer_txn in self._wal_state():
                if name not in tables:
                    continue
                if suspended:
                    raise StoreUnavailable(
                        "questdb_suspended",
                        f"QuestDB's table {name} is suspended; an operator must resume it.",
                    )
                behind |= writer_txn < targets.setdefault(name, sequencer_txn)
            if not behind:
                return
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    "questdb_behind", f"QuestDB did not make the rows visible in {timeout_s:g} s."
                )
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, 0.1)

    def _wal_state(self) -> list[Row]:
        return self.fetch("SELECT name, suspended, sequencerTxn, writerTxn FROM wal_tables()")

    def create_tables(self) -> None:
        """Create the tables that do not exist yet, and the columns that they lack."""
        for statement in TABLES.values():
            self.execute(statement)
        for table, column, kind in ADDED_COLUMNS:
            if (column,) not in self.fetch(f"SELECT \"column\" FROM table_columns('{table}')"):  # noqa: S608  ours
                self.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")

    def probe(self) -> None:
        """Return when the server answers a query and no table is suspended.

        Raises:
            StoreUnavailable: it does not answer, or a table is suspended.
        """
        kept = self._probe_connection is not None
        try:
            suspended = self._suspended()
        except StoreUnavailable:
            if not kept:
                raise
            suspended = self._suspended()  # the kept connection was of a server that was restarted since
        if suspended:
            names = ", ".join(str(name) for (name,) in suspended)
            raise StoreUnavailable("questdb_suspended", f"Suspended tables: {names}.")

    def close(self) -> None:
        """Close every connection; the pool may be used again afterwards."""
        with self._lock:
            if self._pool is not None:
                self._pool.close(timeout=2)
                self._pool = None
        while self._idle_senders:
            self._idle_senders.pop().close(flush=False)
        self._drop_probe_connection()

    def _suspended(self) -> list[Row]:
        try:
            if self._probe_connection is None:
                self._probe_connection = psycopg.connect(self._pg_url, **_CONNECT)  # type: ignore[arg-type]
            return self._probe_connection.execute(
                "SELECT name FROM wal_tables() WHERE suspended = true"
            ).fetchall()
        except psycopg.Error as error:
            self._drop_probe_connection()
            raise _unavailable(error) from error

    def _drop_probe_connection(self) -> None:
        if self._probe_connection is not None:
            self._probe_connection.close()
            self._probe_connection = None

    def _ask(self, question: Callable[[Connection[Row]], Answer]) -> Answer:
        """The answer, asked for again when a kept connection was of a server that was restarted since.

        The pool's own check would ask twice each time, and pause longer after each dead connection.
        """
        try:
            with self._connection() as connection:
                return question(connection)
        except PoolTimeout as error:
            raise _unavailable(error) from error
        except (psycopg.OperationalError, psycopg.InterfaceError):
            self._opened().drain()
        try:
            with self._connection() as connection:
                return question(connection)
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise _unavailable(error) from error

    @contextmanager
    def _connection(self) -> Iterator[TimedConnection]:
        """A connection, waited for when all are in use, but not when the server refuses new ones."""
        pool = self._opened()
        refused = _refused(pool)
        try:
            connection = pool.getconn(timeout=REFUSAL_TIMEOUT_S)
        except PoolTimeout:
            if _refused(pool) > refused:
                raise
            connection = pool.getconn(timeout=CONNECTION_TIMEOUT_S - REFUSAL_TIMEOUT_S)
        try:
            with connection:
                yield connection
        finally:
            pool.putconn(connection)

    def _opened(self) -> ConnectionPool[TimedConnection]:
        with self._lock:
            if self._pool is None:
                self._pool = ConnectionPool(
                    self._pg_url,
                    min_size=self._sizes[0],
                    max_size=self._sizes[1],
                    kwargs=_CONNECT,
                    connection_class=TimedConnection,
                    configure=self._set_timeout,
                    max_lifetime=3600,
                    reconnect_timeout=1,  # then anew with the next request, not after a grown pause
                    name="questdb",
                    open=True,
                )
            return self._pool

    def _set_timeout(self, connection: TimedConnection) -> None:
        connection.timeout_s = self._query_timeout_s


def _refused(pool: ConnectionPool[TimedConnection]) -> int:
    return pool.get_stats().get("connections_errors", 0)


def _unavailable(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(
        "questdb_unavailable", f"QuestDB does not answer ({type(error).__name__}); try again."
    )
