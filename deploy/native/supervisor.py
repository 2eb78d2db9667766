"""supervisord for one stack: its configuration, its start, its remote control."""

from __future__ import annotations

import hashlib
import http.client
import os
import shlex
import stat
import subprocess
import sys
import tempfile
import xmlrpc.client
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

from .environment import foreign
from .errors import StackError
from .private import write_private
from .program import Program

SUPERVISORD = Path(__file__).with_name("supervisord.py")
LONGEST_SOCKET_PATH = 100  # bytes; the kernel's limit is 107
NEVER_GIVE_UP = 1_000_000  # retries; the pause between two grows by a second each time

Rpc = Any  # supervisor's methods, looked up by name on the XML-RPC proxy


def socket_path(root: Path) -> Path:
    """Where supervisord listens: in the stack's folder, or a private temporary one if that is too deep."""
    path = root / "run" / "supervisor.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    digest = hashlib.sha256(str(root).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"cift-{os.getuid()}-{digest}" / "supervisor.sock"


def pid_file(root: Path) -> Path:
    """Where supervisord leaves its process id, which is also the session id of all it starts."""
    return root / "run" / "supervisord.pid"


def recorded_pid(root: Path) -> int | None:
    """What `pid_file` says; None when no supervisord runs or was killed."""
    path = pid_file(root)
    return int(path.read_text()) if path.exists() else None


def log_file(root: Path, name: str) -> Path:
    """What the program `name` printed."""
    return root / "log" / f"{name}.log"


def launch(root: Path, programs: Iterable[Program], die_with_parent: bool) -> subprocess.Popen[bytes]:
    """A started supervisord in a session of its own, with every program known and none started.

    With `die_with_parent` it stops everything as soon as the thread that called this ends.
    """
    _make_private(socket_path(root).parent)
    config = root / "run" / "supervisord.conf"
    write_private(config, _render(root, programs))
    guard = _ended_with_parent("TERM") if die_with_parent else []
    with log_file(root, "supervisord-start").open("wb") as out:
        return subprocess.Popen(
            [*guard, sys.executable, "-P", str(SUPERVISORD), "-n", "-s", "-c", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=root / "run",
            env=foreign(),
            start_new_session=True,
        )


@contextmanager
def remote(root: Path) -> Iterator[Rpc]:
    """supervisord's remote procedures.

    Raises:
        StackError: it does not answer, or answers with a fault.
    """
    transport = SupervisorTransport(None, None, f"unix://{socket_path(root)}")
    try:
        yield xmlrpc.client.ServerProxy("http://localhost", transport=transport).supervisor
    except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
        raise StackError(f"supervisord at {socket_path(root)}: {error}") from error
    finally:
        transport.close()


def _render(root: Path, programs: Iterable[Program]) -> list[str]:
    run, log = root / "run", root / "log"
    lines = [
        "[unix_http_server]",
        f"file={_literal(socket_path(root))}",
        "chmod=0700",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
        "[supervisord]",
        f"pidfile={_literal(pid_file(root))}",
        f"logfile={_literal(log / 'supervisord.log')}",
        "logfile_maxbytes=1MB",
        "logfile_backups=1",
        "minfds=1024",
        "umask=077",
        f"directory={_literal(run)}",
    ]
    if os.geteuid() == 0:
        lines.append("user=root")
    for program in programs:
        lines += _render_program(root, program)
    return lines


def _render_program(root: Path, program: Program) -> list[str]:
    command = [*_ended_with_parent(program.stop_signal), *program.command]
    lines = [
        f"[program:{program.name}]",
        f"command={_literal(shlex.join(command))}",
        f"directory={_literal(program.directory)}",
        "autostart=false",
        "autorestart=true",
        "startsecs=1",
        f"startretries={NEVER_GIVE_UP}",
        f"stopsignal={program.stop_signal}",
        f"stopwaitsecs={program.stop_timeout_s}",
        "killasgroup=true",
        "redirect_stderr=true",
        f"stdout_logfile={_literal(log_file(root, program.name))}",
        "stdout_logfile_maxbytes=10MB",
        "stdout_logfile_backups=2",
    ]
    if program.env:
        lines.append("environment=" + ",".join(f"{k}={_quoted(v)}" for k, v in program.env.items()))
    if program.user:
        lines.append(f"user={program.user}")
    return lines


def _ended_with_parent(signal_name: str) -> list[str]:
    """The command in front of another that has the kernel send it a signal when its parent is gone."""
    return ["setpriv", f"--pdeathsig={signal_name}", "--"]


def _quoted(value: str) -> str:
    quote = "'" if '"' in value else '"'
    return f"{quote}{_literal(value)}{quote}"


def _literal(value: object) -> str:
    return str(value).replace("%", "%%")


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise StackError(f"{folder} must be a folder that only this user can enter.")
