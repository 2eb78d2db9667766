"""Kafka: positions of a group, topics, and what a server that is away or hangs leaves behind: nothing."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from uuid import uuid4

import pytest
from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import KafkaAdminClient

from cift_core.errors import StoreUnavailable
from cift_core.settings import Settings
from cift_core.stores.kafka import DEAD_LETTERS, MARKET_DATA, Kafka
from deploy.native.stack import Stack
from tests.processes import frozen
from tests.waiting import wait_for


@pytest.fixture
def impatient(settings: Settings, kafka: Kafka) -> Iterator[Kafka]:
    """A store that waits half a second for an answer; it has had one."""
    with closing(Kafka(settings.kafka_bootstrap_servers, timeout_s=0.5)) as store:
        wait_for(lambda: answers(store))
        yield store


def answers(store: Kafka) -> bool:
    try:
        return len(store.positions()) == 4
    except StoreUnavailable:
        return False


def io_threads() -> int:
    return sum(thread.name.startswith("kafka-io") for thread in threading.enumerate())


def produce(kafka: Kafka, partition: int, count: int) -> None:
    with closing(KafkaProducer(bootstrap_servers=kafka.bootstrap_servers)) as producer:
        sent = [producer.send(MARKET_DATA, b"{}", partition=partition) for _ in range(count)]
        for each in sent:
            each.get(timeout=60)


def test_a_group_that_read_nothing_stands_at_the_beginning(kafka: Kafka) -> None:
    produce(kafka, 2, 3)
    positions = kafka.positions(uuid4().hex)
    assert [position.partition for position in positions] == [0, 1, 2, 3]
    assert positions[2].lag == positions[2].end - positions[2].next >= 3


def test_the_lag_is_what_comes_after_the_committed_offset(kafka: Kafka) -> None:
    group = uuid4().hex
    produce(kafka, 1, 5)
    end = kafka.positions(group)[1].end
    with closing(KafkaConsumer(bootstrap_servers=kafka.bootstrap_servers, group_id=group)) as consumer:
        place = TopicPartition(MARKET_DATA, 1)
        consumer.assign([place])
        consumer.commit({place: OffsetAndMetadata(end - 2, "", -1)})
    position = kafka.positions(group)[1]
    assert (position.next, position.lag) == (end - 2, 2)


def test_what_the_topic_has_forgotten_is_no_lag(kafka: Kafka) -> None:
    group = uuid4().hex
    produce(kafka, 3, 4)
    place, end = TopicPartition(MARKET_DATA, 3), kafka.positions(group)[3].end
    with KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers) as admin:
        admin.delete_records({place: end - 1})
    assert kafka.positions(group)[3].lag == 1


def test_the_topics_are_as_they_should_be_however_often_they_are_made(kafka: Kafka) -> None:
    kafka.create_topics()
    with KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers) as admin:
        found = {topic["name"]: topic for topic in admin.describe_topics([MARKET_DATA, DEAD_LETTERS])}
    assert {name: len(topic["partitions"]) for name, topic in found.items()} == {
        MARKET_DATA: 4,
        DEAD_LETTERS: 1,
    }


def test_a_server_that_is_away_is_unavailable_until_it_is_back(
    impatient: Kafka, stack: Stack, stop_server: Callable[[str], None]
) -> None:
    stop_server("kafka")
    before = io_threads()
    for _ in range(3):
        with pytest.raises(StoreUnavailable) as told:
            impatient.positions()
        assert told.value.code == "kafka_unavailable"
    assert io_threads() <= before
    stack.start("kafka")
    wait_for(lambda: answers(impatient))


def test_a_server_that_hangs_holds_nobody(impatient: Kafka, stack: Stack) -> None:
    with frozen(stack.pid("kafka")):
        before = io_threads()
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                impatient.positions()
        assert io_threads() <= before
    wait_for(lambda: answers(impatient))


def test_a_restarted_server_is_asked_anew(kafka: Kafka, stack: Stack) -> None:
    assert answers(kafka)
    stack.kill("kafka")
    stack.wait_until_ready("kafka")
    wait_for(lambda: answers(kafka))


def test_a_closed_store_may_be_used_again(settings: Settings, kafka: Kafka) -> None:
    store = Kafka(replace(settings).kafka_bootstrap_servers)
    for _ in range(2):
        assert answers(store)
        store.close()
