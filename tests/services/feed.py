"""A feed of one symbol of its own: messages sent, a stream that takes them, what is then stored."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.admin import KafkaAdminClient, OffsetSpec

from cift_core.services.market_stream import Stream
from cift_core.stores import Stores
from cift_core.stores.kafka import CONSUMER, DEAD_LETTERS, MARKET_DATA
from cift_core.stores.kafka_producer import Producer
from tests.waiting import wait_for


@dataclass
class Feed:
    """What one test sends and finds."""

    stores: Stores
    symbol: str = field(default_factory=lambda: f"K{uuid4().hex[:12]}")

    def send(self, *messages: Mapping[str, Any] | bytes) -> None:
        with Producer(self.stores.kafka.bootstrap_servers) as producer:
            for each in messages:
                value = (
                    each if isinstance(each, bytes) else json.dumps({"symbol": self.symbol, **each}).encode()
                )
                producer.send(MARKET_DATA, self.symbol.encode(), value)

    def taken(self) -> bool:
        """Whether the consumer has taken all that was sent."""
        return all(position.lag == 0 for position in self.stores.kafka.positions())

    @contextmanager
    def streaming(self) -> Iterator[Stream]:
        """A consumer, as `cift consume` runs it, in a thread of this process."""
        stop = threading.Event()
        stream = Stream(self.stores, stop)
        failed: list[BaseException] = []

        def run() -> None:
            try:
                stream.run()
            except BaseException as error:  # noqa: BLE001  told below
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield stream
        finally:
            stop.set()
            thread.join(60)
            assert not thread.is_alive()
            assert failed == []

    def stream(self) -> None:
        """Take all that was sent."""
        with self.streaming():
            wait_for(self.taken, what="all messages are taken")
        self.stores.questdb.wait_visible("ticks", "quotes", "bars")

    def deliver_again(self) -> None:
        """Have the group read the topic from its beginning once more."""
        with KafkaAdminClient(bootstrap_servers=self.stores.kafka.bootstrap_servers) as admin:
            wait_for(lambda: not admin.describe_groups([CONSUMER])[CONSUMER]["members"])
            places = [TopicPartition(MARKET_DATA, partition) for partition in range(4)]
            begins = admin.list_partition_offsets(dict.fromkeys(places, OffsetSpec.EARLIEST))
            first = {place: OffsetAndMetadata(begins[place].offset, "", -1) for place in places}
            admin.alter_group_offsets(CONSUMER, first)

    def ticks(self, columns: str = "cast(timestamp AS long), trade_id, price, size, side") -> list[Any]:
        return self.stores.questdb.fetch(
            f"SELECT {columns} FROM ticks WHERE symbol = %s ORDER BY timestamp, trade_id",  # noqa: S608
            (self.symbol,),
        )

    def dead_letters(self) -> list[tuple[dict[str, str], bytes]]:
        """The headers and the value of each dead letter whose value names our symbol."""
        with closing(KafkaConsumer(bootstrap_servers=self.stores.kafka.bootstrap_servers)) as consumer:
            place = TopicPartition(DEAD_LETTERS, 0)
            consumer.assign([place])
            consumer.seek_to_beginning(place)
            end, found = consumer.end_offsets([place])[place], []
            while consumer.position(place) < end:
                for records in consumer.poll(500).values():
                    found += [record for record in records if self.symbol.encode() in record.value]
        return [({name: value.decode() for name, value in record.headers}, record.value) for record in found]
