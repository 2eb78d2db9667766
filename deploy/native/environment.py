"""The addresses and secrets of one stack, kept as KEY=value lines in `<root>/env` (mode 0600)."""

from __future__ import annotations

import base64
import os
import secrets
import socket
from collections.abc import Collection, Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import SplitResult, urlsplit, urlunsplit

CHECKOUT = Path(__file__).resolve().parents[2]

USUAL_PORTS = {
    "CIFT_POSTGRES_URL": 5432,
    "CIFT_QUESTDB_PG_URL": 8812,
    "CIFT_QUESTDB_HTTP_URL": 9000,
    "CIFT_BROKER_URL": 6379,
    "CIFT_CACHE_URL": 6380,
    "CIFT_KAFKA_BOOTSTRAP_SERVERS": 9092,
    "CIFT_KAFKA_CONTROLLER": 9093,
    "CIFT_URL": 8000,
    "CIFT_FLOWER_URL": 5555,
}

# Below the range the kernel hands to outgoing connections (32768 and up), so that none of those can
# take a port between the moment it is chosen and the moment its server binds it.
FREE_PORTS = range(20_000, 32_000)


def read(root: Path) -> dict[str, str]:
    """Every KEY=value of `<root>/env`; empty when the stack was never started."""
    path = root / "env"
    if not path.exists():
        return {}
    lines = (line.strip() for line in path.read_text().splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def is_whole(root: Path) -> bool:
    """Whether `<root>/env` has all that this version needs; one written by an earlier version may not."""
    return _fresh(root).keys() <= read(root).keys()


def establish(root: Path, usual_ports: bool) -> dict[str, str]:
    """The environment of a stack that is down: what `<root>/env` says, completed and written back.

    Passwords are made once and kept. A port is kept while nobody else listens on it; a new one is the
    usual one when `usual_ports` is set and it is free, else a free one.
    """
    kept = read(root)
    env = _fresh(root) | kept
    chosen: set[int] = set()
    for key, usual in USUAL_PORTS.items():
        wanted = port(env, key) if key in kept else usual if usual_ports else None
        number = wanted if wanted and wanted not in chosen and _is_free(wanted) else free_port(chosen)
        chosen.add(number)
        env[key] = _with_port(env[key], number)
    _write(root / "env", env)
    return env


def foreign() -> dict[str, str]:
    """The caller's environment without what only a stack may say."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("CIFT_", "FLOWER_"))}


def port(env: Mapping[str, str], key: str) -> int:
    """The port of the URL or address under `key`."""
    number = _split(env[key]).port
    if number is None:
        raise ValueError(f"{key} names no port")
    return number


def password(env: Mapping[str, str], key: str) -> str:
    """The password of the URL under `key`."""
    return _split(env[key]).password or ""


def masked(url: str) -> str:
    """The URL with its password shown as `***`."""
    parts = urlsplit(url)
    return url if parts.password is None else url.replace(f":{parts.password}@", ":***@", 1)


def _fresh(root: Path) -> dict[str, str]:
    questdb = secrets.token_hex(24)
    return {
        "CIFT_POSTGRES_URL": f"postgresql://cift:{secrets.token_hex(24)}@127.0.0.1:0/cift",
        "CIFT_QUESTDB_PG_URL": f"postgresql://cift:{questdb}@127.0.0.1:0/qdb",
        "CIFT_QUESTDB_HTTP_URL": f"http://cift:{questdb}@127.0.0.1:0",
        "CIFT_QUESTDB_IMPORT_DIR": str(root / "questdb" / "import"),
        "CIFT_BROKER_URL": f"redis://:{secrets.token_hex(24)}@127.0.0.1:0/0",
        "CIFT_CACHE_URL": f"redis://:{secrets.token_hex(24)}@127.0.0.1:0/0",
        "CIFT_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:0",
        "CIFT_KAFKA_CONTROLLER": "127.0.0.1:0",
        "CIFT_DATA_DIR": str(CHECKOUT / "data"),
        "CIFT_UPLOAD_DIR": str(root / "uploads"),
        "CIFT_SECRET_KEY": secrets.token_hex(32),
        "CIFT_ENCRYPTION_KEYS": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "CIFT_URL": "http://127.0.0.1:0",
        "CIFT_FLOWER_URL": "http://127.0.0.1:0",
        "CIFT_FLOWER_USER": "operator",
        "CIFT_FLOWER_PASSWORD": secrets.token_hex(16),
    }


def _split(url: str) -> SplitResult:
    """The parts of a URL, or of a bare host:port."""
    return urlsplit(url if "://" in url else f"//{url}")


def _with_port(url: str, number: int) -> str:
    parts = _split(url)
    host = parts.netloc.rpartition(":")[0]
    return urlunsplit(parts._replace(netloc=f"{host}:{number}")).removeprefix("//")


def _is_free(number: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", number))
        except OSError:
            return False
        return True


def free_port(taken: Collection[int] = ()) -> int:
    """A port of 127.0.0.1 that nobody listens on, and none of those `taken`."""
    candidates = secrets.SystemRandom().sample(FREE_PORTS, len(FREE_PORTS))
    return next(number for number in candidates if number not in taken and _is_free(number))


def _write(path: Path, env: dict[str, str]) -> None:
    new = path.with_suffix(".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.writelines(f"{key}={value}\n" for key, value in env.items())
    new.replace(path)
