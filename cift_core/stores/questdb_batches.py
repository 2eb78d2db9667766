"""What is written to QuestDB at once: columns, a frame of rows, or rows one by one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from questdb import Sender

from cift_core.stores.questdb_exports import literal

# the client refuses to send more than 100 MB at once
REQUEST_ROWS = 100_000
REQUEST_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Rows:
    """Rows to append to one table: a frame whose columns are the table's, and their designated timestamp.

    `at` names the frame's timestamp column (datetime64, UTC) or is one moment for all rows; `symbols` names
    the SYMBOL columns.
    """

    table: str
    frame: pd.DataFrame
    at: str | datetime
    symbols: tuple[str, ...] = ()

    def put_into(self, sender: Sender) -> None:
        """Buffer the rows, and send what is more than fits into one request."""
        for begin in range(0, len(self.frame), REQUEST_ROWS):
            if begin:
                sender.flush()
            sender.dataframe(
                self.frame[begin : begin + REQUEST_ROWS],
                table_name=self.table,
                symbols=list(self.symbols) or False,
                at=self.at,
            )


_TIME_TYPES: Final = {"datetime64[us]": "timestamp", "datetime64[ns]": "timestamp_ns"}
_CONSTANT_TYPES: Final = {"ingestion_id": "uuid"}  # of others: symbol


@dataclass(frozen=True)
class Columns:
    """Many rows of one table by column, and what is the same in all of them.

    `times` is the designated `timestamp`: datetime64[us] or [ns], as fine as the table's. `columns` are
    arrays of numbers, and for SYMBOL columns dictionaries of text; a column left out is null.
    """

    table: str
    times: np.ndarray
    columns: Mapping[str, pa.Array]
    constants: Mapping[str, str]

    def put_into(self, sender: Sender) -> None:
        """Buffer the rows, and send what is more than fits into one request."""
        frame: dict[str, Any] = {"timestamp": pd.DatetimeIndex(self.times, tz="UTC")}
        frame |= {name: column.to_pandas() for name, column in self.columns.items()}
        codes = np.zeros(len(self.times), dtype=np.int8)
        frame |= {
            name: pd.Categorical.from_codes(codes, pd.Index([text])) for name, text in self.constants.items()
        }
        symbols = (*self._texts(), *(name for name in self.constants if name not in _CONSTANT_TYPES))
        Rows(self.table, pd.DataFrame(frame), "timestamp", symbols).put_into(sender)

    def write_parquet(self, path: Path) -> None:
        """Write the times and columns to a new file that QuestDB reads fast: plain, one row group."""
        # text: QuestDB can't read a dictionary of which a column uses nothing
        texts = {name: self.columns[name].cast(pa.string()) for name in self._texts()}
        table = pa.table({"timestamp": self.times.view(np.int64), **self.columns, **texts})
        pq.write_table(
            table,
            path,
            row_group_size=len(table),
            use_dictionary=list(texts),
            compression="none",
            write_statistics=False,
            store_schema=False,
        )

    def insertion(self, file_name: str) -> str:
        """The statement that inserts what `write_parquet` wrote."""
        names = ["timestamp", *self.constants, *self.columns]
        # not bound: QuestDB takes what is bound here for values of other columns
        constants = [
            f"cast({literal(text)} AS {_CONSTANT_TYPES.get(name, 'symbol')})"
            for name, text in self.constants.items()
        ]
        selected = [f"cast(timestamp AS {_TIME_TYPES[str(self.times.dtype)]})", *constants, *self.columns]
        return (
            f"INSERT INTO {self.table} ({', '.join(names)})"  # noqa: S608  names of ours
            f" SELECT {', '.join(selected)} FROM read_parquet('{file_name}')"
        )

    def _texts(self) -> list[str]:
        return [name for name, column in self.columns.items() if pa.types.is_dictionary(column.type)]


@dataclass(frozen=True)
class Records:
    """Rows to append to one table one by one, for what a frame can't hold: arrays. `at` is as in `Rows`."""

    table: str
    columns: Sequence[dict[str, Any]]
    at: datetime

    def put_into(self, sender: Sender) -> None:
        """Buffer the rows, and send what is more than fits into one request."""
        for columns in self.columns:
            if len(sender) > REQUEST_BYTES:
                sender.flush()
            sender.row(self.table, columns=columns, at=self.at)
