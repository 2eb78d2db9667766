"""Waiting for a condition, with a deadline: nothing here sleeps for a length of time and hopes."""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


class Deadline:
    """Fails the test when a condition does not come true in time; waits a little between two looks."""

    def __init__(self, timeout_s: float) -> None:
        self._clock = time.monotonic
        self._end = self._clock() + timeout_s
        self._pause = threading.Event()

    def check(self, what: object = "") -> None:
        assert self._clock() < self._end, f"not true in time: {what}"
        self._pause.wait(0.02)


def wait_for(condition: Callable[[], T | None], timeout_s: float = 60, what: object = "") -> T:
    """The first value of the condition that is true."""
    deadline = Deadline(timeout_s)
    while not (value := condition()):
        deadline.check(what or condition)
    return value


def freeze(pid: int) -> None:
    """Stop a process (SIGSTOP), and return when each of its threads stands still, or it is gone."""
    with suppress(ProcessLookupError, FileNotFoundError):
        os.kill(pid, signal.SIGSTOP)
        wait_for(lambda: all(_is_stopped(task) for task in Path(f"/proc/{pid}/task").iterdir()))


def _is_stopped(task: Path) -> bool:
    return (task / "stat").read_text().rpartition(")")[2].split()[0] in {"T", "t", "Z", "X"}
