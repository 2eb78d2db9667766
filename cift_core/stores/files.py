"""Files: data files below `CIFT_DATA_DIR`, uploads in their private folder, both read within caps."""

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast
from uuid import UUID, uuid4

from cift_core.errors import FieldError, InvalidInput, StoreUnavailable, did_you_mean
from cift_core.settings import Settings
from cift_core.stores.data_paths import bad_path, check_spelling, is_open_to_all
from cift_core.stores.unpacking import PACKINGS, Packing, open_packed, reading

MAX_LINE_BYTES = 65_536
MAX_RATIO = 200  # gzip reaches 1032 on a bomb, and 5 to 40 on market data
RATIO_FLOOR_BYTES = 16 * 2**20  # below this no ratio does harm
_UPLOAD_CHUNK_BYTES = 2**20
_UPLOAD_SUFFIX = ".upload"
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Upload:
    """A file that was sent: `id` becomes the id of the ingestion that reads it."""

    id: UUID
    path: Path
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Block:
    """Whole lines of a file, each ending in a newline; `first_line` counts from 1 in the file."""

    first_line: int
    data: bytes


def store_upload(settings: Settings, stream: BinaryIO) -> Upload:
    """The upload, written to a private file (folder 0700, file 0600) and flushed to the disk.

    Raises:
        InvalidInput: `upload_too_large`; nothing is kept.
        StoreUnavailable: the disk does not take it.
    """
    upload_id, digest, size_bytes = uuid4(), hashlib.sha256(), 0
    path = _upload_path(settings, upload_id)
    try:
        settings.upload_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            for chunk in _capped(stream, settings.max_upload_bytes):
                size_bytes += len(chunk)
                digest.update(chunk)
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _unavailable(error) from error
        raise
    return Upload(upload_id, path, digest.hexdigest(), size_bytes)


def remove_upload(settings: Settings, upload_id: UUID) -> None:
    """Remove an uploaded file; fine when it is gone already."""
    _upload_path(settings, upload_id).unlink(missing_ok=True)


def list_uploads(settings: Settings) -> dict[UUID, datetime]:
    """The ids of the uploaded files, and when each was written."""
    found = settings.upload_dir.glob(f"*{_UPLOAD_SUFFIX}")
    return {UUID(path.stem): datetime.fromtimestamp(path.lstat().st_mtime, UTC) for path in found}


class DataFile:
    """A file open for reading, unpacked on the way, within the caps. Close it, or use it in a `with`.

    Raises:
        InvalidInput: a zip archive that is damaged, or holds something else than one file.
    """

    def __init__(self, raw: BinaryIO, *, max_unpacked_bytes: int) -> None:
        self.raw = raw
        self.packing: Packing | None = _packing(raw)
        self.max_unpacked_bytes = max_unpacked_bytes
        self._stream = open_packed(raw, self.packing)
        self._unpacked_bytes = 0
        self.size_bytes = os.fstat(raw.fileno()).st_size

    def __enter__(self) -> "DataFile":
        return self

    def __exit__(self, *exception: object) -> None:
        self.raw.close()

    def begins_with(self, magic: bytes) -> bool:
        """Whether these are the first bytes on the disk; nothing counts as read."""
        place = self.raw.tell()
        self.raw.seek(0)
        found = self.raw.read(len(magic)) == magic
        self.raw.seek(place)
        return found

    def head(self, size: int) -> Block | None:
        """The first lines, about `size` bytes of them, None of an empty file; nothing counts as read.

        Raises:
            InvalidInput: those of `blocks`.
        """
        first = next(self.blocks(size), None)
        self.raw.seek(0)
        self._stream = open_packed(self.raw, self.packing)
        self._unpacked_bytes = 0
        return first

    def fraction_read(self) -> float:
        """How much of the file on the disk was read, 0 to 1."""
        return min(1.0, self.raw.tell() / self.size_bytes) if self.size_bytes else 1.0

    def blocks(self, block_bytes: int) -> Iterator[Block]:
        """The lines in blocks of about `block_bytes`; a byte order mark is dropped, a last newline added.

        Raises:
            InvalidInput: `gzip_truncated`, `gzip_corrupt`, `zip_corrupt`, `compression_bomb`,
                `unpacked_too_large`, `line_too_long`.
        """
        line, rest = 1, b""
        while data := self._read(block_bytes):
            if line == 1 and not rest:
                data = data.removeprefix(_BOM)
            end = data.rfind(b"\n") + 1
            if end:
                block = Block(line, rest + data[:end])
                line, rest = line + block.data.count(b"\n"), data[end:]
                yield block
            else:
                rest += data
            if len(rest) > MAX_LINE_BYTES:
                raise line_too_long(line)
        if rest:
            yield Block(line, rest + b"\n")

    def _read(self, size: int) -> bytes:
        try:
            with reading(self.packing):
                data = self._stream.read(size)
        except OSError as error:
            raise _unavailable(error) from error
        self._unpacked_bytes += len(data)
        self._check_caps()
        return data

    def _check_caps(self) -> None:
        if self._unpacked_bytes > self.max_unpacked_bytes:
            raise InvalidInput(
                "unpacked_too_large",
                f"The file holds more than {self.max_unpacked_bytes:,} bytes unpacked, the most this server "
                "takes (CIFT_MAX_UNPACKED_BYTES). Split it.",
            )
        if self._unpacked_bytes > max(RATIO_FLOOR_BYTES, MAX_RATIO * self.raw.tell()):
            raise InvalidInput(
                "compression_bomb",
                f"The file unpacks to more than {MAX_RATIO} times its size; market data does not. "
                "Send it unpacked if it is real.",
            )


