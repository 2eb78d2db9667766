"""CSV lines as columns of text, a whole block at a time; a line that is no record is set aside."""

import csv
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from cift_core.errors import InvalidInput
from cift_core.services.records import Records, text_of
from cift_core.services.text_lines import OK, SHAPE, Lines
from cift_core.stores.files import MAX_LINE_BYTES, Block

_COMMA = ord(",")
_HALF_LINE = MAX_LINE_BYTES // 2  # a line that is too long has one of these, counted from the block's start


def split_csv(
    block: Block, column_count: int, wanted: Sequence[int], types: Sequence[pa.DataType] = ()
) -> Records:
    """The records of a block of CSV lines with `column_count` fields each, and of those the `wanted` ones.

    A record is one line: a quoted field holds no newline (RFC 4180 otherwise). The columns are of the `types`
    where every line is whole and every value of its type or empty, and otherwise text.

    Raises:
        InvalidInput: `line_too_long`.
    """
    if types and (records := _typed(block, column_count, wanted, types)):
        return records
    lines = Lines(block)
    lines.fault[(lines.fault == OK) & ~_has_right_shape(lines, column_count)] = SHAPE
    good = lines.fault == OK

    def faults() -> Iterator[tuple[int, str]]:
        for row in lines.faulty():
            wrong_shape = lines.fault[row] == SHAPE
            yield row, _wrong_shape(lines, row, column_count) if wrong_shape else lines.reason(row)

    columns = _columns(lines, good, column_count, wanted)
    rows = np.flatnonzero(good)
    return Records(lines.first_line, len(lines), columns, rows, faults, lines.raw, text_of(columns))


def first_record(block: Block) -> tuple[str, ...]:
    """The fields of a block's first line, without surrounding blanks.

    Raises:
        InvalidInput: `not_text`.
    """
    first, _, _ = block.data.partition(b"\n")
    if b"\0" in block.data:
        raise InvalidInput("not_text", "The file is not text: it holds NUL bytes. Save it as CSV in UTF-8.")
    if b"\r" in first.removesuffix(b"\r"):
        raise InvalidInput("not_text", "The lines end in CR alone; save the file with LF or CRLF.")
    try:
        fields = next(csv.reader([first.decode("utf-8").removesuffix("\r")], strict=True), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput("not_text", f"The first line is not CSV in UTF-8 ({error}).") from error
    return tuple(field.strip() for field in fields)


def _typed(
    block: Block, column_count: int, wanted: Sequence[int], types: Sequence[pa.DataType]
) -> Records | None:
    """The records of a block without a fault in it; None of one that may have any, or is not plain."""
    if not _is_plain(block.data):
        return None
    try:
        table = _read(block.data, column_count, wanted, types, quote_char=False)
    except pa.ArrowInvalid:
        return None
    if table.num_rows != block.data.count(b"\n"):
        return None
    columns = tuple(column.combine_chunks() for column in table.columns)
    if _may_be_empty(columns):
        return None
    lines = cache(lambda: Lines(block))  # only what is refused needs them

    def text(column: int, row: int) -> str:
        return lines().line(row).split(b",")[wanted[column]].strip().decode()

    rows = np.arange(table.num_rows)
    return Records(
        block.first_line, len(rows), columns, rows, lambda: iter(()), lambda row: lines().raw(row), text
    )


def _is_plain(data: bytes) -> bool:
    """Whether a block is lines of ASCII without quotes, none too long; 0x1F is a number to Arrow."""
    return (
        data.isascii()
        and b'"' not in data
        and b"\0" not in data
        # one byte is looked for a hundred times as fast as two
        and not (b"x" in data and b"0x" in data)
        and not (b"X" in data and b"0X" in data)
        and (b"\r" not in data or data.count(b"\r") == data.count(b"\r\n"))
        and all(
            data.find(b"\n", begin, begin + _HALF_LINE) >= 0
            for begin in range(0, len(data) - _HALF_LINE, _HALF_LINE)
        )
    )


def _may_be_empty(columns: Sequence[pa.Array]) -> bool:
    """Whether a line may be empty: Arrow reads it as a record without any value."""
    return all(column.null_count or not pa.types.is_primitive(column.type) for column in columns)


def _read(
    data: bytes,
    column_count: int,
    wanted: Sequence[int],
    types: Sequence[pa.DataType],
    quote_char: str | Literal[False],
) -> pa.Table:
    names = [f"c{index}" for index in range(column_count)]
    chosen = [names[index] for index in wanted]
    return arrow_csv.read_csv(
        pa.BufferReader(data),
        # one block: the lines were checked, and none is to be split between two
        read_options=arrow_csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=names),
        parse_options=arrow_csv.ParseOptions(quote_char=quote_char, ignore_empty_lines=False),
        convert_options=arrow_csv.ConvertOptions(
            column_types=dict(zip(chosen, types, strict=True)),
            include_columns=chosen,
            null_values=[""],
            strings_can_be_null=False,
        ),
    )


def _columns(
    lines: Lines, good: np.ndarray, column_count: int, wanted: Sequence[int]
) -> tuple[pa.StringArray, ...]:
    count = int(good.sum())
    if count == 0:
        return tuple(pa.array([], pa.string()) for _ in wanted)
    data = lines.data
    if count < len(good):
        data = lines.bytes[np.repeat(good, np.diff(lines.ends, prepend=-1))].tobytes()
    quote_char: str | Literal[False] = '"' if b'"' in data else False
    table = _read(data, column_count, wanted, [pa.string()] * len(wanted), quote_char)
    if table.num_rows != count:
        raise InvalidInput(
            "unreadable_csv", f"The lines from {lines.first_line:,} on do not read as one CSV record each."
        )
    return tuple(pc.ascii_trim_whitespace(column.combine_chunks()) for column in table.columns)


def _has_right_shape(lines: Lines, column_count: int) -> np.ndarray:
    if b'"' in lines.data:
        offsets = np.append(lines.starts, len(lines.data)).astype(np.int32)
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(lines.data)]
        text = pa.Array.from_buffers(pa.binary(), len(lines.starts), buffers)
        matches = pc.match_substring_regex(text, _record_pattern(column_count))
        return np.asarray(matches.to_numpy(zero_copy_only=False))
    commas = np.flatnonzero(lines.bytes == _COMMA)
    counts = np.diff(np.searchsorted(commas, np.append(lines.starts, len(lines.data))))
    return np.asarray(counts == column_count - 1)


def _wrong_shape(lines: Lines, row: int, column_count: int) -> str:
    """Why the line does not have as many fields as the header."""
    try:
        found = len(next(csv.reader([lines.line(row).decode("utf-8")], strict=True)))
    except csv.Error:
        return 'the quotes do not match (a field is quoted as "…", a quote in it doubled)'
    if found == column_count:
        return 'a quote stands inside a field that is not quoted (write it as "…", the quote doubled)'
    return f"{found} field{'s' * (found != 1)}, expected {column_count}"


@lru_cache(maxsize=8)
def _record_pattern(column_count: int) -> str:
    field = r'(?:"(?:[^"]|"")*"|[^",\r\n]*)'
    return rf"\A{field}(?:,{field}){{{column_count - 1}}}\r?\n\z"
