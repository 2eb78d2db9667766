"""The application's processes under the supervisor: up, private, back after a crash, gone after down."""

from __future__ import annotations

import base64
import os
import signal
import socket
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.native.environment import USUAL_PORTS, port
from deploy.native.probes import probe
from deploy.native.stack import APPS, SERVERS, Stack

from .conftest import command_lines, listening_ports, secrets_on_command_lines, wait_for_successor


@pytest.fixture(scope="module")
def full_stack() -> Iterator[Stack]:
    """Servers and application."""
    stack = Stack(Path(tempfile.mkdtemp(prefix="cift-test-")))
    stack.up()
    yield stack
    stack.delete()


def test_every_process_runs_and_answers(full_stack: Stack) -> None:
    assert [(info["name"], info["statename"]) for info in full_stack.status()] == [
        (name, "RUNNING") for name in (*SERVERS, *APPS)
    ]
    for name in APPS:
        probe(name, full_stack.env)
    assert not full_stack.up()


def test_all_listen_on_loopback_on_the_known_ports(full_stack: Stack) -> None:
    assert listening_ports(full_stack) == {port(full_stack.env, key) for key in USUAL_PORTS}


def test_no_secret_is_on_a_command_line(full_stack: Stack) -> None:
    assert len(command_lines(full_stack.root)) >= len(SERVERS) + len(APPS)
    assert secrets_on_command_lines(full_stack) == []


@pytest.mark.parametrize("path", ["/", "/workers", "/api/workers", "/api/tasks"])
def test_flower_shows_nothing_without_its_password(full_stack: Stack, path: str) -> None:
    assert _flower(full_stack, "GET", path, login=False) == 401
    assert _flower(full_stack, "GET", path, login=True) == 200


@pytest.mark.parametrize(
    "path",
    [
        f"/api/worker/shutdown/jobs@{socket.gethostname()}",
        f"/api/worker/pool/shrink/jobs@{socket.gethostname()}?n=1",
        "/api/task/revoke/5f0e4d0c-7ac5-4a86-8d3f-7d0f6f0a1a11?terminate=true",
        "/api/task/async-apply/cift.backtests.run",
        "/api/task/send-task/cift.backtests.run",
    ],
)
def test_flower_changes_nothing_even_with_its_password(full_stack: Stack, path: str) -> None:
    assert _flower(full_stack, "POST", path, login=True) == 404
    probe("worker", full_stack.env)


@pytest.mark.parametrize("name", APPS)
def test_a_killed_process_is_started_again(full_stack: Stack, name: str) -> None:
    before = full_stack.pid(name)
    full_stack.kill(name)
    wait_for_successor(full_stack, name, before)
    full_stack.wait_until_ready(name)


def test_down_ends_what_a_killed_worker_left(full_stack: Stack) -> None:
    os.kill(full_stack.pid("worker"), signal.SIGKILL)  # its pool is alone now
    assert full_stack.down()
    assert command_lines(full_stack.root) == {}


def _flower(stack: Stack, method: str, path: str, login: bool) -> int:
    request = urllib.request.Request(stack.env["CIFT_FLOWER_URL"] + path, method=method)  # noqa: S310
    if login:
        user = f"{stack.env['CIFT_FLOWER_USER']}:{stack.env['CIFT_FLOWER_PASSWORD']}"
        request.add_header("Authorization", f"Basic {base64.b64encode(user.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code
