"""Fixtures for every test: the real servers, started once per run on free ports in a folder of their own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.native.stack import Stack


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """PostgreSQL, two Redis servers and QuestDB, migrated; the application's processes are not started."""
    stack = Stack(Path(tempfile.mkdtemp(prefix="cift-test-")))
    stack.up(servers_only=True)
    yield stack
    stack.delete()


@pytest.fixture
def stop_server(stack: Stack) -> Iterator[Callable[[str], None]]:
    """Stops a server by name for the length of one test; it answers again before the next one."""
    stopped = []

    def stop(name: str) -> None:
        stopped.append(name)
        stack.stop(name)

    yield stop
    for name in stopped:
        stack.start(name)
