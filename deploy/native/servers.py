"""The five servers: what each is started with and the configuration it reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from . import binaries, kafka, postgres
from .environment import password, port
from .private import write_private
from .program import Program

BROKER_POLICY = ["appendonly yes", "appendfsync always", "maxmemory-policy noeviction"]
QUESTDB_LOG = [
    "writers=stdout",
    "w.stdout.class=io.questdb.log.LogConsoleWriter",
    "w.stdout.level=ERROR,CRITICAL,ADVISORY",
]
CACHE_POLICY = ["appendonly no", "maxmemory 256mb", "maxmemory-policy allkeys-lru"]


def servers(root: Path) -> list[Program]:
    """PostgreSQL, the two Redis servers, QuestDB and Kafka, as the supervisor runs them."""
    redis = binaries.redis_server()
    return [
        Program(
            "postgres",
            postgres.command(root),
            postgres.home(root),
            user=postgres.account(),
            stop_signal="INT",  # fast shutdown: disconnects clients, then writes a checkpoint
        ),
        Program("redis-broker", [str(redis), "redis.conf"], root / "redis-broker"),
        Program("redis-cache", [str(redis), "redis.conf"], root / "redis-cache"),
        Program("questdb", _questdb_command(root / "questdb"), root / "questdb"),
        Program("kafka", kafka.command(root / "kafka"), root / "kafka", stop_timeout_s=kafka.STOP_TIMEOUT_S),
    ]


def prepare(root: Path, env: Mapping[str, str]) -> None:
    """Make every server's folder and write its configuration; none of them may be running."""
    postgres.prepare(root, env)
    _prepare_redis(root / "redis-broker", env, "CIFT_BROKER_URL", BROKER_POLICY)
    _prepare_redis(root / "redis-cache", env, "CIFT_CACHE_URL", CACHE_POLICY)
    _prepare_questdb(root / "questdb", env)
    kafka.prepare(root / "kafka", env)


def _prepare_redis(folder: Path, env: Mapping[str, str], key: str, policy: list[str]) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    lines = ["bind 127.0.0.1", f"port {port(env, key)}", f"requirepass {password(env, key)}", 'save ""']
    write_private(folder / "redis.conf", lines + policy)


def _questdb_command(folder: Path) -> list[str]:
    java = [str(binaries.java()), "-Xmx1g", "-XX:-UsePerfData", f"-Djava.io.tmpdir={folder / 'tmp'}"]
    return [
        *java,
        "-p",
        str(binaries.questdb_jar()),
        "-m",
        "io.questdb/io.questdb.ServerMain",
        "-d",
        str(folder),
    ]


def _prepare_questdb(folder: Path, env: Mapping[str, str]) -> None:
    for part in (folder, folder / "conf", folder / "tmp"):
        part.mkdir(mode=0o700, exist_ok=True)
    secret = password(env, "CIFT_QUESTDB_PG_URL")
    settings = {
        "http.bind.to": f"127.0.0.1:{port(env, 'CIFT_QUESTDB_HTTP_URL')}",
        "http.user": "cift",
        "http.password": secret,
        "http.min.enabled": "false",
        "pg.net.bind.to": f"127.0.0.1:{port(env, 'CIFT_QUESTDB_PG_URL')}",
        "pg.user": "cift",
        "pg.password": secret,
        "pg.net.connection.limit": "128",
        "line.tcp.enabled": "false",  # it takes writes without a password
        "line.udp.enabled": "false",
        "telemetry.enabled": "false",
        # idle threads nap soon: by default they spin for milliseconds after each request, on cores that
        # the workers need
        "shared.worker.nap.threshold": "100",
        "wal.apply.worker.nap.threshold": "100",
    }
    write_private(folder / "conf" / "server.conf", [f"{key}={value}" for key, value in settings.items()])
    write_private(folder / "conf" / "log.conf", QUESTDB_LOG)
