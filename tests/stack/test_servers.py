"""The five servers as every other test meets them: private, on loopback, back after a crash."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import redis
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from cift_core.stores.kafka import Kafka
from deploy.native import environment
from deploy.native import kafka as native_kafka
from deploy.native.environment import USUAL_PORTS, password, port
from deploy.native.probes import NOT_YET, probe
from deploy.native.stack import SERVERS, Stack
from tests.waiting import wait_for

from .conftest import command_lines, listening_ports, secrets_on_command_lines, wait_for_successor


@pytest.fixture(autouse=True)
def _all_run(kafka: Kafka) -> None:
    """Kafka is started, too."""


def test_postgres_wants_the_password(stack: Stack) -> None:
    url = stack.env["CIFT_POSTGRES_URL"]
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("cift",)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url.replace(password(stack.env, "CIFT_POSTGRES_URL"), "guess"))


def test_postgres_superuser_can_not_log_in(stack: Stack) -> None:
    url = stack.env["CIFT_POSTGRES_URL"].replace("cift:", "postgres:")
    with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
        psycopg.connect(url)


def test_questdb_wants_the_password(stack: Stack) -> None:
    url = stack.env["CIFT_QUESTDB_PG_URL"]
    with pytest.raises(psycopg.OperationalError, match="invalid username/password"):
        psycopg.connect(url.replace(password(stack.env, "CIFT_QUESTDB_PG_URL"), "guess"))
    number = port(stack.env, "CIFT_QUESTDB_HTTP_URL")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{number}/exec?query=select%201")
    refused.value.close()
    assert refused.value.code == 401


@pytest.mark.parametrize(
    ("key", "policy"),
    [
        ("CIFT_BROKER_URL", {"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "always"}),
        ("CIFT_CACHE_URL", {"maxmemory-policy": "allkeys-lru", "appendonly": "no", "save": ""}),
    ],
)
def test_redis_wants_the_password_and_keeps_its_policy(
    stack: Stack, key: str, policy: dict[str, str]
) -> None:
    with redis.Redis.from_url(stack.env[key], decode_responses=True) as client:
        assert client.config_get(*policy) == policy
    with redis.Redis(port=port(stack.env, key)) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


def test_the_connections_that_all_pools_may_open_fit(stack: Stack) -> None:
    with psycopg.connect(stack.env["CIFT_POSTGRES_URL"]) as connection:
        row = connection.execute("SHOW max_connections").fetchone()
    assert row is not None
    assert int(row[0]) >= 2 * (20 + 10) + 3 * (2 + 2) + 20  # web processes, worker children, room for tests


def test_only_loopback_and_only_the_known_ports_are_listened_on(stack: Stack) -> None:
    known = {port(stack.env, key) for key in USUAL_PORTS if key not in ("CIFT_URL", "CIFT_FLOWER_URL")}
    assert listening_ports(stack) == known


def test_nothing_is_open_to_other_accounts(stack: Stack) -> None:
    open_to_others = [
        path for path in stack.root.iterdir() if stat.S_IMODE(path.lstat().st_mode) not in (0o600, 0o700)
    ]
    assert open_to_others == []
    assert stat.S_IMODE((stack.root / "env").stat().st_mode) == 0o600


def test_no_secret_is_on_a_command_line(stack: Stack) -> None:
    assert len(command_lines(stack.root)) >= len(SERVERS)
    assert secrets_on_command_lines(stack) == []


def test_the_log_holds_no_secret(stack: Stack) -> None:
    text = "".join(path.read_text(errors="replace") for path in (stack.root / "log").iterdir())
    assert not [key for key in USUAL_PORTS if (secret := password(stack.env, key)) and secret in text]


@pytest.mark.parametrize("name", SERVERS)
def test_a_killed_server_is_started_again(stack: Stack, name: str) -> None:
    before = stack.pid(name)
    stack.kill(name)
    wait_for_successor(stack, name, before)
    stack.wait_until_ready(name)


def test_what_the_broker_took_survives_its_death(stack: Stack) -> None:
    url = stack.env["CIFT_BROKER_URL"]
    with redis.Redis.from_url(url) as client:
        client.set("kept", "1")
        stack.kill("redis-broker")
        stack.wait_until_ready("redis-broker")
        assert client.getdel("kept") == b"1"


def test_what_kafka_took_survives_its_death(stack: Stack, kafka: Kafka) -> None:
    key, topic = uuid4().bytes, "market-data"
    servers = stack.env["CIFT_KAFKA_BOOTSTRAP_SERVERS"]
    with closing(KafkaProducer(bootstrap_servers=servers, acks="all")) as producer:
        sent = producer.send(topic, key=key, value=b"{}").get(timeout=60)
    stack.kill("kafka")
    stack.wait_until_ready("kafka")
    with closing(KafkaConsumer(bootstrap_servers=servers, group_id=None)) as consumer:
        place = TopicPartition(topic, sent.partition)
        consumer.assign([place])
        consumer.seek(place, sent.offset)
        (record,) = wait_for(lambda: consumer.poll(500)).popitem()[1]
    assert record.key == key


@pytest.mark.parametrize("name", SERVERS)
def test_a_stopped_server_stays_down_until_started(
    stack: Stack, stop_server: Callable[[str], None], name: str
) -> None:
    stop_server(name)
    with pytest.raises(NOT_YET):
        probe(name, stack.env)


def test_kafka_starts_whatever_its_id_begins_with(tmp_path: Path) -> None:
    env, folder = environment.establish(tmp_path, usual_ports=False), tmp_path / "kafka"
    folder.mkdir(mode=0o700)
    (folder / "cluster.id").write_text("--8REREREREREREREREREQ\n")
    native_kafka.prepare(folder, env)
    server = subprocess.Popen(native_kafka.command(folder), cwd=folder, start_new_session=True)
    try:
        host, _, port = env["CIFT_KAFKA_BOOTSTRAP_SERVERS"].partition(":")
        wait_for(lambda: server.poll() is not None or answers(host, int(port)))
        assert server.poll() is None
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def answers(host: str, port: int) -> bool:
    with closing(socket.socket()) as client:
        return client.connect_ex((host, port)) == 0
