"""Members of a group: what keeps partitions from a successor, and what ours do about it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

import pytest
from kafka import KafkaAdminClient, KafkaConsumer
from kafka.admin import NewPartitions, NewTopic

from cift_core.stores import kafka_consumer
from cift_core.stores.kafka import MARKET_DATA, Kafka, Message
from cift_core.stores.kafka_consumer import Consumer
from cift_core.stores.kafka_producer import Producer
from tests.waiting import wait_for

MakeMember = Callable[[str], KafkaConsumer]


@pytest.fixture
def bare(kafka: Kafka) -> Iterator[MakeMember]:
    """Makes a member as the library makes it, unless told more."""
    with ExitStack() as members:

        def make(group: str, **options: Any) -> KafkaConsumer:
            member = KafkaConsumer(bootstrap_servers=kafka.bootstrap_servers, group_id=group, **options)
            members.callback(member.close)
            member.partitions_for_topic(MARKET_DATA)  # ours does, too: without it this one may hang itself
            member.subscribe([MARKET_DATA])
            return member

        yield make


def joined(member: KafkaConsumer) -> bool:
    member.poll(200)
    return bool(member.assignment())


def test_a_member_that_is_neither_polled_nor_closed_keeps_its_successor_waiting(bare: MakeMember) -> None:
    group = uuid4().hex
    first, second = bare(group), bare(group)
    wait_for(lambda: joined(first))
    assert not any(joined(second) for _ in range(25)), "the other's heartbeats go on without it"
    first.close()
    wait_for(lambda: len(second.assignment()) == 4 or joined(second))


def test_ours_leaves_and_its_successor_has_the_partitions(kafka: Kafka) -> None:
    group = uuid4().hex
    for _ in range(3):
        member = Consumer(kafka.bootstrap_servers, group)
        wait_for(lambda member=member: member.poll(0.2) or member.partitions)
        assert member.partitions == {0, 1, 2, 3}
        member.close()


def test_offsets_are_those_committed_and_not_those_read(kafka: Kafka) -> None:
    group, key = uuid4().hex, uuid4().bytes
    with Producer(kafka.bootstrap_servers) as producer:
        for value in (b"1", b"2"):
            producer.send(MARKET_DATA, key, value)

    def read(commit: bool) -> list[bytes]:
        """The last two values of the partition that a new member reads; it commits that the last is next."""
        member, found = Consumer(kafka.bootstrap_servers, group), []
        ends = {position.partition: position.end for position in kafka.positions(group)}
        while not all(end in (0, max(found_of(found, at), default=-1) + 1) for at, end in ends.items()):
            found += member.poll(0.5)
        last = [message for message in found if message.value == b"2"][-1]
        if commit:
            assert member.commit(ends | {last.partition: last.offset})
        member.close()
        return [message.value for message in found if message.partition == last.partition][-2:]

    def found_of(found: list[Message], partition: int) -> list[int]:
        return [message.offset for message in found if message.partition == partition]

    assert read(commit=False) == [b"1", b"2"]
    assert read(commit=True) == [b"1", b"2"]
    (position,) = [position for position in kafka.positions(group) if position.lag]
    assert position.lag == 1


def test_a_join_that_outlasts_a_poll_is_not_forgotten(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    topic, servers = f"grows-{uuid4().hex}", kafka.bootstrap_servers
    monkeypatch.setattr(kafka_consumer, "MARKET_DATA", topic)
    admin = KafkaAdminClient(bootstrap_servers=servers)
    admin.create_topics([NewTopic(topic, 1, 1)])
    member = Consumer(servers, uuid4().hex)
    try:
        wait_for(lambda: member.poll(0.5) or member.partitions == {0})
        admin.create_partitions({topic: NewPartitions(3)})
        member._consumer._coordinator._cluster.request_update()
        for _ in range(300):
            member.poll(0.001)
        wait_for(lambda: member.poll(0.5) or member.partitions == {0, 1, 2})
    finally:
        member.close()
        admin.close()
