"""Folders that are watched: what is new in them is submitted, each content once.

A folder below `CIFT_DATA_DIR` is watched when it holds a file `cift-watch.json`: whose ingestions they are
(`owner`, an e-mail address), which files (`files`, a pattern; all when left out), and the `request`, as for
`POST /ingestions` without a path.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cift_core.errors import InvalidInput, NotFound
from cift_core.logs import logger
from cift_core.models import Ingestion, JobStatus, User, WatchedContent, WatchedFile
from cift_core.services import alerts, audit, ingestions
from cift_core.services.users import user_by_email
from cift_core.settings import Settings
from cift_core.stores import Stores
from cift_core.stores.data_paths import matching_files
from cift_core.stores.file_states import FileState, digest_of, state_of

log = logger(__name__)
TEMPLATE: Final = "cift-watch.json"
_FIELDS: Final = {"owner", "files", "request"}
_MAX_TEMPLATE_BYTES: Final = 65_536


@dataclass(frozen=True)
class NewFile:
    """A file that is whole, as far as can be seen, and is not handled yet."""

    folder: str
    path: str
    state: FileState
    sha256: str
    owner_email: str
    request: Mapping[str, Any]


def new_files(stores: Stores) -> Iterator[NewFile]:
    """The files to submit now, one by one: those that did not change since they were looked at last.

    Raises:
        StoreUnavailable: a store does not answer.
    """
    for folder in _watched(stores.settings):
        template = _template(stores.settings, folder)
        if template is None:
            continue
        states = _states(stores.settings, folder, template.get("files", "*"))
        with stores.postgres.transaction() as session:
            settled = _settled(session, states)
        for path, state in settled:
            sha256 = digest_of(stores.settings, path)
            if sha256 is not None:
                yield NewFile(folder, path, state, sha256, template["owner"], template["request"])


def submit(session: Session, settings: Settings, new: NewFile) -> Ingestion | None:
    """The file's ingestion, failed at once where it can't run as asked; None when its content is known.

    Raises:
        StoreUnavailable: the disk does not answer.
    """
    try:
        owner = user_by_email(session, new.owner_email)
    except NotFound as error:
        log.warning("watch.unusable", folder=new.folder, detail=f"{TEMPLATE} owner: {error.message}")
        return None
    handled = (
        update(WatchedFile)
        .where(
            WatchedFile.path == new.path,
            WatchedFile.size_bytes == new.state.size_bytes,
            WatchedFile.mtime_ns == new.state.mtime_ns,
            ~WatchedFile.handled,
        )
        .values(handled=True)
    )
    if session.execute(handled.returning(WatchedFile.path)).first() is None or _is_known(session, new):
        return None
    ingestion = _submitted(session, settings, owner, new)
    audit.record(
        session,
        audit.Actor(owner.id, None, None, None, None),
        action="submit_watched_file",
        resource="ingestions",
        resource_id=ingestion.id,
        result="done" if ingestion.error is None else "refused",
        details={"path": new.path, "sha256": new.sha256},
    )
    return ingestion


def _submitted(session: Session, settings: Settings, owner: User, new: NewFile) -> Ingestion:
    source = {**new.request.get("source", {}), "path": new.path}
    request = {**new.request, "source": {"type": "file", **source}}
    try:
        ingestion = ingestions.submit(session, settings, owner.id, request)
    except InvalidInput as error:
        told = "; ".join(f"{one.pointer} {one.detail}" for one in error.errors) or error.message
        failure = {"code": error.code, "detail": f"{new.path} can't be ingested as {TEMPLATE} says: {told}"}
        failed = Ingestion(
            owner_id=owner.id,
            request=request,
            status=JobStatus.FAILED,
            error=failure,
            finished_at=func.now(),
        )
        session.add(failed)
        session.flush()
        alerts.alert_owners(session, Ingestion.__tablename__, [(failed.id, owner.id, failure)])
        return failed
    session.add(
        WatchedContent(folder=new.folder, sha256=new.sha256, path=new.path, ingestion_id=ingestion.id)
    )
    return ingestion


def _is_known(session: Session, new: NewFile) -> bool:
    key = {"folder": new.folder, "sha256": new.sha256}
    return session.get(WatchedContent, key) is not None


def _states(settings: Settings, folder: str, pattern: str) -> dict[str, FileState]:
    try:
        found = matching_files(settings, _inside(folder, pattern))
    except InvalidInput as error:
        log.warning("watch.unusable", folder=folder, detail=error.message)
        return {}
    paths = [path for path in found if path != _inside(folder, TEMPLATE)]
    return {path: state for path in paths if (state := state_of(settings, path))}


def _settled(session: Session, states: Mapping[str, FileState]) -> list[tuple[str, FileState]]:
    """The files that are as they were when last looked at and not handled; others are noted."""
    query = select(WatchedFile).where(WatchedFile.path.in_(states))
    known = {file.path: file for file in session.scalars(query)}
    settled, changed = [], []
    for path, state in states.items():
        file = known.get(path)
        if file is None or FileState(file.size_bytes, file.mtime_ns) != state:
            changed.append({"path": path, "handled": False, **vars(state)})
        elif not file.handled:
            settled.append((path, state))
    if changed:
        statement = insert(WatchedFile)
        columns = {name: statement.excluded[name] for name in ("size_bytes", "mtime_ns", "handled")}
        session.execute(statement.on_conflict_do_update(index_elements=["path"], set_=columns), changed)
    return settled


def _watched(settings: Settings) -> Iterator[str]:
    base = settings.data_dir.resolve()
    for folder, folders, names in os.walk(base):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if TEMPLATE in names:
            yield os.path.relpath(folder, base)


def _template(settings: Settings, folder: str) -> dict[str, Any] | None:
    """What the folder's template says; None, and a line in the log, when it can't be used."""
    try:
        with (settings.data_dir / folder / TEMPLATE).open("rb") as file:
            template = json.loads(file.read(_MAX_TEMPLATE_BYTES))
        problem = _problem(template)
    except (OSError, ValueError) as error:
        template, problem = None, f"is not readable as JSON ({error})"
    if problem is not None:
        log.warning("watch.unusable", folder=folder, detail=f"{TEMPLATE} {problem}")
        return None
    found: dict[str, Any] = template
    return found


def _problem(template: object) -> str | None:
    if not isinstance(template, dict) or not template.keys() <= _FIELDS:
        return f"must be an object with the members {', '.join(sorted(_FIELDS))}"
    request = template.get("request")
    if not isinstance(request, dict) or not isinstance(request.get("source", {}), dict):
        return "needs `request`, an object as for POST /ingestions"
    if not isinstance(template.get("owner"), str):
        return "needs `owner`, the e-mail address of a user"
    files = template.get("files", "*")
    if not isinstance(files, str) or not re.fullmatch(r"[^/\\.\0][^/\\\0]{0,200}", files):
        return "has `files` that is no pattern of names such as '*.csv.gz'"
    return None


def _inside(folder: str, name: str) -> str:
    return name if folder == "." else f"{folder}/{name}"
