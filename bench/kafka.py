"""Kafka into QuestDB: rows a second of `cift consume` over a bare loop of the two client libraries.

`python -m bench.kafka` prints the figures. `CIFT_BENCH_DATA` names a folder with the real quotes that are
measured; without it trades of the sample data are, and the row of the table says so.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

import pandas as pd
from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.admin import KafkaAdminClient
from questdb import Sender

from bench import ingest_files
from bench.ingest_files import Case
from cift_core.logs import configure_logs
from cift_core.services.ingestion_requests import full_request
from cift_core.services.market_kinds import KINDS
from cift_core.services.market_replay import replay
from cift_core.services.market_stream import Stream
from cift_core.settings import load_settings
from cift_core.stores import Stores, open_stores
from cift_core.stores.kafka import CONSUMER, MARKET_DATA
from cift_core.stores.kafka_producer import Producer
from cift_core.stores.questdb_senders import sender_conf
from deploy.native.stack import Stack

ROUNDS = 3
RAW_ROWS = 100_000  # one request of the raw client takes at most 100 MB
POLL_S = 0.002


@dataclass(frozen=True)
class Topic:
    """What is on the topic: so many rows of a kind, in so many messages."""

    stores: Stores
    kind: str
    rows: int
    messages: int


def measure() -> dict[str, float]:
    """Rows a second, on servers of their own; `kafka_real` is 0 without the real file."""
    folder = Path(tempfile.mkdtemp(prefix="cift-bench-"))
    data = folder / "data"
    data.mkdir(mode=0o755)
    case, _ = ingest_files.prepare(data)
    stack = Stack(folder / "stack", {"CIFT_DATA_DIR": str(data)})
    stack.up(stores_only=True)
    try:
        stack.start("kafka")
        os.environ.update(stack.env)
        configure_logs("error", "json")
        with closing(open_stores(load_settings(), "worker")) as stores:
            topic, produced_per_s = _produce(stores, case)
            bare, ours = list[float](), list[float]()
            for _ in range(ROUNDS):
                bare.append(topic.rows / _bare(topic))
                ours.append(topic.rows / _stream(topic))
        return {
            "kafka_real": float(ingest_files.are_real()),
            "kafka_rows": float(topic.rows),
            "kafka_messages": float(topic.messages),
            "kafka_produced_per_s": produced_per_s,
            "kafka_bare_per_s": median(bare),
            "kafka_stream_per_s": median(ours),
        }
    finally:
        stack.delete()


def _produce(stores: Stores, case: Case) -> tuple[Topic, float]:
    """The case's file on the topic, and how many of its rows went there in a second."""
    stores.kafka.create_topics()
    request = full_request(stores.settings, case.request(), None)
    began = time.perf_counter()
    with Producer(stores.kafka.bootstrap_servers) as producer:
        done = replay(stores.settings, producer, request, None)
    elapsed_s = time.perf_counter() - began
    return Topic(stores, case.kind, done.rows, done.messages), done.rows / elapsed_s


def _stream(topic: Topic) -> float:
    """Seconds from the start of our consumer until all rows can be read."""
    _rewind(topic)
    stop = threading.Event()
    stream = threading.Thread(target=Stream(topic.stores, stop).run)
    began = time.perf_counter()
    stream.start()
    while any(position.lag for position in topic.stores.kafka.positions()):
        time.sleep(POLL_S)
    elapsed_s = _visible(topic, began)
    stop.set()
    stream.join()
    return elapsed_s


def _bare(topic: Topic) -> float:
    """Seconds of the loop that one would write first: poll, decode, one frame, send, commit."""
    _empty(topic)
    began = time.perf_counter()
    taken = 0
    with (
        closing(
            KafkaConsumer(
                MARKET_DATA,
                bootstrap_servers=topic.stores.kafka.bootstrap_servers,
                group_id=uuid4().hex,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
            )
        ) as consumer,
        Sender.from_conf(sender_conf(topic.stores.settings.questdb_http_url)) as sender,
    ):
        while taken < topic.messages:
            found = [record for records in consumer.poll(500).values() for record in records]
            if found:
                _send_raw(sender, topic.kind, [json.loads(record.value) for record in found])
                consumer.commit()
                taken += len(found)
        return _visible(topic, began)


def _send_raw(sender: Sender, kind: str, batches: list[dict[str, Any]]) -> None:
    columns: dict[str, list[Any]] = {"symbol": []}
    for batch in batches:
        for name, values in batch["columns"].items():
            columns.setdefault(name, []).extend(values)
        columns["symbol"] += [batch["symbol"]] * len(batch["columns"]["timestamp"])
    frame = pd.DataFrame(columns)
    frame["timestamp"] = pd.to_datetime(frame["timestamp"], utc=True)
    symbols: list[str] = [name for name in ("symbol", "side") if name in columns]
    for begin in range(0, len(frame), RAW_ROWS):
        sender.dataframe(frame[begin : begin + RAW_ROWS], table_name=kind, symbols=symbols, at="timestamp")
        sender.flush()


def _visible(topic: Topic, began: float) -> float:
    topic.stores.questdb.wait_visible(topic.kind)
    elapsed_s = time.perf_counter() - began
    ((rows,),) = topic.stores.questdb.fetch(f"SELECT count() FROM {topic.kind}")  # noqa: S608  ours
    assert rows == topic.rows, rows
    return elapsed_s


def _empty(topic: Topic) -> None:
    topic.stores.questdb.execute(f"TRUNCATE TABLE {KINDS[topic.kind].name}")
    topic.stores.questdb.wait_visible(topic.kind)


def _rewind(topic: Topic) -> None:
    """Have our group begin anew, on an empty table."""
    _empty(topic)
    partitions = [position.partition for position in topic.stores.kafka.positions()]
    first = {TopicPartition(MARKET_DATA, place): OffsetAndMetadata(0, "", -1) for place in partitions}
    with KafkaAdminClient(bootstrap_servers=topic.stores.kafka.bootstrap_servers) as admin:
        admin.alter_group_offsets(CONSUMER, first)


def rows(f: dict[str, float]) -> list[tuple[str, str, str, str]]:
    """The figures as rows of the table."""
    what = "quotes" if f["kafka_real"] else "sample trades"
    ours, bare, produced = (f[f"kafka_{name}_per_s"] / 1e3 for name in ("stream", "bare", "produced"))
    return [
        (
            f"{f['kafka_rows']:,.0f} {what}: Kafka → visible, over a bare loop of the two client libraries",
            f"{ours:,.0f} / {bare:,.0f} thousand a second; file → Kafka: {produced:,.0f}",
            f"{ours / bare:.2f}×",
            "≥ 0.9×",
        )
    ]


if __name__ == "__main__":
    measured = measure()
    print(json.dumps(measured, indent=2))
    for row in rows(measured):
        print(f"| {' | '.join(row)} |")
