"""The processes of a server: found, frozen, sent signals."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.waiting import freeze


@contextmanager
def frozen(*roots: int) -> Iterator[None]:
    """With these processes and all that descend from them standing still."""
    still: list[int] = []
    try:
        # a server that forks while it is looked at has children that the first look missed
        while moving := [pid for root in roots for pid in family(root) if pid not in still]:
            for pid in moving:
                still.append(pid)
                freeze(pid)
        yield
    finally:
        for pid in still:
            send_signal(pid, signal.SIGCONT)


def family(pid: int) -> list[int]:
    """The process and all that descend from it, whatever process group they are in."""
    parents = {}
    for entry in Path("/proc").iterdir():
        try:
            status = (entry / "stat").read_text()
        except OSError:
            continue
        if entry.name.isdigit():
            parents[int(entry.name)] = int(status.rpartition(")")[2].split()[1])
    found = [pid]
    for ancestor in found:  # grows as we walk
        found += [child for child, parent in parents.items() if parent == ancestor]
    return found


def send_signal(pid: int, number: int) -> None:
    """Send a signal; a process that is already gone is fine."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
