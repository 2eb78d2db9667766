"""JSON lines as columns of text, numbers with every digit as they stand in the file."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from cift_core.errors import InvalidInput
from cift_core.services.records import Records, text_of
from cift_core.services.text_lines import OK, SHAPE, Lines
from cift_core.stores.files import Block

_LITERALS = {None: "", True: "true", False: "false"}
# numbers stay text: a price is read once, by the code that reads every format's
_decode = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str).decode


def split_json(block: Block, wanted: Sequence[str]) -> Records:
    """The records of a block of lines with one JSON object each, and of those the members `wanted`.

    A member that is not there, or null, is empty text.

    Raises:
        InvalidInput: `line_too_long`.
    """
    lines = Lines(block)
    reasons: dict[int, str] = {}
    taken: list[list[str]] = []
    for row in np.flatnonzero(lines.fault == OK):
        values = _members(lines.line(int(row)), wanted)
        if isinstance(values, str):
            reasons[int(row)], lines.fault[row] = values, SHAPE
        else:
            taken.append(values)

    def faults() -> Iterator[tuple[int, str]]:
        for row in lines.faulty():
            yield row, reasons.get(row) or lines.reason(row)

    columns = (
        tuple(map(_column, zip(*taken, strict=True))) if taken else (pa.array([], pa.string()),) * len(wanted)
    )
    rows = np.flatnonzero(lines.fault == OK)
    return Records(lines.first_line, len(lines), columns, rows, faults, lines.raw, text_of(columns))


def member_names(block: Block) -> tuple[str, ...]:
    """The names in the objects of the block's lines, in the order of their first appearance.

    Raises:
        InvalidInput: `not_json`, for a first line that is no object.
    """
    names: dict[str, None] = {}
    lines = [line for line in block.data.split(b"\n") if line.strip()]
    for line in lines:
        try:
            record = _decode(line.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            if line is not lines[0]:
                continue
            raise InvalidInput("not_json", f"The first line is not a JSON object ({error}).") from error
        names |= dict.fromkeys(record if isinstance(record, dict) else ())
    return tuple(names)


def _members(line: bytes, wanted: Sequence[str]) -> list[str] | str:
    """The members of a line's object, or why there are none."""
    try:
        record: Any = _decode(line.decode("utf-8"))
    except json.JSONDecodeError as error:
        return f"not JSON: {error.msg} (column {error.colno})"
    except RecursionError:
        return "not JSON that can be read: too deep"
    if not isinstance(record, dict):
        return "not a JSON object"
    values = []
    for name in wanted:
        value = record.get(name)
        if isinstance(value, dict | list):
            return f"{name} is neither a number nor text"
        values.append(value.strip() if isinstance(value, str) else _LITERALS[value])
    return values


def _column(values: Sequence[str]) -> pa.StringArray:
    try:
        return pa.array(values, pa.string())
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can write and no text holds
        return pa.array([value.encode(errors="backslashreplace").decode() for value in values], pa.string())
