"""Bytes that are kept for the length of a job and would take too much memory: in a file without a name."""

import os
import tempfile
import weakref

from cift_core.errors import StoreUnavailable


class Spool:
    """Pieces of bytes, each to be read again by its place; gone with the object.

    Raises:
        StoreUnavailable: the disk does not take or give them.
    """

    def __init__(self) -> None:
        try:
            with tempfile.TemporaryFile() as file:
                self._descriptor = os.dup(file.fileno())
        except OSError as error:
            raise _unavailable(error) from error
        weakref.finalize(self, os.close, self._descriptor)
        self._size_bytes = 0

    def append(self, data: bytes) -> int:
        """The place of this piece."""
        place, written = self._size_bytes, 0
        try:
            while written < len(data):
                written += os.pwrite(self._descriptor, data[written:], place + written)
        except OSError as error:
            raise _unavailable(error) from error
        self._size_bytes += written
        return place

    def read(self, place: int, size_bytes: int) -> bytes:
        """The piece of this size at a place."""
        try:
            return os.pread(self._descriptor, size_bytes, place)
        except OSError as error:
            raise _unavailable(error) from error


def _unavailable(error: OSError) -> StoreUnavailable:
    return StoreUnavailable("files_unavailable", f"The worker's disk refuses ({error.strerror}); try again.")
