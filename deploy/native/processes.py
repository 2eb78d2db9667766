"""The processes a stack left behind when its supervisor was killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

TERM_TIMEOUT_S = 20.0
KILL_TIMEOUT_S = 10.0


def of_session(session: int, folders: Iterable[Path]) -> list[int]:
    """The live processes of the session that work in one of `folders`.

    Both must hold: a session id may be used again by a stranger, and a stranger may stand in our folder.
    """
    inside = [folder.resolve() for folder in folders]
    return [pid for pid in _all_pids() if _session(pid) == session and _stands_in(pid, inside)]


def end(session: int, folders: list[Path]) -> None:
    """End every process of the session: asked first (SIGTERM), then made to (SIGKILL)."""
    for signal_number, timeout_s in ((signal.SIGTERM, TERM_TIMEOUT_S), (signal.SIGKILL, KILL_TIMEOUT_S)):
        for pid in of_session(session, folders):
            send(pid, signal_number)
        deadline = time.monotonic() + timeout_s
        while of_session(session, folders) and time.monotonic() < deadline:
            time.sleep(0.05)


def send(pid: int, signal_number: int) -> None:
    """Send a signal; a process that is already gone is fine."""
    try:
        os.kill(pid, signal_number)
    except ProcessLookupError:
        return


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def _stands_in(pid: int, folders: list[Path]) -> bool:
    try:
        where = Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return False
    return any(where.is_relative_to(folder) for folder in folders)
