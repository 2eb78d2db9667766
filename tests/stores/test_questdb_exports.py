"""QuestDB's Parquet export, on a real server; what may be written into its SQL."""

from __future__ import annotations

import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from cift_core.errors import StoreUnavailable
from cift_core.settings import Settings
from cift_core.stores import Stores
from cift_core.stores.questdb import QuestDBPool
from cift_core.stores.questdb_exports import export, literal
from deploy.native.stack import Stack
from tests.stores.questdb_rows import frame, table_of, write
from tests.waiting import freeze

BROKEN_OFF = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nPAR1\r\n"
NO_FILE = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nPAR1"


def test_an_export_has_the_rows_that_a_query_has(stores: Stores) -> None:
    with table_of(stores.questdb, "symbol SYMBOL, price DOUBLE") as table:
        rows = frame(3)
        rows.loc[1, "price"] = float("nan")
        rows.loc[2, "price"] = 0.1 + 0.2
        write(stores.questdb, table, rows)
        sql = (
            f"SELECT cast(timestamp AS long) AS time, price FROM {table}"  # noqa: S608  ours
            " WHERE symbol = %s AND price IS NOT NULL AND timestamp >= cast(%s AS timestamp)"
        )
        params = ("AAPL", 0)
        exported = stores.questdb.export(sql, params)
        assert list(zip(*(c.to_pylist() for c in exported.columns), strict=True)) == stores.questdb.fetch(
            sql, params
        )
        assert stores.questdb.export(sql, ("MSFT", 0)).num_rows == 0


@pytest.mark.parametrize("value", ["BRK.B", "BTC/USD", "a_b-c", "1m", 0, -1, 2**62])
def test_plain_values_are_written_as_they_are(value: object) -> None:
    assert literal(value) == (f"'{value}'" if isinstance(value, str) else str(value))


@pytest.mark.parametrize(
    "value", ["", "a'b", "a b", "a\n", "a;b", "a--b\\", "a%b", "ä", "x" * 65, True, 1.5, None, b"a"]
)
def test_any_other_value_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="can't be written into an export"):
        literal(value)


def test_wrong_sql_is_no_store_that_is_away(stores: Stores) -> None:
    with pytest.raises(ValueError, match="refused an export"):
        stores.questdb.export("SELECT nothing FROM nowhere")


def test_an_export_ends_though_the_server_hangs(settings: Settings, stack: Stack) -> None:
    pid = stack.pid("questdb")
    urls = settings.questdb_pg_url, settings.questdb_http_url
    with closing(QuestDBPool(*urls, query_timeout_s=0.5)) as pool:
        freeze(pid)
        try:
            began = time.monotonic()
            with pytest.raises(StoreUnavailable):
                pool.export("SELECT 1")
            assert time.monotonic() - began < 3
        finally:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("answer", [b"", BROKEN_OFF, NO_FILE, b"HTTP/1.1 503 Away\r\n\r\n"])
def test_an_export_that_breaks_off_is_none(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        exported = pool.submit(export, url, "SELECT 1", (), timeout_s=5)
        client, _ = server.accept()
        with client:
            client.recv(65_536)
            client.sendall(answer)
        with pytest.raises(StoreUnavailable):
            exported.result(timeout=10)
