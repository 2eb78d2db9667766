"""Up, down, twice, and after every way a stack can lose its supervisor."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from deploy.native import environment, postgres, supervisor
from deploy.native.environment import CHECKOUT, USUAL_PORTS, port
from deploy.native.errors import StackError
from deploy.native.stack import Stack
from tests.waiting import wait_for

from .conftest import command_lines


@pytest.fixture(scope="module")
def lone_stack() -> Iterator[Stack]:
    """One stack for this file: up or down, each test takes it as it finds it."""
    stack = Stack(Path(tempfile.mkdtemp(prefix="cift-test-")))
    yield stack
    stack.delete()


def test_up_and_down_twice_and_up_again_keeps_settings_and_data(lone_stack: Stack) -> None:
    lone_stack.down()
    assert lone_stack.up(stores_only=True)
    env = lone_stack.env
    with psycopg.connect(env["CIFT_POSTGRES_URL"], autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    assert not lone_stack.up(stores_only=True)

    assert lone_stack.down()
    assert command_lines(lone_stack.root) == {}
    assert list((lone_stack.root / "run").glob("*.sock")) == []
    assert not lone_stack.down()

    assert lone_stack.up(stores_only=True)
    assert lone_stack.env == env
    with psycopg.connect(env["CIFT_POSTGRES_URL"]) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_settings_that_an_earlier_version_did_not_know_are_added(lone_stack: Stack) -> None:
    lone_stack.up(stores_only=True)
    env, file = lone_stack.env, lone_stack.root / "env"
    for running in (True, False):
        kept = {name: value for name, value in env.items() if name != "CIFT_ENCRYPTION_KEYS"}
        file.write_text("".join(f"{name}={value}\n" for name, value in kept.items()))
        if not running:
            lone_stack.down()
        assert lone_stack.up(stores_only=True)
        assert kept.items() < lone_stack.env.items()
        assert len(lone_stack.env["CIFT_ENCRYPTION_KEYS"]) == 44
        assert file.stat().st_mode & 0o777 == 0o600


def test_new_passwords_reach_servers_that_have_data(lone_stack: Stack) -> None:
    lone_stack.up(stores_only=True)
    lone_stack.down()
    (lone_stack.root / "env").unlink()
    assert lone_stack.up(stores_only=True)


def test_a_killed_supervisor_is_no_obstacle(lone_stack: Stack) -> None:
    lone_stack.up(stores_only=True)
    before = _kill_supervisor(lone_stack)
    assert lone_stack.up(stores_only=True)
    assert _kill_supervisor(lone_stack) != before
    assert lone_stack.down()
    assert command_lines(lone_stack.root) == {}
    assert list((lone_stack.root / "run").glob("*.sock")) == []


def test_a_stack_ends_with_the_process_that_started_it(lone_stack: Stack) -> None:
    script = (
        "import pathlib, sys, time\n"
        "from deploy.native.stack import Stack\n"
        "Stack(pathlib.Path(sys.argv[1])).up(stores_only=True)\n"
        "print('up', flush=True)\n"
        "time.sleep(600)\n"
    )
    lone_stack.down()
    argv = [sys.executable, "-c", script, str(lone_stack.root)]
    with subprocess.Popen(argv, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "up\n"
        assert command_lines(lone_stack.root)
        starter.kill()
    wait_for(lambda: command_lines(lone_stack.root) == {})


def test_a_deep_folder_that_others_can_not_enter() -> None:
    with tempfile.TemporaryDirectory(prefix="cift-test-") as private:  # mode 0700
        stack = Stack(Path(private) / "deep" / ("d" * 120))
        try:
            stack.up(stores_only=True)
            assert stack.pid("postgres")
            assert postgres.home(stack.root).is_relative_to(private) == (os.geteuid() != 0)
        finally:
            stack.delete()
        assert not postgres.home(stack.root).exists()


def test_taken_ports_are_avoided_and_free_ones_kept(tmp_path: Path) -> None:
    with ExitStack() as occupied:
        for number in USUAL_PORTS.values():
            _occupy(occupied, number)
        first = environment.establish(tmp_path, usual_ports=True)
    chosen = {key: port(first, key) for key in USUAL_PORTS}
    assert len(set(chosen.values())) == len(USUAL_PORTS)
    assert not set(chosen.values()) & set(USUAL_PORTS.values())
    assert environment.establish(tmp_path, usual_ports=True) == first

    with ExitStack() as occupied:
        _occupy(occupied, chosen["CIFT_BROKER_URL"])
        second = environment.establish(tmp_path, usual_ports=True)
    changed = [key for key in first if first[key] != second[key]]
    assert changed == ["CIFT_BROKER_URL"]


def test_lines_of_the_user_in_the_env_file_stay(tmp_path: Path) -> None:
    environment.establish(tmp_path, usual_ports=False)
    with (tmp_path / "env").open("a") as lines:
        lines.write("CIFT_LOG_LEVEL=debug\n")
    environment.establish(tmp_path, usual_ports=False)
    assert environment.read(tmp_path)["CIFT_LOG_LEVEL"] == "debug"


def test_a_server_that_does_not_start_is_named_with_its_log(lone_stack: Stack) -> None:
    lone_stack.up(stores_only=True)
    lone_stack.down()
    appended = next((lone_stack.root / "redis-broker" / "appendonlydir").glob("*.incr.aof"))
    appended.write_bytes(b"not a command" * 100)
    with pytest.raises(StackError, match="redis-broker did not start") as told:
        lone_stack.up(stores_only=True)
    assert "Bad file format reading the append only file" in str(told.value)
    assert command_lines(lone_stack.root) == {}


def _kill_supervisor(stack: Stack) -> int:
    pid = supervisor.recorded_pid(stack.root)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    return pid


def _occupy(occupied: ExitStack, number: int) -> None:
    taken = occupied.enter_context(socket.socket())
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind(("127.0.0.1", number))
    except OSError:
        return  # somebody has it already, which serves as well
    taken.listen()
