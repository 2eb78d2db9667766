"""Kafka: the topics that live market data comes by, and how far their consumer is."""

import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from kafka import KafkaAdminClient, OffsetAndMetadata, TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import KafkaConnectionError, KafkaError, TopicAlreadyExistsError
from kafka.net.compat import KafkaNetClient

from cift_core.errors import StoreUnavailable

MARKET_DATA: Final = "market-data"
DEAD_LETTERS: Final = "market-data.dlq"
CONSUMER: Final = "cift-consumer"  # the group of `cift consume`
INGESTIONS: Final = "cift-ingestions"  # the group of the ingestions from the topic, which has no members
PAUSE_S = 0.1
CONNECT_TIMEOUT_S = 2.0
_DAY_MS = 86_400_000
_TOPICS = {
    MARKET_DATA: {
        "num_partitions": 4,
        # a message that says no time of its own gets the server's, and the same one each time it is read
        "configs": {"message.timestamp.type": "LogAppendTime", "retention.ms": str(7 * _DAY_MS)},
    },
    # each dead letter has the place it came from as its key: one that is sent twice is kept once
    DEAD_LETTERS: {
        "num_partitions": 1,
        "configs": {"cleanup.policy": "compact,delete", "retention.ms": str(90 * _DAY_MS)},
    },
}
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Position:
    """How far a group is on a partition: the offset it reads next, and that of the next message to come."""

    partition: int
    next: int
    end: int

    @property
    def lag(self) -> int:
        """How many messages it has not taken."""
        return self.end - self.next


@dataclass(frozen=True)
class Message:
    """A message as it stands on `market-data`; `time_ms` is the server's, since 1970."""

    partition: int
    offset: int
    time_ms: int
    value: bytes


class Kafka:
    """Questions to one Kafka cluster, over a connection of this process that is opened at first use."""

    def __init__(self, bootstrap_servers: str, *, timeout_s: float = 2.0) -> None:
        self.bootstrap_servers = bootstrap_servers.replace(",", " ").split()
        self._timeout_ms = round(timeout_s * 1000)
        self._lock = threading.Lock()
        self._admin: KafkaAdminClient | None = None

    def create_topics(self) -> None:
        """Create the topics that do not exist yet.

        Raises:
            StoreUnavailable: Kafka does not answer.
        """

        def create(admin: KafkaAdminClient) -> None:
            for name, options in _TOPICS.items():
                with suppress(TopicAlreadyExistsError):
                    admin.create_topics({name: options}, wait_for_metadata=True)

        self._ask(create)

    def positions(self, group: str = CONSUMER) -> list[Position]:
        """How far the group is on each partition of `market-data`; none while the topic does not exist.

        Raises:
            StoreUnavailable: Kafka does not answer.
        """

        def ask(admin: KafkaAdminClient) -> list[Position]:
            (topic,) = admin.describe_topics([MARKET_DATA])
            places = [TopicPartition(MARKET_DATA, each["partition_index"]) for each in topic["partitions"]]
            if not places:
                return []
            committed = admin.list_group_offsets({group: places})[group]
            ends = admin.list_partition_offsets(dict.fromkeys(places, OffsetSpec.LATEST))
            begins = admin.list_partition_offsets(dict.fromkeys(places, OffsetSpec.EARLIEST))
            return [
                Position(
                    place.partition,
                    # of what the topic has forgotten nothing is left to be read
                    max(committed[place].offset if place in committed else -1, begins[place].offset),
                    ends[place].offset,
                )
                for place in sorted(places)
            ]

        return self._ask(ask)

    def commit(self, group: str, nexts: Mapping[int, int]) -> None:
        """Say which offset of each partition a group without members is to read next.

        Raises:
            StoreUnavailable: Kafka does not answer.
        """
        offsets = {
            TopicPartition(MARKET_DATA, partition): OffsetAndMetadata(offset, "", -1)
            for partition, offset in nexts.items()
        }
        self._ask(lambda admin: admin.alter_group_offsets(group, offsets))

    def close(self) -> None:
        """Close the connection; the store may be used again afterwards."""
        with self._lock:
            self._drop()

    def _ask(self, question: Callable[[KafkaAdminClient], Answer]) -> Answer:
        """The answer, asked for again while there is time: a server just started knows no coordinator."""
        deadline = time.monotonic() + self._timeout_ms / 1000
        with self._lock:
            while True:
                try:
                    return self._asked(question)
                except StoreUnavailable:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(PAUSE_S)

    def _asked(self, question: Callable[[KafkaAdminClient], Answer]) -> Answer:
        try:
            if self._admin is None:
                self._admin = connected(
                    KafkaAdminClient,
                    self.bootstrap_servers,
                    bootstrap_timeout_ms=self._timeout_ms,
                    request_timeout_ms=self._timeout_ms,
                )
            return question(self._admin)
        except KafkaError as error:
            self._drop()
            raise unavailable(error) from error

    def _drop(self) -> None:
        if self._admin is not None:
            self._admin.close()
            self._admin = None


Client = TypeVar("Client")


def connected(kind: Callable[..., Client], bootstrap_servers: Sequence[str], **configs: Any) -> Client:
    """A client of the library, to servers of which one at least takes connections.

    The library tries until its time is over, and leaves a thread of a client that could not connect.

    Raises:
        KafkaError: Kafka does not answer.
    """
    if not any(map(_takes_connections, bootstrap_servers)):
        raise KafkaConnectionError("no server takes a connection")
    nets: list[KafkaNetClient] = []

    def net_client(**given: Any) -> KafkaNetClient:
        nets.append(KafkaNetClient(**given))
        return nets[-1]

    try:
        return kind(kafka_client=net_client, bootstrap_servers=bootstrap_servers, **configs)
    except KafkaError:
        for net in nets:
            net.close()
        raise


def _takes_connections(server: str) -> bool:
    host, _, port = server.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except OSError:
        return False
    return True


def unavailable(error: Exception) -> StoreUnavailable:
    """What an error of the library is to the service."""
    return StoreUnavailable(
        "kafka_unavailable", f"Kafka does not answer ({type(error).__name__}); try again."
    )
