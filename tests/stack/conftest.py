"""Stacks of a test's own, and what they leave in the process table."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.native import postgres
from deploy.native.stack import Stack


@pytest.fixture
def lone_stack() -> Iterator[Stack]:
    """A stack that is not up yet, for one test alone."""
    stack = Stack(Path(tempfile.mkdtemp(prefix="cift-test-")))
    yield stack
    stack.delete()


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
