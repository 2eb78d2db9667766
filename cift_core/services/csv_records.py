"""CSV lines as columns of text, a whole block at a time; a line that is no record is set aside."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from cift_core.errors import InvalidInput
from cift_core.stores.files import MAX_LINE_BYTES, Block, line_too_long

MAX_COLUMNS = 500
RAW_CHARS = 500
_OK, _EMPTY, _NUL, _RETURN, _ENCODING, _SHAPE = range(6)
_REASONS = {
    _EMPTY: "the line is empty",
    _NUL: "the line contains a NUL byte",
    _RETURN: "the line contains a carriage return that does not end it",
    _ENCODING: "the line is not UTF-8 text",
}
_NEWLINE, _CARRIAGE_RETURN, _COMMA = b"\n\r,"


@dataclass(frozen=True)
class Records:
    """The records of one block.

    `columns` holds the columns asked for, as text without surrounding blanks, one value a good record;
    `rows` is the index in the block of each good record's line.
    """

    lines: "Lines"
    columns: tuple[pa.StringArray, ...]
    rows: np.ndarray

    def faults(self) -> Iterator[tuple[int, str]]:
        """(index of the line in the block, why it is no record), in order."""
        for row in np.flatnonzero(self.lines.fault):
            code = int(self.lines.fault[row])
            yield int(row), _REASONS.get(code) or self.lines.wrong_shape(int(row))


class Lines:
    """The lines of a block: where each starts and ends, and what is wrong with its bytes."""

    def __init__(self, block: Block, column_count: int) -> None:
        self.first_line = block.first_line
        self.data = block.data
        self.column_count = column_count
        self.bytes = np.frombuffer(block.data, dtype=np.uint8)
        self.ends = np.flatnonzero(self.bytes == _NEWLINE)
        self.starts = np.concatenate(([0], self.ends[:-1] + 1))
        lengths = self.ends - self.starts
        if lengths.max() > MAX_LINE_BYTES:
            raise line_too_long(self.first_line + int(np.argmax(lengths > MAX_LINE_BYTES)))
        self.fault = np.full(len(self.ends), _OK, dtype=np.int8)
        self._find_faults(lengths)

    def raw(self, row: int) -> str:
        """The line's text, cut to `RAW_CHARS`; what is no printable text is shown as escapes."""
        data = self.data[self.starts[row] : self.ends[row]].removesuffix(b"\r")
        text = data.decode("utf-8", errors="backslashreplace").replace("\0", "\\x00")
        return text if len(text) <= RAW_CHARS else text[: RAW_CHARS - 1] + "…"

    def wrong_shape(self, row: int) -> str:
        """Why the line does not have as many fields as the header."""
        text = self.data[self.starts[row] : self.ends[row]].decode("utf-8")
        try:
            found = len(next(csv.reader([text], strict=True)))
        except csv.Error:
            return 'the quotes do not match (a field is quoted as "…", a quote in it doubled)'
        if found == self.column_count:
            return 'a quote stands inside a field that is not quoted (write it as "…", the quote doubled)'
        return f"{found} field{'s' * (found != 1)}, expected {self.column_count}"

    def _find_faults(self, lengths: np.ndarray) -> None:
        self.fault[~self._has_right_shape()] = _SHAPE
        high = np.flatnonzero(self.bytes >= 128)
        if len(high):
            for row in np.unique(np.searchsorted(self.ends, high)):
                if not _is_utf8(self.data[self.starts[row] : self.ends[row]]):
                    self.fault[row] = _ENCODING
        returns = np.flatnonzero(self.bytes == _CARRIAGE_RETURN)
        inside = returns[self.bytes[returns + 1] != _NEWLINE]
        self.fault[np.searchsorted(self.ends, inside)] = _RETURN
        self.fault[np.searchsorted(self.ends, np.flatnonzero(self.bytes == 0))] = _NUL
        self.fault[(lengths == 0) | ((lengths == 1) & (self.bytes[self.starts] == _CARRIAGE_RETURN))] = _EMPTY

    def _has_right_shape(self) -> np.ndarray:
        if b'"' in self.data:
            offsets = np.append(self.starts, len(self.data)).astype(np.int32)
            buffers = [None, pa.py_buffer(offsets), pa.py_buffer(self.data)]
            lines = pa.Array.from_buffers(pa.binary(), len(self.starts), buffers)
            matches = pc.match_substring_regex(lines, _record_pattern(self.column_count))
            return np.asarray(matches.to_numpy(zero_copy_only=False))
        commas = np.flatnonzero(self.bytes == _COMMA)
        counts = np.diff(np.searchsorted(commas, np.append(self.starts, len(self.data))))
        return np.asarray(counts == self.column_count - 1)


def split_records(block: Block, column_count: int, wanted: Sequence[int]) -> Records:
    """The records of a block of CSV lines with `column_count` fields each, and of those the `wanted` ones.

    A record is one line: a quoted field holds no newline (RFC 4180 otherwise).

    Raises:
        InvalidInput: `line_too_long`.
    """
    lines = Lines(block, column_count)
    good = lines.fault == _OK
    rows = np.flatnonzero(good)
    if len(rows) == 0:
        return Records(lines, tuple(pa.array([], pa.string()) for _ in wanted), rows)
    data = block.data
    if len(rows) < len(good):
        data = lines.bytes[np.repeat(good, np.diff(lines.ends, prepend=-1))].tobytes()
    names = [f"c{index}" for index in range(column_count)]
    table = arrow_csv.read_csv(
        pa.BufferReader(data),
        # one block: the lines were checked, and none is to be split between two
        read_options=arrow_csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=names),
        parse_options=arrow_csv.ParseOptions(
            quote_char='"' if b'"' in data else False, ignore_empty_lines=False
        ),
        convert_options=arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            include_columns=[names[index] for index in wanted],
            strings_can_be_null=False,
        ),
    )
    if table.num_rows != len(rows):
        raise InvalidInput(
            "unreadable_csv", f"The lines from {block.first_line:,} on do not read as one CSV record each."
        )
    columns = (pc.ascii_trim_whitespace(column.combine_chunks()) for column in table.columns)
    return Records(lines, tuple(columns), rows)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


@lru_cache(maxsize=8)
def _record_pattern(column_count: int) -> str:
    field = r'(?:"(?:[^"]|"")*"|[^",\r\n]*)'
    return rf"\A{field}(?:,{field}){{{column_count - 1}}}\r?\n\z"
