"""Which files a request for an ingestion names."""

from collections.abc import Mapping
from typing import Any, Final

from cift_core.errors import InvalidInput
from cift_core.services.request_fields import Fields
from cift_core.settings import Settings
from cift_core.stores.data_paths import is_pattern, matching_files
from cift_core.stores.files import Upload

MAX_FILES: Final = 1_000


def paths_of_source(settings: Settings, source: Fields, upload: Upload | None) -> dict[str, Any]:
    """`path` as it was asked for, and where it may be several files, `paths`: the files by name."""
    given = [name for name in ("path", "paths") if source.values.get(name) is not None]
    if upload is not None:
        for name in given:
            source.wrong(f"/{name}", "leave it out: a file was sent along")
        return {"path": None}
    if not given:
        source.wrong("/path", "is missing: the file's path below the data folder; or send the file along")
    if len(given) > 1:
        source.wrong("/paths", "leave it out: path is given")
    if "path" in given:
        path = source.text("path")
        if path is None or not is_pattern(path):
            return {"path": path}
        return {"path": path, "paths": _matching(settings, source, {"/path": path})}
    return {"path": None, "paths": _matching(settings, source, _listed(source))} if given else {"path": None}


def _listed(source: Fields) -> dict[str, str]:
    paths = source.values["paths"]
    if not isinstance(paths, list) or not paths:
        source.wrong("/paths", "must be a list of paths")
        return {}
    listed = {}
    for place, path in enumerate(paths):
        if isinstance(path, str) and path:
            listed[f"/paths/{place}"] = path
        else:
            source.wrong(f"/paths/{place}", "must be a string that is not empty")
    return listed


def _matching(settings: Settings, source: Fields, patterns: Mapping[str, str]) -> list[str]:
    found: set[str] = set()
    for pointer, pattern in patterns.items():
        try:
            matching = matching_files(settings, pattern)
        except InvalidInput as error:
            source.wrong(pointer, error.errors[0].detail)
            continue
        if not matching:
            source.wrong(pointer, f"there is no file {pattern!r} below the data folder")
        found.update(matching)
    if len(found) > MAX_FILES:
        source.wrong("", f"names {len(found):,} files, at most {MAX_FILES:,} go into one ingestion")
        return []
    return sorted(found)
