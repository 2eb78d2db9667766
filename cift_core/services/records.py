"""Records as they come out of a file, a chunk at a time, before anything is known of what they mean."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

MAX_COLUMNS = 500
RAW_CHARS = 500


@dataclass(frozen=True)
class Records:
    """The records of one chunk.

    `columns` holds the columns asked for, one value a good record: text without surrounding blanks, or typed
    where the file has types or every value was of the type expected. `rows` is the index in the chunk of each
    good record, `count` how many records there are in all, `first_place` the place (line or row, from 1) of
    the chunk's first in the file. `faults` gives (index in the chunk, why it is no record) in order; `raw` a
    record's text; `text` one value as it stands in the file, by its column's and its good record's index.
    """

    first_place: int
    count: int
    columns: tuple[pa.Array, ...]
    rows: np.ndarray
    faults: Callable[[], Iterator[tuple[int, str]]]
    raw: Callable[[int], str]
    text: Callable[[int, int], str]


def text_of(columns: Sequence[pa.Array]) -> Callable[[int, int], str]:
    """`Records.text` of columns whose values are as they stand in the file; a missing one is empty text."""

    def text(column: int, row: int) -> str:
        value = columns[column][row].as_py()
        return "" if value is None else str(value)

    return text


def cut(text: str) -> str:
    """The text as it is kept of a refused record: at most `RAW_CHARS`, NUL shown as an escape."""
    text = text.replace("\0", "\\x00")
    return text if len(text) <= RAW_CHARS else text[: RAW_CHARS - 1] + "…"
