"""A real question to each program; the answer says that it works, not only that it lives."""

from __future__ import annotations

import base64
import http.client
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit, urlunsplit

import kombu.exceptions
import psycopg
import redis
from celery import Celery
from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from cift_core.stores.kafka import CONSUMER

Env = Mapping[str, str]

# What a probe raises while its program is not there yet.
NOT_YET = (
    OSError,
    http.client.HTTPException,
    psycopg.Error,
    redis.RedisError,
    kombu.exceptions.KombuError,
    KafkaError,
)


def probe(name: str, env: Env) -> None:
    """Ask the program `name` for a real answer.

    Raises:
        One of `NOT_YET`: it does not answer, or not as it should.
    """
    if name in _PROBES:
        _PROBES[name](env)


def _postgres(env: Env) -> None:
    _select_one(env["CIFT_POSTGRES_URL"])


def _broker(env: Env) -> None:
    _ping(env["CIFT_BROKER_URL"])


def _cache(env: Env) -> None:
    _ping(env["CIFT_CACHE_URL"])


def _questdb(env: Env) -> None:
    _get(env["CIFT_QUESTDB_HTTP_URL"] + "/exec?query=select%201")
    _select_one(env["CIFT_QUESTDB_PG_URL"])


def _kafka(env: Env) -> None:
    address = env["CIFT_KAFKA_BOOTSTRAP_SERVERS"]
    host, _, number = address.rpartition(":")
    socket.create_connection((host, int(number)), timeout=2).close()  # the client says less soon why not
    with KafkaAdminClient(bootstrap_servers=address, bootstrap_timeout_ms=5_000) as client:
        client.list_topics()


def _consumer(env: Env) -> None:
    with KafkaAdminClient(
        bootstrap_servers=env["CIFT_KAFKA_BOOTSTRAP_SERVERS"], bootstrap_timeout_ms=5_000
    ) as client:
        members = client.describe_groups([CONSUMER])[CONSUMER]["members"]
    if not members:
        raise ConnectionError("the consumer group has no member")


def _api(env: Env) -> None:
    _get(env["CIFT_URL"] + "/ready")


def _flower(env: Env) -> None:
    _get(env["CIFT_FLOWER_URL"] + "/healthcheck")


def _jobs(env: Env) -> None:
    _ping_worker(env, "jobs")


def _health(env: Env) -> None:
    _ping_worker(env, "health")


def _select_one(url: str) -> None:
    with psycopg.connect(url, connect_timeout=2, autocommit=True) as connection:
        connection.execute("SELECT 1").fetchone()


def _ping(url: str) -> None:
    with redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as client:
        client.ping()


def _get(url: str) -> None:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    request = urllib.request.Request(urlunsplit(parts._replace(netloc=host)))  # noqa: S310 - our own http URL
    if parts.username:
        login = base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()
        request.add_header("Authorization", f"Basic {login}")
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=5) as answer:
            answer.read()
    except urllib.error.HTTPError as refused:
        with refused:
            body = refused.read().decode(errors="replace")
        raise ConnectionError(f"{urlunsplit(parts._replace(netloc=host))}: {refused.code} {body}") from None


def _ping_worker(env: Env, node: str) -> None:
    with Celery(broker=env["CIFT_BROKER_URL"], set_as_current=False) as app:
        if not app.control.ping(destination=[f"{node}@{socket.gethostname()}"], timeout=1):
            raise ConnectionError(f"the worker {node} does not answer a ping")


_PROBES: dict[str, Callable[[Env], None]] = {
    "postgres": _postgres,
    "redis-broker": _broker,
    "redis-cache": _cache,
    "questdb": _questdb,
    "kafka": _kafka,
    "api": _api,
    "consumer": _consumer,
    "worker": _jobs,
    "worker-health": _health,
    "flower": _flower,
}
