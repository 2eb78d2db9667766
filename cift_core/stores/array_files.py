"""Arrays kept in local files, mapped into memory when read: a cache that is bounded by bytes and by age."""

import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import numpy as np

from cift_core.logs import logger

log = logger(__name__)
TTL_S: Final = 86_400.0
_HEAD_BYTES: Final = 4_096  # a page: the columns behind it are aligned
_SUFFIX: Final = ".arrays"


class ArrayFiles:
    """Equally long columns of 8 bytes a value by name, and what is to be known of them, as JSON.

    The processes of one machine share the folder. At most `max_bytes` are kept: the longest unused go first,
    and each goes a day after it was written. A disk that refuses is a cache that is empty.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    def get(self, name: str) -> tuple[dict[str, Any], list[np.ndarray]] | None:
        """What was put under the name, if it is there; the columns may be written to, the file is not."""
        path = self._path(name)
        try:
            if path.stat().st_mtime < time.time() - TTL_S:
                path.unlink(missing_ok=True)
                return None
            with path.open("rb") as file:
                known: dict[str, Any] = json.loads(file.read(_HEAD_BYTES))
            shape = len(known["types"]), known["length"]
            columns = np.memmap(path, dtype=np.int64, mode="c", offset=_HEAD_BYTES, shape=shape)
            os.utime(path, (time.time(), path.stat().st_mtime))
        except (OSError, ValueError):
            return None  # not there, removed meanwhile, or not whole
        views = [np.asarray(column).view(kind) for column, kind in zip(columns, known["types"], strict=True)]
        return known["about"], views

    def put(self, name: str, about: dict[str, Any], columns: Sequence[np.ndarray]) -> None:
        """Keep the columns under the name, in the place of those that were unused for longest."""
        head = {"types": [column.dtype.str for column in columns], "length": len(columns[0]), "about": about}
        text = json.dumps(head).encode().ljust(_HEAD_BYTES)
        size_bytes = len(text) + sum(column.nbytes for column in columns)
        if size_bytes > self._max_bytes or len(text) > _HEAD_BYTES:
            return
        new = self._folder / f"{uuid4().hex}.new"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._make_room(size_bytes)
            with new.open("xb") as file:
                file.write(text)
                for column in columns:
                    file.write(np.ascontiguousarray(column).data)
            new.replace(self._path(name))
        except OSError:
            log.warning("arrays.not_kept", exc_info=True)
            with suppress(OSError):
                new.unlink(missing_ok=True)

    def _make_room(self, size_bytes: int) -> None:
        now, kept = time.time(), []
        for entry in os.scandir(self._folder):
            stat = entry.stat()
            if stat.st_mtime < now - TTL_S:
                Path(entry.path).unlink(missing_ok=True)
            else:
                kept.append((stat.st_atime, stat.st_size, entry.path))
        used = sum(size for _, size, _ in kept)
        for _, size, path in sorted(kept):
            if used + size_bytes <= self._max_bytes:
                return
            Path(path).unlink(missing_ok=True)
            used -= size

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}{_SUFFIX}"
