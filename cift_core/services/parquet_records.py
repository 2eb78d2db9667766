"""Parquet rows as columns, typed as in the file where that loses nothing."""

from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cift_core.errors import FieldError, InvalidInput
from cift_core.services.records import Records, cut, text_of

CHUNK_ROWS = 131_072
MAX_GROUP_BYTES = 1 << 30  # a row group's column is unpacked page by page, yet never trust one page


class ParquetFile:
    """A Parquet file's columns and rows.

    Raises:
        InvalidInput: `parquet_corrupt`, `unpacked_too_large`.
    """

    def __init__(self, raw: BinaryIO, max_unpacked_bytes: int) -> None:
        try:
            self._file = pq.ParquetFile(raw, memory_map=False, pre_buffer=False)
            self.schema: pa.Schema = self._file.schema_arrow
        except (pa.ArrowException, OSError) as error:
            raise _corrupt(error) from error
        self._max_unpacked_bytes = max_unpacked_bytes
        self._rows_read = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, in the file's order."""
        return tuple(self.schema.names)

    def fraction_read(self) -> float:
        """How much of the rows was read, 0 to 1."""
        return self._rows_read / max(1, int(self._file.metadata.num_rows))

    def type_errors(self, columns: Mapping[str, str], timestamp_unit: str) -> list[FieldError]:
        """Each mapped column of a type that holds nothing of the kind, and a time unit that does not fit."""
        errors = []
        for ours, name in columns.items():
            if name in self.names and not _is_read(self.schema.field(name).type):
                detail = f"{name} is of type {self.schema.field(name).type}, which is not read"
                errors.append(FieldError(f"/source/columns/{ours}", detail))
        time = columns.get("timestamp")
        if time in self.names:
            kind = self.schema.field(time).type
            if pa.types.is_temporal(kind) and timestamp_unit != "iso":
                detail = f"leave it out: {time} is of type {kind}, which says its unit"
                errors.append(FieldError("/source/timestamp_unit", detail))
            elif _is_number(kind) and timestamp_unit == "iso":
                detail = f"say s, ms, us or ns: {time} is of type {kind}"
                errors.append(FieldError("/source/timestamp_unit", detail))
        return errors

    def chunks(self, wanted: Sequence[str]) -> Iterator[Records]:
        """The rows, `CHUNK_ROWS` at a time.

        Raises:
            InvalidInput: `parquet_corrupt`, `unpacked_too_large`.
        """
        self._check_caps(wanted)
        try:
            for batch in self._file.iter_batches(CHUNK_ROWS, columns=list(wanted), use_threads=False):
                columns = tuple(_readable(batch.column(name)) for name in wanted)
                first = self._rows_read + 1
                self._rows_read += batch.num_rows
                yield self._records(first, dict(zip(wanted, columns, strict=True)))
        except (pa.ArrowException, OSError) as error:
            raise _corrupt(error) from error

    def _records(self, first: int, columns: Mapping[str, pa.Array]) -> Records:
        arrays = tuple(columns.values())
        count = len(arrays[0])
        shown = [name for name in self.names if name in columns]

        def raw(row: int) -> str:
            return cut(", ".join(f"{name}={columns[name][row].as_py()}" for name in shown))

        return Records(first, count, arrays, np.arange(count), lambda: iter(()), raw, text_of(arrays))

    def _check_caps(self, wanted: Sequence[str]) -> None:
        """Refuse what its own description says is too much to unpack."""
        metadata = self._file.metadata
        sizes = [
            group.column(index).total_uncompressed_size
            for group in map(metadata.row_group, range(metadata.num_row_groups))
            for index in range(group.num_columns)
            if group.column(index).path_in_schema.split(".")[0] in wanted
        ]
        as_arrays = 8 * metadata.num_rows * len(wanted)
        if max(sum(sizes), as_arrays) > self._max_unpacked_bytes:
            raise InvalidInput(
                "unpacked_too_large",
                f"The file holds more than {self._max_unpacked_bytes:,} bytes unpacked, the most this server "
                "takes (CIFT_MAX_UNPACKED_BYTES). Split it.",
            )
        if max(sizes, default=0) > MAX_GROUP_BYTES:
            raise InvalidInput(
                "unpacked_too_large",
                f"A row group holds more than {MAX_GROUP_BYTES:,} bytes of one column. "
                "Write the file with smaller row groups.",
            )


def _readable(column: pa.Array) -> pa.Array:
    """Numbers and moments as they are, everything else as text without surrounding blanks."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if pa.types.is_float16(kind):
        return pc.cast(column, pa.float64())
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_timestamp(kind):
        return column
    if pa.types.is_date(kind):
        return pc.cast(column, pa.timestamp("ms"))
    text = pc.fill_null(pc.cast(column, pa.string()), "")
    return pc.ascii_trim_whitespace(text)


def _is_read(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    is_moment = pa.types.is_timestamp(kind) or pa.types.is_date(kind)
    return is_text or is_moment or _is_number(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _corrupt(error: Exception) -> InvalidInput:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return InvalidInput("parquet_corrupt", f"The file does not read as Parquet ({lines[0][:200]}).")
