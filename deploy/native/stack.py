"""The whole stack in one folder: up, down, and each of its programs by name."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import environment, postgres, processes, servers, supervisor
from .apps import apps
from .environment import CHECKOUT
from .errors import StackError
from .probes import NOT_YET, probe

STORES = ("postgres", "redis-broker", "redis-cache", "questdb")  # without which the service is not ready
SERVERS = (*STORES, "kafka")
APPS = ("api", "worker", "worker-health", "beat", "consumer", "flower")

STOPPED = ("STOPPED", "EXITED", "FATAL", "UNKNOWN")

TIMEOUT_S = 150.0  # a first start compiles the kernels, perhaps beside another stack
ENOUGH_STARTS = 4  # whatever was started so often while we looked does not stay up
POLL_S = 0.05
LOG_TAIL_LINES = 15


class Stack:
    """PostgreSQL, two Redis servers, QuestDB, Kafka and the application's processes under one supervisor.

    `root` is the folder that holds all of it. A stack ends with the thread that started it, unless it is
    `lasting`; a lasting one also takes the usual ports where they are free. `env_overrides` win over
    `<root>/env`.
    """

    def __init__(
        self, root: Path, env_overrides: Mapping[str, str] | None = None, *, lasting: bool = False
    ) -> None:
        self.root = root.resolve()
        self._overrides = dict(env_overrides or {})
        self._lasting = lasting
        self._supervisord: subprocess.Popen[bytes] | None = None

    @property
    def env(self) -> dict[str, str]:
        """All settings of this stack, secrets included; those overridden only until it was first up."""
        return environment.read(self.root) | self._overrides

    def up(self, *, stores_only: bool = False) -> bool:
        """Start what does not run, and wait until each answers; False when all ran already.

        With `stores_only` neither Kafka nor the application.

        Raises:
            StackError: something did not start; whatever this call launched is down again.
        """
        wanted = STORES if stores_only else (*SERVERS, *APPS)
        with self._locked():
            whole = environment.is_whole(self.root)
            if whole and all(self._running(name) for name in wanted):
                return False
            launched = not whole or not self._supervised()
            if launched:
                self._launch()
            try:
                self._start_all(wanted[: len(SERVERS)])
                self._migrate()
                self._start_all(wanted[len(SERVERS) :])
            except BaseException:
                if launched:
                    self._take_down()
                raise
            return True

    def down(self) -> bool:
        """Stop everything and wait until no process is left; False when nothing ran."""
        if not self.root.exists():
            return False
        with self._locked():
            return self._take_down()

    def delete(self) -> None:
        """Stop everything and delete all of it: data, settings, logs."""
        self.down()
        for folder in (postgres.home(self.root), self.root):
            shutil.rmtree(folder, ignore_errors=True)

    def start(self, name: str) -> None:
        """Start one program and wait until it answers."""
        self._start_all([name])

    def stop(self, name: str) -> None:
        """Stop one program, as `down` would, and wait for its end; it stays down until it is started."""
        self._stop_all([name])

    def kill(self, name: str, signal_number: int = signal.SIGKILL) -> None:
        """Send a signal to one program and to the processes it started; the supervisor starts it again."""
        os.killpg(self.pid(name), signal_number)

    def pid(self, name: str) -> int:
        """The process id of one program.

        Raises:
            StackError: it does not run.
        """
        info = self._info(name)
        if not info["pid"]:
            raise StackError(f"{name} does not run ({info['statename']}).")
        return int(info["pid"])

    def wait_until_ready(self, name: str, timeout_s: float = TIMEOUT_S) -> None:
        """Return as soon as one program answers a real question.

        Raises:
            StackError: it did not within `timeout_s`, or ended again and again; with the tail of its log.
        """
        deadline = time.monotonic() + timeout_s
        starts: set[int] = set()
        why = "it does not run"
        while time.monotonic() < deadline and len(starts) < ENOUGH_STARTS:
            info = self._info(name)
            starts.add(info["start"])
            if info["statename"] == "RUNNING":
                try:
                    probe(name, self.env)
                except NOT_YET as error:
                    why = str(error)
                else:
                    return
            elif info["statename"] == "BACKOFF":
                why = info["spawnerr"]
            time.sleep(POLL_S)
        raise StackError(f"{name} did not start: {why}\n{self._log_tail(name)}")

    def status(self) -> list[dict[str, Any]]:
        """What supervisord says of each program (name, statename, pid, start, now, ...); empty when down."""
        if not self._supervised():
            return []
        with supervisor.remote(self.root) as rpc:
            found = {info["name"]: info for info in rpc.getAllProcessInfo()}
        return [found[name] for name in (*SERVERS, *APPS)]

    def _launch(self) -> None:
        self._take_down()
        shutil.rmtree(self.root / "run" / "prometheus", ignore_errors=True)
        for part in ("run", "run/prometheus", "log", "uploads"):
            (self.root / part).mkdir(mode=0o700, exist_ok=True)
        env = environment.establish(self.root, usual_ports=self._lasting) | self._overrides
        servers.prepare(self.root, env)
        programs = [*servers.servers(self.root), *apps(self.root, env)]
        self._supervisord = supervisor.launch(self.root, programs, die_with_parent=not self._lasting)
        if not self._wait_for(self._supervised):
            raise StackError(f"supervisord did not start:\n{self._log_tail('supervisord-start')}")

    def _take_down(self) -> bool:
        session = supervisor.recorded_pid(self.root)
        if session is None:
            return False
        folders = [self.root, postgres.home(self.root)]
        # A supervisor that does not answer, or not as it should, is ended with all the rest.
        with contextlib.suppress(StackError):
            self._stop_all(APPS)
            self._stop_all(SERVERS)
            with supervisor.remote(self.root) as rpc:
                rpc.shutdown()
            self._wait_for(lambda: session not in processes.of_session(session, folders))
        processes.end(session, folders)
        if self._supervisord:
            self._supervisord.wait()
        supervisor.pid_file(self.root).unlink(missing_ok=True)
        supervisor.socket_path(self.root).unlink(missing_ok=True)
        return True

    def _start_all(self, names: Iterable[str]) -> None:
        with supervisor.remote(self.root) as rpc:
            for name in names:
                if rpc.getProcessInfo(name)["statename"] not in ("STARTING", "RUNNING", "BACKOFF"):
                    rpc.startProcess(name, False)
        for name in names:
            self.wait_until_ready(name)

    def _stop_all(self, names: Iterable[str]) -> None:
        with supervisor.remote(self.root) as rpc:
            running = [name for name in names if rpc.getProcessInfo(name)["statename"] not in STOPPED]
            for name in running:
                rpc.stopProcess(name, False)
        if not self._wait_for(lambda: all(self._info(name)["statename"] in STOPPED for name in running)):
            raise StackError(f"{', '.join(running)} did not stop within {TIMEOUT_S:.0f} s.")

    def _migrate(self) -> None:
        argv = [str(Path(sys.executable).with_name("cift")), "migrate"]
        done = subprocess.run(
            argv,
            env=environment.foreign() | self.env,
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise StackError(f"cift migrate failed:\n{done.stdout}{done.stderr}".rstrip())

    def _info(self, name: str) -> dict[str, Any]:
        with supervisor.remote(self.root) as rpc:
            info: dict[str, Any] = rpc.getProcessInfo(name)
        return info

    def _supervised(self) -> bool:
        try:
            with supervisor.remote(self.root) as rpc:
                return bool(rpc.getState()["statename"] == "RUNNING")
        except StackError:
            return False

    def _running(self, name: str) -> bool:
        return self._supervised() and self._info(name)["statename"] == "RUNNING"

    @staticmethod
    def _wait_for(condition: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + TIMEOUT_S
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True

    def _log_tail(self, name: str) -> str:
        path = supervisor.log_file(self.root, name)
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        return "\n".join([f"The end of {path}:", *lines[-LOG_TAIL_LINES:]])

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One `up` or `down` of this stack at a time, whoever calls."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o711)  # PostgreSQL's account passes through; each secret below has a mode of its own
        with os.fdopen(os.open(self.root / "lock", os.O_RDWR | os.O_CREAT, 0o600)) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
