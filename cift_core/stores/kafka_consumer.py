"""Messages off `market-data`, by a member of a group that says itself when they are done with."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.errors import (
    CommitFailedError,
    KafkaError,
    OffsetOutOfRangeError,
    RebalanceInProgressError,
)

from cift_core.errors import InvalidInput, StoreUnavailable
from cift_core.logs import logger
from cift_core.stores.kafka import MARKET_DATA, Message, connected, unavailable

log = logger(__name__)
# a member that was killed keeps its partitions from its successor for so long
SESSION_TIMEOUT_S = 10.0
REQUEST_TIMEOUT_S, SILENT_S = 15.0, 60.0
MAX_MESSAGES, MAX_FETCH_BYTES = 5_000, 4 * 2**20


class Consumer:
    """One member of a consumer group; its partitions change only while it polls."""

    def __init__(self, bootstrap_servers: Sequence[str], group: str) -> None:
        try:
            self._consumer = connected(
                KafkaConsumer,
                bootstrap_servers,
                group_id=group,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                isolation_level="read_committed",
                session_timeout_ms=round(SESSION_TIMEOUT_S * 1000),
                request_timeout_ms=round(REQUEST_TIMEOUT_S * 1000),
                reconnect_backoff_max_ms=1_000,
                metadata_max_age_ms=30_000,
                max_poll_records=MAX_MESSAGES,
                fetch_max_bytes=MAX_FETCH_BYTES,
            )
        except KafkaError as error:
            raise unavailable(error) from error
        # a member that joins before it knows the topic's partitions is given none until its next look
        self._consumer.partitions_for_topic(MARKET_DATA)
        self._consumer.subscribe([MARKET_DATA])

    @property
    def partitions(self) -> frozenset[int]:
        """Those that are this member's."""
        return frozenset(place.partition for place in self._consumer.assignment() or ())

    def poll(self, timeout_s: float) -> list[Message]:
        """The next messages, of each partition in order; none when none came in time.

        Raises:
            StoreUnavailable: the client can't go on.
        """
        try:
            found = self._consumer.poll(timeout_ms=round(timeout_s * 1000))
        except KafkaError as error:
            raise unavailable(error) from error
        finally:
            self._remember_join()
        return [_message(record) for records in found.values() for record in records]

    def _remember_join(self) -> None:
        """See that the next `poll` goes on with a join that this one began (ADR 30).

        kafka-python 3.0.12 joins again where the topic has changed, and takes note of what it has changed to
        in the middle of that. If `poll` ends before the join does, the next one sees nothing left to do.
        """
        coordinator = self._consumer._coordinator
        if coordinator.rejoining:
            coordinator.request_rejoin()

    def commit(self, nexts: Mapping[int, int]) -> bool:
        """Say which offset of each partition is to be read next; False when it is not this member's to say.

        Then what was read is read again, by whom the partition belongs to now.

        Raises:
            StoreUnavailable: Kafka does not answer.
        """
        offsets = {
            TopicPartition(MARKET_DATA, partition): OffsetAndMetadata(offset, "", -1)
            for partition, offset in nexts.items()
        }
        try:
            self._consumer.commit(offsets, timeout_ms=round(REQUEST_TIMEOUT_S * 1000))
        except (CommitFailedError, RebalanceInProgressError):
            log.warning("consumer.lost_its_partitions", exc_info=True)
            return False
        except KafkaError as error:
            raise unavailable(error) from error
        return True

    def close(self) -> None:
        """Leave the group, so that another member has the partitions at once."""
        self._consumer.close(autocommit=False, timeout_ms=round(REQUEST_TIMEOUT_S * 1000))


def read_range(
    bootstrap_servers: Sequence[str], spans: Mapping[int, tuple[int, int]]
) -> Iterator[tuple[list[Message], dict[int, int]]]:
    """The messages of a range (by partition the first offset and the one after the last), a few at a time,
    and with each few the offsets that are next.

    Raises:
        InvalidInput: the topic has forgotten messages of the range.
        StoreUnavailable: Kafka does not answer, or sends nothing more.
    """
    try:
        consumer = connected(
            KafkaConsumer,
            bootstrap_servers,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            request_timeout_ms=round(REQUEST_TIMEOUT_S * 1000),
            max_poll_records=MAX_MESSAGES,
            fetch_max_bytes=MAX_FETCH_BYTES,
        )
    except KafkaError as error:
        raise unavailable(error) from error
    try:
        yield from _read_range(consumer, spans)
    except OffsetOutOfRangeError as error:
        raise InvalidInput(
            "messages_gone", "The topic has forgotten messages of the range: ingest from where it begins."
        ) from error
    except KafkaError as error:
        raise unavailable(error) from error
    finally:
        consumer.close(autocommit=False, timeout_ms=round(REQUEST_TIMEOUT_S * 1000))


def _read_range(
    consumer: KafkaConsumer, spans: Mapping[int, tuple[int, int]]
) -> Iterator[tuple[list[Message], dict[int, int]]]:
    ends = {TopicPartition(MARKET_DATA, at): end for at, (begin, end) in spans.items() if begin < end}
    consumer.assign(list(ends))
    for place in ends:
        consumer.seek(place, spans[place.partition][0])
    heard = time.monotonic()
    while ends:
        found = consumer.poll(timeout_ms=500)
        messages = [
            _message(record)
            for place, records in found.items()
            for record in records
            if record.offset < ends[place]
        ]
        nexts = {place: min(consumer.position(place), end) for place, end in ends.items()}
        for place in [place for place, end in ends.items() if nexts[place] >= end]:
            del ends[place]
            consumer.pause(place)
        if found:
            heard = time.monotonic()
            yield messages, {place.partition: at for place, at in nexts.items()}
        elif time.monotonic() - heard > SILENT_S:
            raise StoreUnavailable("kafka_silent", "Kafka sends nothing more of the range; try again.")


def _message(record: Any) -> Message:
    return Message(record.partition, record.offset, record.timestamp, record.value or b"")
