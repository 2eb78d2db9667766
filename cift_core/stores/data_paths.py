"""Paths below `CIFT_DATA_DIR`: which may be read, and which files a pattern stands for."""

import os
import re
from collections.abc import Iterator
from fnmatch import translate
from pathlib import Path
from typing import Final

from cift_core.errors import FieldError, InvalidInput
from cift_core.settings import Settings

_MAGIC: Final = re.compile(r"[*?\[]")


def is_pattern(path: str) -> bool:
    """Whether a path may stand for several files."""
    return _MAGIC.search(path) is not None


def matching_files(settings: Settings, pattern: str) -> list[str]:
    """The files that a pattern stands for, by name: itself, if there is one called so. `*` ends at a `/`.

    Hidden files are none of them, nor are those that links lead to outside of the data folder.

    Raises:
        InvalidInput: with the pointer /source/path; the pattern itself leads out of the folder.
    """
    check_spelling(pattern)
    base = settings.data_dir.resolve()
    if (base / pattern).is_file():
        return [pattern]
    found = _below(base, "", pattern.split("/"))
    return sorted(path for path in found if is_open_to_all(settings, base, (base / path).resolve()))


def _below(base: Path, folder: str, parts: list[str]) -> Iterator[str]:
    matches = re.compile(translate(parts[0])).match
    try:
        entries = [entry for entry in os.scandir(base / folder) if matches(entry.name)]
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    for entry in entries:
        path = f"{folder}/{entry.name}" if folder else entry.name
        if entry.name.startswith("."):
            continue
        if len(parts) > 1:
            yield from _below(base, path, parts[1:])
        elif entry.is_file():
            yield path


def check_spelling(path: str) -> None:
    """Refuse a path that is not a plain one inside of the data folder.

    Raises:
        InvalidInput: with the pointer /source/path.
    """
    parts = path.split("/")
    if path.startswith("/"):
        raise bad_path("must be relative to the data folder (CIFT_DATA_DIR), without a leading '/'")
    if ".." in parts:
        raise bad_path("must not contain '..'")
    if "\0" in path or "\\" in path or "" in parts or len(path) > 1024:
        raise bad_path("must be a plain path such as 'folder/file.csv'")
    if any(part.startswith(".") for part in parts):
        raise bad_path("hidden files and folders are not read")


def is_open_to_all(settings: Settings, base: Path, resolved: Path) -> bool:
    """Whether a path without links is inside of the data folder `base`, not hidden, and no upload."""
    return (
        resolved.is_relative_to(base)
        and not any(part.startswith(".") for part in resolved.relative_to(base).parts)
        and not resolved.is_relative_to(settings.upload_dir.resolve())
    )


def bad_path(detail: str) -> InvalidInput:
    """The error for a path that can't be read."""
    return InvalidInput("invalid_path", f"source.path {detail}.", [FieldError("/source/path", detail)])
