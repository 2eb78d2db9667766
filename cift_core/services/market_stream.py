"""The consumer: messages off the topic into QuestDB, committed when the rows and the rejects are kept."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import NAMESPACE_URL, UUID, uuid5

import numpy as np

from cift_core.errors import StoreUnavailable
from cift_core.logs import logger
from cift_core.services.instrument_catalog import CatalogUpdate
from cift_core.services.market_locks import one_writer_of
from cift_core.services.market_messages import Parsed, Refused, parse_messages
from cift_core.services.market_writes import MarketWriter
from cift_core.stores import Stores
from cift_core.stores.kafka import CONSUMER, DEAD_LETTERS, MARKET_DATA, Message
from cift_core.stores.kafka_consumer import Consumer
from cift_core.stores.kafka_producer import Producer

log = logger(__name__)
STREAM_ID: Final[UUID] = uuid5(
    NAMESPACE_URL, f"cift:{MARKET_DATA}"
)  # the ingestion_id of what the consumer wrote
POLL_S, LINGER_S, RETRY_S = 0.5, 0.1, 1.0
BATCH_BYTES = 8 * 2**20
MAX_REASON_BYTES = 10_000


class Stopped(Exception):
    """The process was told to leave while it waited for a store."""


@dataclass(frozen=True)
class Taken:
    """What became of a batch; of two rows with one key the later counts, and only that one is written."""

    written: int
    duplicate: int
    refused: list[Refused]


class Stream:
    """The loop of `cift consume`; `waiting` is true while it waits for a store or for another writer."""

    def __init__(self, stores: Stores, stop: threading.Event) -> None:
        self._stores = stores
        self._stop = stop
        self.waiting = False
        self.partitions: frozenset[int] = frozenset()

    def run(self) -> None:
        """Consume until told to stop: then the batch in hand is finished and committed, and the group left.

        Raises:
            StoreUnavailable: Kafka does not answer; whoever runs this starts it again.
        """
        kafka = self._stores.kafka
        kafka.create_topics()
        with Producer(kafka.bootstrap_servers) as dead_letters:
            consumer = Consumer(kafka.bootstrap_servers, CONSUMER)
            log.info("consumer.started", group=CONSUMER)
            try:
                while not self._stop.is_set():
                    self._step(consumer, dead_letters)
            except Stopped:
                log.warning("consumer.left_a_batch")  # not committed: it is delivered again
            finally:
                consumer.close()
                log.info("consumer.ended")

    def _step(self, consumer: Consumer, dead_letters: Producer) -> None:
        messages = self._gather(consumer)
        self.partitions = consumer.partitions
        # of a partition that was taken from us meanwhile the messages are another member's
        messages = [message for message in messages if message.partition in self.partitions]
        if not messages:
            return
        began = time.monotonic()
        taken = self._take(messages)
        bury(dead_letters, taken.refused)
        consumer.commit(next_offsets(messages))
        log.info(
            "batch.taken",
            messages=len(messages),
            written=taken.written,
            duplicate=taken.duplicate,
            refused=len(taken.refused),
            elapsed_ms=round((time.monotonic() - began) * 1000, 1),
        )

    def _gather(self, consumer: Consumer) -> list[Message]:
        """What there is, gathered for a moment so that single trades are written together."""
        messages = consumer.poll(POLL_S)
        if not messages:
            return []
        until, size = time.monotonic() + LINGER_S, _size(messages)
        while size < BATCH_BYTES and (left_s := until - time.monotonic()) > 0 and not self._stop.is_set():
            more = consumer.poll(left_s)
            messages += more
            size += _size(more)
        return messages

    def _take(self, messages: Sequence[Message]) -> Taken:
        """Write a batch, however long the stores are away: it would be the same after a restart."""
        while True:
            try:
                return take(self._stores, messages, STREAM_ID, self._while_waiting)
            except StoreUnavailable:
                log.warning("batch.tried_again", exc_info=True)
                self._while_waiting()
                self._stop.wait(RETRY_S)
            finally:
                self.waiting = False

    def _while_waiting(self) -> None:
        self.waiting = True
        if self._stop.is_set():
            raise Stopped


def take(
    stores: Stores, messages: Iterable[Message], ingestion_id: UUID, while_waiting: Callable[[], None]
) -> Taken:
    """Write the rows of the messages, each once in effect however often they come.

    Raises:
        StoreUnavailable: a store does not answer; the same messages may be taken again.
    """
    parsed, refused = parse_messages(messages)
    written = duplicate = 0
    for each in parsed:
        if len(each.rows):
            outcome = _write(stores, each, ingestion_id, while_waiting)
            written += outcome[0]
            duplicate += outcome[1]
    return Taken(written, duplicate, refused)


def _write(
    stores: Stores, parsed: Parsed, ingestion_id: UUID, while_waiting: Callable[[], None]
) -> tuple[int, int]:
    kind, interval, symbols = parsed.kind, parsed.interval, parsed.rows.symbols
    latest_first = parsed.rows.take(np.arange(len(parsed.rows))[::-1])
    with one_writer_of(stores.postgres, kind, symbols, while_waiting):
        # the series are settled by the next round of settle_left: counting them here would hold up the stream
        tell = CatalogUpdate(stores, ingestion_id, kind, interval).expect
        writer = MarketWriter(stores.questdb, ingestion_id, kind, interval, tell)
        outcome = writer.write(latest_first, server_time=parsed.server_time)
    return outcome.written, outcome.duplicate + len(outcome.conflicts)


def bury(dead_letters: Producer, refused: Iterable[Refused]) -> None:
    """Keep what was refused on the dead-letter topic, with the place it came from and the reason.

    Raises:
        StoreUnavailable: Kafka did not take it.
    """
    buried = 0
    for each in refused:
        message = each.message
        place = {"topic": MARKET_DATA, "partition": str(message.partition), "offset": str(message.offset)}
        if each.row is not None:
            place["row"] = str(each.row)
        key = "/".join(place.values())
        headers = [(name, value.encode()) for name, value in place.items()]
        headers.append(("reason", each.reason.encode()[:MAX_REASON_BYTES]))
        dead_letters.send(DEAD_LETTERS, key.encode(), each.value, headers)
        buried += 1
    if buried:
        dead_letters.flush()


def next_offsets(messages: Iterable[Message]) -> dict[int, int]:
    """By partition the offset that follows these messages."""
    nexts: dict[int, int] = {}
    for message in messages:
        nexts[message.partition] = max(nexts.get(message.partition, 0), message.offset + 1)
    return nexts


def _size(messages: Iterable[Message]) -> int:
    return sum(len(message.value) for message in messages)
