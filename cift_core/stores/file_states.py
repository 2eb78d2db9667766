"""Files below `CIFT_DATA_DIR`: whether one has changed, and what is in it."""

import hashlib
import os
from dataclasses import dataclass

from cift_core.errors import InvalidInput, StoreUnavailable
from cift_core.settings import Settings
from cift_core.stores.files import open_data_file

_READ_BYTES = 2**20


@dataclass(frozen=True)
class FileState:
    """By what a file is seen to have changed."""

    size_bytes: int
    mtime_ns: int


def state_of(settings: Settings, path: str) -> FileState | None:
    """The state of a file; None when it is gone or can't be read."""
    try:
        with open_data_file(settings, path) as file:
            found = os.fstat(file.fileno())
    except InvalidInput:
        return None
    return FileState(found.st_size, found.st_mtime_ns)


def digest_of(settings: Settings, path: str) -> str | None:
    """The SHA-256 of a file, in hex; None when it is gone or can't be read.

    Raises:
        StoreUnavailable: the disk does not answer.
    """
    digest = hashlib.sha256()
    try:
        with open_data_file(settings, path) as file:
            while data := file.read(_READ_BYTES):
                digest.update(data)
    except InvalidInput:
        return None
    except OSError as error:
        reason = f"The server's disk refuses ({error.strerror}); try again."
        raise StoreUnavailable("files_unavailable", reason) from error
    return digest.hexdigest()
