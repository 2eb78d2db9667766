"""Rows written to QuestDB and read from it, on a real server."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
import pandas as pd
import psycopg
import pyarrow as pa
import pytest
from questdb import QuestDBError

from cift_core.errors import StoreUnavailable
from cift_core.stores import Stores
from cift_core.stores.questdb import QuestDBPool
from cift_core.stores.questdb_batches import Columns, Rows
from cift_core.stores.questdb_imports import LEFT_AFTER_S, remove_left_files
from cift_core.stores.questdb_tables import TABLES
from deploy.native.stack import Stack
from tests.stores.questdb_rows import START, count, frame, table_of, write


@pytest.fixture
def questdb(stores: Stores) -> QuestDBPool:
    return stores.questdb


@pytest.fixture
def table(questdb: QuestDBPool) -> Iterator[str]:
    """A table of this test's own."""
    with table_of(questdb, "symbol SYMBOL, price DOUBLE, trades LONG, job_id UUID, fine BOOLEAN") as name:
        yield name


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


COLUMNS = {
    "price": pa.array([1.5, 2.0, 0.1 + 0.2]),
    "size": pa.array([np.nan, 1.0, 3.0]),
    "trade_id": pa.array([0, 2**62, 7]),
    "side": pa.DictionaryArray.from_arrays(pa.array([1, None, 0], pa.int32()), ["buy", "sell"]),
}


def trades(symbols: dict[str, str], columns: dict[str, pa.Array]) -> Columns:
    times = (1_700_000_000_000_000_000 + np.arange(3)).view("datetime64[ns]")
    return Columns("ticks", times, columns, symbols | {"ingestion_id": str(UUID(int=7))})


@pytest.mark.parametrize("shared", [True, False])
def test_columns_go_in_by_a_shared_folder_and_over_http_alike(stores: Stores, shared: bool) -> None:
    folder = stores.settings.questdb_import_dir
    assert folder is not None
    name = f"T{uuid4().hex[:9]}"
    with pool_of(stores, folder if shared else None) as questdb:
        codes = pa.array([0, 1, 0], pa.int32())
        many = {"symbol": pa.DictionaryArray.from_arrays(codes, [f"{name}x", f"{name}y", "-none"])}
        questdb.insert(trades({"symbol": name}, COLUMNS))
        questdb.insert(trades({}, COLUMNS | many))
        questdb.wait_visible("ticks")
        for symbols in ([name] * 3, [f"{name}x", f"{name}y", f"{name}x"]):
            sql = (
                "SELECT cast(timestamp AS long), symbol, price, size, trade_id, side, ingestion_id FROM ticks"
                " WHERE symbol IN (%s, %s) ORDER BY 1"
            )
            assert questdb.fetch(sql, symbols[:2]) == [
                (1_700_000_000_000_000_000, symbols[0], 1.5, None, 0, "sell", UUID(int=7)),
                (1_700_000_000_000_000_001, symbols[1], 2.0, 1.0, 2**62, None, UUID(int=7)),
                (1_700_000_000_000_000_002, symbols[2], 0.1 + 0.2, 3.0, 7, "buy", UUID(int=7)),
            ]
    assert list(folder.glob("cift-*")) == []
    assert questdb.fetch("SELECT count() FROM ticks WHERE symbol = '-none'") == [(0,)]


@contextmanager
def pool_of(stores: Stores, folder: Path | None) -> Iterator[QuestDBPool]:
    settings = stores.settings
    urls = settings.questdb_pg_url, settings.questdb_http_url
    pool = QuestDBPool(*urls, min_size=1, max_size=1, import_dir=folder)
    yield pool
    pool.close()


def test_a_folder_that_is_not_the_servers_is_told(stores: Stores, tmp_path: Path) -> None:
    for folder, says in ((tmp_path, "cairo.sql.copy.root"), (tmp_path / "none", "can't be written")):
        with pool_of(stores, folder) as questdb, pytest.raises(StoreUnavailable, match=says):
            questdb.insert(trades({"symbol": "A"}, COLUMNS))
    assert list(tmp_path.iterdir()) == []


def test_what_a_dead_process_left_is_removed_in_time(tmp_path: Path) -> None:
    for name, age_s in (("cift-old", LEFT_AFTER_S + 60), ("cift-new", 0), ("other", 10 * LEFT_AFTER_S)):
        (tmp_path / name).write_bytes(b"")
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    assert remove_left_files(tmp_path) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cift-new", "other"]


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
