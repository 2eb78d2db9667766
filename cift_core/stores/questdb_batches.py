"""What is written to QuestDB at once: a frame of rows, or rows one by one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd
from questdb import Sender

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
