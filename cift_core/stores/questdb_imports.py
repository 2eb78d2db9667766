"""Rows into QuestDB by files in a folder that it shares with us: the server reads them in bulk."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

import psycopg

from cift_core.errors import StoreUnavailable
from cift_core.stores.questdb_batches import Columns

_PREFIX: Final = "cift-"
LEFT_AFTER_S: Final = 3600.0  # no import takes so long


def insert_by_file(folder: Path, columns: Columns, execute: Callable[[str], None]) -> None:
    """Append the rows by a file that is there as long as the statement runs.

    Raises:
        StoreUnavailable: the folder can't be written, or is none that the server reads.
    """
    path = folder / f"{_PREFIX}{uuid4()}.parquet"
    try:
        columns.write_parquet(path)
        execute(columns.insertion(path.name))
    except OSError as error:
        raise _unavailable(f"can't be written ({os.strerror(error.errno or 0)})") from error
    except psycopg.DatabaseError as error:
        if "error reading parquet file" not in str(error):
            raise
        raise _unavailable("must be the server's cairo.sql.copy.root: it finds no file there") from error
    finally:
        path.unlink(missing_ok=True)


def remove_left_files(folder: Path) -> int:
    """How many files were removed that processes which died had left in the folder."""
    removed = 0
    for path in folder.glob(f"{_PREFIX}*"):
        with suppress(FileNotFoundError):  # just imported
            if time.time() - path.stat().st_mtime > LEFT_AFTER_S:
                path.unlink()
                removed += 1
    return removed


def _unavailable(why: str) -> StoreUnavailable:
    return StoreUnavailable("import_dir_unavailable", f"QuestDB's import folder {why}.")
