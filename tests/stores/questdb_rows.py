"""Tables and rows for the tests of QuestDB."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from uuid import uuid4

import numpy as np
import pandas as pd

from cift_core.stores.questdb import QuestDBPool
from cift_core.stores.questdb_batches import Rows

START = datetime(2024, 1, 1, tzinfo=UTC)


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
