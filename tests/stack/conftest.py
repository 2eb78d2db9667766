"""What a stack leaves in the process table."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from deploy.native import postgres
from deploy.native.environment import USUAL_PORTS, password
from deploy.native.stack import Stack
from tests.waiting import wait_for

LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
LISTEN = "0A"


def command_lines(root: Path) -> dict[int, str]:
    """The command line of every live process that works below the stack's folders, by process id."""
    folders = [root.resolve(), postgres.home(root).resolve()]
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            where = (entry / "cwd").readlink()
            text = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if entry.name.isdigit() and any(where.is_relative_to(folder) for folder in folders):
            found[int(entry.name)] = text
    return found


def wait_for_successor(stack: Stack, name: str, before: int) -> None:
    """Return when the supervisor has a process of this program that is not the one from `before`."""
    wait_for(
        lambda: [info for info in stack.status() if info["name"] == name and info["pid"] not in (0, before)]
    )


def listening_ports(stack: Stack) -> set[int]:
    """The TCP ports that the stack's processes listen on; fails if any is open beyond loopback."""
    inodes = {inode for pid in command_lines(stack.root) for inode in _socket_inodes(pid)}
    listening = [
        fields[1].rsplit(":", 1)
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for fields in map(str.split, Path(table).read_text().splitlines()[1:])
        if fields[3] == LISTEN and fields[9] in inodes
    ]
    assert {address for address, _ in listening} <= LOOPBACK
    return {int(number, 16) for _, number in listening}


def secrets_on_command_lines(stack: Stack) -> list[str]:
    """The command lines of the stack's processes that show one of its secrets."""
    secrets = [
        stack.env[name] for name in ("CIFT_SECRET_KEY", "CIFT_ENCRYPTION_KEYS", "CIFT_FLOWER_PASSWORD")
    ]
    secrets += [secret for key in USUAL_PORTS if (secret := password(stack.env, key))]
    lines = command_lines(stack.root).values()
    return [line for line in lines if any(secret in line for secret in secrets)]


def _socket_inodes(pid: int) -> list[str]:
    """The inodes of a process's sockets; none when it has ended meanwhile."""
    links = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                links.append(os.readlink(entry))
    return [found[1] for link in links if (found := re.fullmatch(r"socket:\[(\d+)\]", link))]
