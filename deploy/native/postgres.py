"""PostgreSQL of the native stack: its cluster, its configuration, the account it runs under."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from . import binaries
from .environment import password, port
from .errors import StackError

# For root only: where PostgreSQL lives when its account can't enter the stack's own folder.
ELSEWHERE = Path("/var/lib/cift-markets")


def account() -> str | None:
    """The account PostgreSQL runs under when we are root, which it refuses; None for ourselves."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def home(root: Path) -> Path:
    """The folder PostgreSQL keeps everything in."""
    user = account()
    if user is None or _can(user, "-x", root):
        return root / "postgres"
    return ELSEWHERE / hashlib.sha256(str(root).encode()).hexdigest()[:16]


def command(root: Path) -> list[str]:
    """The postmaster's command line."""
    return [str(_bin(home(root)) / "postgres"), "-D", str(home(root) / "data")]


def prepare(root: Path, env: Mapping[str, str]) -> None:
    """Create the cluster if there is none, and write its configuration."""
    folder = home(root)
    if folder.parent == ELSEWHERE:
        ELSEWHERE.mkdir(mode=0o711, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    _give(folder)
    data = folder / "data"
    if not data.exists():
        _create_cluster(folder, data)
    _write(data / "postgresql.conf", _settings(port(env, "CIFT_POSTGRES_URL")))
    _write(data / "pg_hba.conf", ["host all cift 127.0.0.1/32 scram-sha-256"])
    secret = password(env, "CIFT_POSTGRES_URL")
    _single_user(folder, data, [f"ALTER ROLE cift LOGIN CREATEDB PASSWORD '{secret}'"])


def _settings(number: int) -> list[str]:
    return [
        "listen_addresses = '127.0.0.1'",
        f"port = {number}",
        "unix_socket_directories = ''",  # a deep checkout's path would not fit into a socket's name
        "max_connections = 200",
        "password_encryption = 'scram-sha-256'",
        "log_timezone = 'UTC'",
        "timezone = 'UTC'",
    ]


def _create_cluster(folder: Path, data: Path) -> None:
    new = folder / "data.new"
    shutil.rmtree(new, ignore_errors=True)
    initdb = [str(_bin(folder) / "initdb"), "-D", str(new), "-U", "postgres", "-E", "UTF8"]
    _run(folder, [*initdb, "--locale=C", "--auth=reject"])
    _single_user(folder, new, ["CREATE ROLE cift", "CREATE DATABASE cift OWNER cift"])
    new.rename(data)


def _single_user(folder: Path, data: Path, statements: Iterable[str]) -> None:
    single = [str(_bin(folder) / "postgres"), "--single", "-D", str(data), "postgres"]
    _run(folder, single, "".join(f"{statement}\n" for statement in statements))


def _run(folder: Path, argv: list[str], text: str = "") -> None:
    user = account()
    identity = pwd.getpwnam(user) if user else None
    done = subprocess.run(
        argv,
        input=text,
        text=True,
        capture_output=True,
        check=False,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
        user=identity.pw_uid if identity else None,
        group=identity.pw_gid if identity else None,
        extra_groups=[] if identity else None,
    )
    if done.returncode or "ERROR:" in done.stderr:
        raise StackError(f"{Path(argv[0]).name} failed in {folder}:\n{done.stdout}{done.stderr}".rstrip())


def _bin(folder: Path) -> Path:
    """The executables; copied next to the data when PostgreSQL's account can't reach them where they are."""
    found = binaries.postgres_bin(folder / "data")
    user = account()
    if user is None or _can(user, "-x", found / "postgres"):
        return found
    install, package = found.parent, found.parent.parent
    copied = folder / "server" / package.name / install.name
    if not copied.exists():
        libraries = package.with_name(f"{package.name}.libs")
        shutil.copytree(libraries, folder / "server" / libraries.name, dirs_exist_ok=True)
        shutil.copytree(install, copied.with_suffix(".new"), symlinks=True, dirs_exist_ok=True)
        _give(folder / "server", recursive=True)
        copied.with_suffix(".new").rename(copied)
    return copied / "bin"


def _can(user: str, test: str, path: Path) -> bool:
    identity = pwd.getpwnam(user)
    argv = ["test", test, str(path)]
    done = subprocess.run(
        argv, check=False, cwd="/", user=identity.pw_uid, group=identity.pw_gid, extra_groups=[]
    )
    return done.returncode == 0


def _give(path: Path, recursive: bool = False) -> None:
    user = account()
    if user is None:
        return
    for each in [path, *(path.rglob("*") if recursive else [])]:
        shutil.chown(each, user, pwd.getpwnam(user).pw_gid)


def _write(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))
    path.chmod(0o600)
    _give(path)
