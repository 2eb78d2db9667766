"""Packed files as streams: gzip, and zip archives of one file, whatever bytes claim to be one."""

import gzip
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final, Literal, cast

from cift_core.errors import InvalidInput

Packing = Literal["gz", "zip"]
PACKINGS: Final[dict[Packing, bytes]] = {"gz": b"\x1f\x8b", "zip": b"PK\x03\x04"}
MAX_DIRECTORY_BYTES = 65_536  # a zip archive's list of what it holds; one file takes about 100
_END = struct.Struct("<4s4H2LH")
_END_MAGIC, _ZIP64_MAGIC, _ZIP64_BYTES = b"PK\x05\x06", b"PK\x06\x07", 20
_MACOS_FOLDER = "__MACOSX/"  # what its Finder adds to every archive
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # others may ask for gigabytes of memory
_ENCRYPTED = 1


def open_packed(raw: BinaryIO, packing: Packing | None) -> BinaryIO:
    """The unpacked bytes of a file, as a stream.

    Raises:
        InvalidInput: `zip_corrupt`, `zip_members`, `zip_encrypted`, `zip_method`.
    """
    if packing == "gz":
        return cast("BinaryIO", gzip.GzipFile(fileobj=raw))
    return _open_zip(raw) if packing == "zip" else raw


@contextmanager
def reading(packing: Packing | None) -> Iterator[None]:
    """Says of packed bytes that are damaged what is wrong with them.

    Raises:
        InvalidInput: `gzip_truncated`, `gzip_corrupt`, `zip_corrupt`.
    """
    try:
        yield
    except EOFError as error:
        if packing == "zip":
            raise _corrupt(error) from error
        raise InvalidInput(
            "gzip_truncated", "The gzip file ends in the middle: it was cut off. Send it again."
        ) from error
    except (gzip.BadGzipFile, zipfile.BadZipFile, zlib.error) as error:
        if packing == "zip":
            raise _corrupt(error) from error
        raise InvalidInput(
            "gzip_corrupt", f"The gzip file is damaged ({error}); `gzip -t` shows it. Send a good copy."
        ) from error


def _open_zip(raw: BinaryIO) -> BinaryIO:
    _check_directory(raw)
    with reading("zip"):
        try:
            archive = zipfile.ZipFile(raw)
            members = [
                member
                for member in archive.infolist()
                if not member.is_dir() and not member.filename.startswith(_MACOS_FOLDER)
            ]
            if len(members) != 1:
                raise InvalidInput(
                    "zip_members", f"The zip archive holds {len(members)} files; it must hold exactly one."
                )
            (member,) = members
            if member.flag_bits & _ENCRYPTED:
                raise InvalidInput("zip_encrypted", "The zip archive is encrypted; send it without.")
            if member.compress_type not in _METHODS:
                raise InvalidInput(
                    "zip_method", "The zip archive is packed by another method than deflate; use gzip or zip."
                )
            return cast("BinaryIO", archive.open(member))
        except (NotImplementedError, ValueError, struct.error, OverflowError) as error:
            raise _corrupt(error) from error


def _check_directory(raw: BinaryIO) -> None:
    """Refuse a directory that would take much memory, before it is read."""
    size = raw.seek(0, 2)
    raw.seek(max(0, size - _END.size - 65_535 - _ZIP64_BYTES))
    tail = raw.read()
    raw.seek(0)
    place = len(tail) - _END.size
    if not (tail[place:].startswith(_END_MAGIC) and tail.endswith(b"\0\0")):
        place = tail.rfind(_END_MAGIC)
    if place < 0 or len(tail) - place < _END.size:
        raise InvalidInput(
            "zip_corrupt", "The zip archive has no end: it was cut off or damaged. Send it again."
        )
    directory_bytes = _END.unpack_from(tail, place)[5]
    if tail[max(0, place - _ZIP64_BYTES) : place].startswith(_ZIP64_MAGIC):
        raise InvalidInput("zip_members", "Zip archives above 4 GiB are not read; use gzip.")
    if directory_bytes > MAX_DIRECTORY_BYTES:
        raise InvalidInput(
            "zip_members", "The zip archive lists hundreds of files or more; it must hold exactly one."
        )


def _corrupt(error: Exception) -> InvalidInput:
    return InvalidInput(
        "zip_corrupt", f"The zip archive is damaged ({error}); `unzip -t` shows it. Send a good copy."
    )
