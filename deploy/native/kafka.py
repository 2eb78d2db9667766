"""Kafka: one node that is broker and controller (KRaft), on loopback, formatted at its first start."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

from . import binaries
from .environment import port
from .private import write_private

STOP_TIMEOUT_S = 30
HEAP = "-Xmx256m"
# One node keeps everything once, and its internal topics are small.
SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    "auto.create.topics.enable": "false",
}
_LOGS = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"


def command(folder: Path) -> list[str]:
    """The server, formatted before its first start: whoever was killed while formatting does it again."""
    java = [str(binaries.java()), HEAP, "-XX:+UseSerialGC", "-XX:-UsePerfData", _LOGS]
    java += [f"-Djava.io.tmpdir={folder / 'tmp'}", "-cp", binaries.kafka_classpath()]
    tool = [*java, "-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool", "format", "--ignore-formatted"]
    server = [*java, "kafka.Kafka", "server.properties"]
    script = (
        "test -e formatted || "
        f'{{ {shlex.join(tool)} -c server.properties --cluster-id="$(cat cluster.id)"'
        " && touch formatted; } && "
        f"exec {shlex.join(server)}"
    )
    return ["sh", "-c", script]


def prepare(folder: Path, env: Mapping[str, str]) -> None:
    """Make the folder and write the configuration; the server may not be running."""
    for part in (folder, folder / "tmp"):
        part.mkdir(mode=0o700, exist_ok=True)
    if not (folder / "cluster.id").exists():
        write_private(folder / "cluster.id", [base64.urlsafe_b64encode(uuid4().bytes).decode().rstrip("=")])
    broker = f"127.0.0.1:{port(env, 'CIFT_KAFKA_BOOTSTRAP_SERVERS')}"
    controller = f"127.0.0.1:{port(env, 'CIFT_KAFKA_CONTROLLER')}"
    settings = SETTINGS | {
        "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://{broker}",
        "controller.quorum.voters": f"1@{controller}",
        "log.dirs": str(folder / "data"),
    }
    write_private(folder / "server.properties", [f"{key}={value}" for key, value in settings.items()])
