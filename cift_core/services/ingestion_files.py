"""The files of one ingestion: their chunks one after the other, and the balance of each."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from cift_core.errors import InvalidInput
from cift_core.models import IngestionFile
from cift_core.services.ingestion_requests import layout_of
from cift_core.services.market_rows import ParsedChunk, parse_rows
from cift_core.services.paging import decode_cursor, encode_cursor
from cift_core.services.record_files import RecordFile
from cift_core.services.rejects import Tally
from cift_core.settings import Settings


@dataclass(frozen=True)
class FileChunk:
    """One chunk of the file at a place (from 0) among the ingestion's; how much of all is read with it."""

    place: int
    path: str | None
    parsed: ParsedChunk
    fraction_read: float


def paths_of(request: Mapping[str, Any]) -> Sequence[str | None]:
    """The files of a full request, in their order; None is the one that was sent along."""
    source = request["source"]
    return source.get("paths") or [source["path"]]


def chunks_of(
    settings: Settings, request: Mapping[str, Any], ingestion_id: UUID, chunk_bytes: int
) -> Iterator[FileChunk]:
    """The records of all files, checked, in chunks of about `chunk_bytes`.

    Raises:
        InvalidInput: a file can't be read to its end; with its name, where there are several.
    """
    paths = paths_of(request)
    for place, path in enumerate(paths):
        upload_id = ingestion_id if path is None else None
        with (
            _named(path if len(paths) > 1 else None),
            RecordFile(settings, request["source"] | {"path": path}, upload_id) as file,
        ):
            layout = layout_of(request, file.names())
            for records in file.chunks(layout, chunk_bytes):
                parsed = parse_rows(records, layout)
                yield FileChunk(place, path, parsed, (place + file.fraction_read()) / len(paths))


def begin_files(session: Session, ingestion_id: UUID, request: Mapping[str, Any]) -> None:
    """Note the files of an attempt that begins, nothing of them counted yet."""
    session.execute(delete(IngestionFile).where(IngestionFile.ingestion_id == ingestion_id))
    rows = [
        {"ingestion_id": ingestion_id, "place": place, "path": path}
        for place, path in enumerate(paths_of(request))
    ]
    session.execute(insert(IngestionFile), rows)


def count_file(session: Session, ingestion_id: UUID, place: int, tally: Tally) -> None:
    """Keep the counts of one file so far."""
    session.execute(
        update(IngestionFile)
        .where(IngestionFile.ingestion_id == ingestion_id, IngestionFile.place == place)
        .values(**asdict(tally))
        .execution_options(synchronize_session=False)
    )


def page_of_files(
    session: Session, ingestion_id: UUID, *, cursor: str | None, limit: int
) -> tuple[list[IngestionFile], str | None]:
    """A page of the files of an ingestion in their order, and the cursor of the next page.

    Raises:
        InvalidInput: the cursor is none of this list.
    """
    query = select(IngestionFile).where(IngestionFile.ingestion_id == ingestion_id)
    if cursor is not None:
        (last,) = decode_cursor(cursor, int)
        query = query.where(IngestionFile.place > last)
    found = list(session.scalars(query.order_by(IngestionFile.place).limit(limit + 1)))
    return found[:limit], encode_cursor(found[limit - 1].place) if len(found) > limit else None


@contextmanager
def _named(path: str | None) -> Iterator[None]:
    try:
        yield
    except InvalidInput as error:
        if path is None:
            raise
        raise InvalidInput(error.code, f"{path}: {error.message}", error.errors) from error
