"""The files that `bench.ingest` brings in: real ones, and longer ones made of them."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv
from questdb import Sender

from cift_core.stores import Stores
from cift_core.stores.questdb_senders import sender_conf
from cift_core.stores.questdb_tables import TABLES
from deploy.native.environment import CHECKOUT

DATA = "CIFT_BENCH_DATA"
SAMPLE = CHECKOUT / "data" / "sample"
RAW_ROWS = 100_000  # one request of the raw client takes at most 100 MB


@dataclass(frozen=True)
class Case:
    """A file below `folder` and how it is asked for; `header` names the columns of one without a header."""

    folder: str
    path: str
    kind: str
    symbol: str | None = None
    interval: str | None = None
    header: tuple[str, ...] | None = None
    unit: str = "ms"

    def request(self) -> dict[str, Any]:
        """The body of `POST /ingestions`."""
        header = list(self.header) if self.header else None
        source = {"type": "file", "path": self.path, "timestamp_unit": self.unit, "header": header}
        return {"source": source, "kind": self.kind, "symbol": self.symbol, "interval": self.interval}


def are_real() -> bool:
    """Whether the files are those of `CIFT_BENCH_DATA`."""
    return DATA in os.environ


def prepare(folder: Path) -> tuple[Case, Case]:
    """The files of quotes (of the sample: trades) and of bars, copied into the folder."""
    place = str(folder)
    if are_real():
        columns = ("timestamp", "open", "close", "high", "low", "volume")
        cases = (
            Case(place, "EURUSD-quotes-fxcm.csv.gz", "quotes"),
            Case(place, "BTCUSD-1m-2017-09_12.csv.gz", "bars", "BTCUSD", "1m", columns),
        )
    else:
        cases = (
            Case(place, "BTCUSDT-trades.csv.gz", "ticks"),
            Case(place, "XAUUSD-1h.csv.gz", "bars", "XAUUSD", "1h", unit="iso"),
        )
    for case in cases:
        shutil.copyfile(Path(os.environ.get(DATA, SAMPLE)) / case.path, folder / case.path)
    return cases


def table(case: Case) -> pa.Table:
    """The file's columns as they stand in it."""
    return arrow_csv.read_csv(
        Path(case.folder) / case.path, arrow_csv.ReadOptions(column_names=case.header or [])
    )


def frame(case: Case) -> pd.DataFrame:
    """The file's rows as the raw client takes them: the columns that our table has, and no others."""
    columns = table(case)
    unit = "s" if case.unit == "iso" else case.unit
    times = columns["timestamp"].cast(pa.timestamp(unit)).cast(pa.timestamp("ns")).to_numpy()
    symbol = columns["symbol"].to_pandas() if case.symbol is None else [case.symbol] * len(times)
    found: dict[str, Any] = {
        "timestamp": pd.DatetimeIndex(times, tz="UTC"),
        "symbol": pd.Categorical(symbol),
    }
    for name in ("open", "high", "low", "close", "volume", "bid", "ask", "price", "trade_id"):
        if name in columns.column_names:
            found[name] = columns[name].to_pandas()
    if case.interval:
        found["interval"] = pd.Categorical([case.interval]).repeat(len(times))
    return pd.DataFrame(found)


def send_raw(stores: Stores, case: Case, rows: pd.DataFrame) -> float:
    """Seconds from the first `Sender.dataframe` until all rows are visible, in a new table like ours."""
    stores.questdb.execute("DROP TABLE IF EXISTS raw")
    stores.questdb.execute(TABLES[case.kind].replace(f"EXISTS {case.kind}", "EXISTS raw"))
    symbols = ["symbol", "interval"] if case.interval else ["symbol"]
    with Sender.from_conf(sender_conf(stores.settings.questdb_http_url)) as sender:
        began = time.perf_counter()
        for begin in range(0, len(rows), RAW_ROWS):
            part = rows[begin : begin + RAW_ROWS]
            sender.dataframe(part, table_name="raw", symbols=symbols, at="timestamp")
            sender.flush()
        stores.questdb.wait_visible("raw")
        elapsed_s = time.perf_counter() - began
    ((count,),) = stores.questdb.fetch("SELECT count() FROM raw")
    assert count == len(rows), (count, len(rows))
    return elapsed_s


def longer(case: Case, *, rows: int | None = None, size_bytes: int | None = None) -> Case:
    """A plain CSV file of so many of the file's rows or bytes: the file again and again, each time later."""
    path = Path(case.folder) / f"longer-{rows or size_bytes}.csv"
    columns = table(case)
    times = columns["timestamp"].to_numpy()
    span = int(times[-1] - times[0]) // 86_400_000 * 86_400_000 + 86_400_000
    place = columns.column_names.index("timestamp")
    options = arrow_csv.WriteOptions(include_header=case.header is None, quoting_style="none")
    left, copies = rows, 0
    with arrow_csv.CSVWriter(path, columns.schema, write_options=options) as out:
        while (left or 0) > 0 or path.stat().st_size < (size_bytes or 0):
            taken = columns.slice(0, left)
            shifted = pc.add(taken["timestamp"], copies * span)
            out.write_table(taken.set_column(place, "timestamp", shifted))
            left, copies = None if left is None else left - len(taken), copies + 1
    return replace(case, path=path.name)
