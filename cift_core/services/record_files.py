"""The file of an ingestion: its format told by its first bytes, its columns, its records in chunks."""

import re
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Protocol, Self
from uuid import UUID

import pyarrow as pa

from cift_core.errors import FieldError, InvalidInput
from cift_core.services.columns import Layout
from cift_core.services.csv_records import first_record, split_csv
from cift_core.services.json_records import member_names, split_json
from cift_core.services.parquet_records import ParquetFile
from cift_core.services.records import MAX_COLUMNS, Records
from cift_core.settings import Settings
from cift_core.stores.files import Block, DataFile, open_data_file, open_upload

FORMATS: Final = ("csv", "csv.gz", "csv.zip", "parquet", "jsonl", "jsonl.gz", "jsonl.zip")
_PARQUET_MAGIC = b"PAR1"
_HEAD_BYTES = 65_536


class _Content(Protocol):
    """What a format knows of its file."""

    def names(self, header: Sequence[str] | None) -> tuple[str, ...]: ...

    def errors(self, source: Mapping[str, Any]) -> list[FieldError]: ...

    def chunks(
        self, header: Sequence[str] | None, wanted: Mapping[str, pa.DataType], chunk_bytes: int
    ) -> Iterator[Records]: ...

    def fraction_read(self) -> float: ...


class RecordFile:
    """The file of a request's `source`, open; `format` is the one it has. Use it in a `with`.

    Raises:
        InvalidInput: it can't be read, or is not of the format stated.
    """

    def __init__(self, settings: Settings, source: Mapping[str, Any], upload_id: UUID | None) -> None:
        path = source["path"]
        raw = open_data_file(settings, path) if upload_id is None else open_upload(settings, upload_id)
        try:
            file = DataFile(raw, max_unpacked_bytes=settings.max_unpacked_bytes)
            self.format, self._content = _recognised(file)
            _check_format(source["format"], self.format)
        except BaseException:
            raw.close()
            raise
        self._raw = raw
        self._header: list[str] | None = source["header"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._raw.close()

    def names(self) -> tuple[str, ...]:
        """The names of the file's columns: the header's, or else the file's own."""
        return self._content.names(self._header)

    def errors(self, source: Mapping[str, Any]) -> list[FieldError]:
        """What of the source does not fit the file, its columns' names aside."""
        return self._content.errors(source)

    def chunks(self, layout: Layout, chunk_bytes: int) -> Iterator[Records]:
        """The records with the layout's columns, in its order; a chunk is about `chunk_bytes`.

        Raises:
            InvalidInput: the file can't be read to its end.
        """
        wanted = {name: layout.type_of(ours) for ours, name in layout.columns.items()}
        return self._content.chunks(self._header, wanted, chunk_bytes)

    def fraction_read(self) -> float:
        """How much of the file was read, 0 to 1."""
        return self._content.fraction_read()


class _Csv:
    def __init__(self, file: DataFile, head: Block) -> None:
        self._file = file
        self._head = head
        self.fraction_read = file.fraction_read

    def names(self, header: Sequence[str] | None) -> tuple[str, ...]:
        return tuple(header) if header else first_record(self._head)

    def errors(self, source: Mapping[str, Any]) -> list[FieldError]:
        first, header = first_record(self._head), source["header"]
        if header is None:
            return _header_line_errors(first)
        if len(header) != len(first):
            detail = f"names {len(header)} columns; the file's first line has {len(first)} fields"
            return [FieldError("/source/header", detail)]
        return []

    def chunks(
        self, header: Sequence[str] | None, wanted: Mapping[str, pa.DataType], chunk_bytes: int
    ) -> Iterator[Records]:
        names = self.names(header)
        places, types = [names.index(name) for name in wanted], list(wanted.values())
        for block in self._file.blocks(chunk_bytes):
            records = block if header or block.first_line > 1 else _without_first_line(block)
            if records.data:
                yield split_csv(records, len(names), places, types)


class _Json:
    def __init__(self, file: DataFile, head: Block) -> None:
        self._file = file
        self._head = head
        self.fraction_read = file.fraction_read

    def names(self, header: Sequence[str] | None) -> tuple[str, ...]:
        return member_names(self._head)

    def errors(self, source: Mapping[str, Any]) -> list[FieldError]:
        return _no_header(source)

    def chunks(
        self, header: Sequence[str] | None, wanted: Mapping[str, pa.DataType], chunk_bytes: int
    ) -> Iterator[Records]:
        return (split_json(block, list(wanted)) for block in self._file.blocks(chunk_bytes))


class _Parquet:
    def __init__(self, file: DataFile) -> None:
        self._file = ParquetFile(file.raw, file.max_unpacked_bytes)
        self.fraction_read = self._file.fraction_read

    def names(self, header: Sequence[str] | None) -> tuple[str, ...]:
        return self._file.names

    def errors(self, source: Mapping[str, Any]) -> list[FieldError]:
        unit = source["timestamp_unit"] or "iso"
        return _no_header(source) + self._file.type_errors(source["columns"] or {}, unit)

    def chunks(
        self, header: Sequence[str] | None, wanted: Mapping[str, pa.DataType], chunk_bytes: int
    ) -> Iterator[Records]:
        return self._file.chunks(list(wanted))


def _recognised(file: DataFile) -> tuple[str, _Content]:
    if file.begins_with(_PARQUET_MAGIC):
        return "parquet", _Parquet(file)
    head = file.head(_HEAD_BYTES)
    if head is None:
        raise InvalidInput("empty_file", "The file is empty.")
    suffix = f".{file.packing}" if file.packing else ""
    if head.data.lstrip().startswith(b"{"):
        return f"jsonl{suffix}", _Json(file, head)
    return f"csv{suffix}", _Csv(file, head)


def _check_format(stated: str | None, found: str) -> None:
    if stated not in (None, found):
        detail = f"is {stated}, but the file is {found}"
        raise InvalidInput("wrong_format", f"source.format {detail}.", [FieldError("/source/format", detail)])


def _without_first_line(block: Block) -> Block:
    return Block(2, block.data[block.data.index(b"\n") + 1 :])


def _no_header(source: Mapping[str, Any]) -> list[FieldError]:
    if source["header"] is None:
        return []
    return [FieldError("/source/header", "leave it out: the file names its columns itself")]


def _header_line_errors(names: Sequence[str]) -> list[FieldError]:
    if len(names) == 1:
        mark = next((mark for mark in ";\t|" if mark in names[0]), None)
        hint = f"; they seem to be parted by {mark!r}" if mark else ""
        return [
            FieldError("/source/path", f"the first line has one field; fields are parted by commas{hint}")
        ]
    if len(names) > MAX_COLUMNS:
        return [FieldError("/source/path", f"has {len(names)} columns, at most {MAX_COLUMNS} are read")]
    if all(re.fullmatch(r"[-+.:\dTZeE ]*\d[-+.:\dTZeE ]*", name) for name in names):
        detail = "the file's first line is a record, not a header; name the columns here, in their order"
        return [FieldError("/source/header", detail)]
    return []