def _packing(raw: BinaryIO) -> Packing | None:
    head = raw.read(4)
    raw.seek(0)
    return next((packing for packing, magic in PACKINGS.items() if head.startswith(magic)), None)


def line_too_long(line: int) -> InvalidInput:
    """The error for a line no record can need."""
    return InvalidInput(
        "line_too_long",
        f"Line {line:,} is longer than {MAX_LINE_BYTES:,} bytes; a CSV file has one record a line.",
    )


def open_upload(settings: Settings, upload_id: UUID) -> BinaryIO:
    """The uploaded file, for reading.

    Raises:
        InvalidInput: `upload_gone`.
    """
    try:
        return cast("BinaryIO", _upload_path(settings, upload_id).open("rb"))
    except FileNotFoundError as error:
        raise InvalidInput("upload_gone", "The uploaded file is gone; send it again.") from error
    except OSError as error:
        raise _unavailable(error) from error


def open_data_file(settings: Settings, path: str) -> BinaryIO:
    """The regular file at `path` below `CIFT_DATA_DIR`, for reading.

    Links are resolved first, and may not lead out of the folder, into a hidden one or to the uploads; the
    resolved path is then walked without following any.

    Raises:
        InvalidInput: with the pointer /source/path.
    """
    check_spelling(path)
    base = settings.data_dir.resolve()
    try:
        resolved = (base / path).resolve(strict=True)
        if not is_open_to_all(settings, base, resolved):
            raise bad_path("leads out of the data folder, or to a hidden part of it")
        return _open_regular(base, resolved.relative_to(base))
    except (FileNotFoundError, NotADirectoryError) as error:
        near = did_you_mean(path, _siblings(settings, base, path))
        raise bad_path(f"there is no file {path!r} below the data folder{near}") from error
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise bad_path("can't be read by the server") from error


def _open_regular(base: Path, inside: Path) -> BinaryIO:
    folder = os.open(base, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in inside.parts[:-1]:
            parent, folder = (
                folder,
                os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder),
            )
            os.close(parent)
        # not blocking, or a named pipe would hold the process
        name = inside.name or "."
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise bad_path("is not a regular file")
    return os.fdopen(descriptor, "rb")


def _siblings(settings: Settings, base: Path, path: str) -> list[str]:
    parent = PurePosixPath(path).parent
    folder = (base / parent).resolve()
    if not folder.is_dir() or not is_open_to_all(settings, base, folder):
        return []
    return sorted(str(parent / entry.name) for entry in os.scandir(folder) if not entry.name.startswith("."))


def _upload_path(settings: Settings, upload_id: UUID) -> Path:
    return settings.upload_dir / f"{upload_id}{_UPLOAD_SUFFIX}"


def _capped(stream: BinaryIO, max_bytes: int) -> Iterator[bytes]:
    size_bytes = 0
    while chunk := stream.read(_UPLOAD_CHUNK_BYTES):
        size_bytes += len(chunk)
        if size_bytes > max_bytes:
            detail = f"is larger than {max_bytes:,} bytes, the most this server takes (CIFT_MAX_UPLOAD_BYTES)"
            raise InvalidInput(
                "upload_too_large",
                f"The file {detail}. Put it below CIFT_DATA_DIR and name it as source.path.",
                [FieldError("/file", detail)],
            )
        yield chunk


def _unavailable(error: OSError) -> StoreUnavailable:
    return StoreUnavailable("files_unavailable", f"The server's disk refuses ({error.strerror}); try again.")
