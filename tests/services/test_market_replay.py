"""A recorded file onto the topic: each row once however often it is sent, at the pace that was asked for."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cift_core.errors import InvalidInput, StoreUnavailable
from cift_core.services.ingestion_requests import full_request
from cift_core.services.market_replay import Ordinals, Pace, Replayed, replay
from cift_core.services.market_rows import MarketRows
from cift_core.stores.kafka import MARKET_DATA, Kafka
from cift_core.stores.kafka_producer import MAX_MESSAGE_BYTES, Producer
from deploy.native.stack import Stack
from tests.services.desk import SAMPLE, Desk, counts
from tests.services.feed import Feed

TRADES = "time,price,size\n1,2.5,1\n1,2.5,1\n1,2.5,2\n2,3,1\n1,9,9\n"
QUOTES = "time,bid,ask\n1,1,2\n1,1,2\n2,1,2\n"


@pytest.fixture
def feed(desk: Desk, kafka: Kafka) -> Feed:
    return Feed(desk.stores, desk.symbol)


def replayed(desk: Desk, speed: float | None = None, **request: Any) -> Replayed:
    source = {"type": "file", "path": "rows.csv", "timestamp_unit": "s"} | request.pop("source", {})
    full = full_request(desk.settings, {"source": source, **request}, None)
    with Producer(desk.stores.kafka.bootstrap_servers) as producer:
        return replay(desk.settings, producer, full, speed, pause=lambda _: None)


@pytest.mark.parametrize(("kind", "text"), [("ticks", TRADES), ("quotes", QUOTES)])
def test_rows_without_ids_are_the_same_however_they_come(
    desk: Desk, feed: Feed, kind: str, text: str
) -> None:
    desk.write(text, "rows.csv")
    done = replayed(desk, kind=kind, symbol=desk.symbol)
    assert done.rows == len(text.splitlines()) - 1
    feed.stream()
    rows = desk.ticks() if kind == "ticks" else desk.quotes()
    assert len(rows) == done.rows
    replayed(desk, kind=kind, symbol=desk.symbol, speed=1e9)
    feed.stream()
    again = desk.ingest(path="rows.csv", kind=kind, source={"timestamp_unit": "s"})
    assert counts(again) == (done.rows, 0, done.rows, 0)
    assert rows == (desk.ticks() if kind == "ticks" else desk.quotes())


def test_real_trades_come_through_to_the_last_digit(desk: Desk, feed: Feed) -> None:
    sample = replace(desk.settings, data_dir=SAMPLE)
    columns = {"timestamp": "timestamp", "price": "price", "size": "quantity", "trade_id": "trade_id"}
    source = {"type": "file", "path": "BTCUSDT-trades.csv.gz", "timestamp_unit": "ms", "columns": columns}
    request = full_request(sample, {"source": source, "kind": "ticks", "symbol": desk.symbol}, None)
    with Producer(desk.stores.kafka.bootstrap_servers) as producer:
        done = replay(sample, producer, request, None)
        producer.flush()
        assert producer.delivered == done.messages
    assert (done.rows, done.rejected) == (19_904, 0)
    feed.stream()
    by_topic, desk.symbol = desk.ticks(), f"{desk.symbol}F"
    by_file = Desk(replace(desk.stores, settings=sample), desk.owner_id)
    by_file.symbol = desk.symbol
    by_file.ingest(path="BTCUSDT-trades.csv.gz", kind="ticks", source=source)
    assert by_topic == by_file.ticks()


def test_what_is_refused_is_told_and_not_sent(desk: Desk, feed: Feed) -> None:
    desk.write("time,price\n1,2\n1,x\n" + "2,-1\n" * 20, "rows.csv")
    done = replayed(desk, kind="ticks", symbol=desk.symbol)
    assert (done.rows, done.rejected, len(done.rejects)) == (1, 21, 10)
    assert (done.rejects[0].place, done.rejects[0].reason) == (3, 'price "x" is not a number')


def test_bars_and_a_symbol_column(desk: Desk, feed: Feed) -> None:
    other = f"{desk.symbol}B"
    bar = "1,2,1,1"
    lines = [f"{day},{symbol},{bar}" for day in (0, 86400) for symbol in (desk.symbol, other)]
    desk.write("\n".join(["time,symbol,open,high,low,close", *lines, ""]), "rows.csv")
    done = replayed(desk, kind="bars", interval="1d")
    assert (done.rows, done.messages) == (4, 2)
    feed.stream()
    assert len(desk.bars()) == len(desk.bars(other)) == 2


def rows_at(*times_ns: int) -> MarketRows:
    count = len(times_ns)
    codes, numbers = np.zeros(count, dtype=np.int32), np.full(count, -1, dtype=np.int64)
    times = np.array(times_ns, dtype=np.int64)
    return MarketRows(("S",), codes, times, numbers, np.zeros((count, 3)), np.arange(count))


def test_rows_go_out_when_their_time_has_come() -> None:
    clock, paused = [100.0], []

    def pause(seconds: float) -> None:
        paused.append(round(seconds, 6))
        clock[0] += seconds

    pace = Pace(10.0, pause, lambda: clock[0])
    second = 1_000_000_000
    first = list(pace.windows(rows_at(5 * second, 5 * second + 1, 15 * second)))
    assert [len(window) for window in first] == [2, 1]
    assert paused == [1.0], "ten seconds at ten times the speed"
    late = list(pace.windows(rows_at(6 * second, 25 * second)))
    assert [len(window) for window in late] == [1, 1]
    assert paused == [1.0, 1.0], "what is behind its time goes at once"


def test_rows_are_numbered_within_their_time_over_all_chunks() -> None:
    ordinals = Ordinals()
    assert ordinals.number(rows_at(1, 1, 2)).numbers.tolist() == [0, 1, 0]
    assert ordinals.number(rows_at(2, 1, 3, 1)).numbers.tolist() == [1, 2, 0, 3]
    assert len(ordinals.number(rows_at())) == 0


def test_a_message_that_is_too_large_is_refused_before_it_is_sent(kafka: Kafka) -> None:
    with (
        Producer(kafka.bootstrap_servers) as producer,
        pytest.raises(InvalidInput, match="at most 1,000,000 are taken"),
    ):
        producer.send(MARKET_DATA, b"k", b"x" * (MAX_MESSAGE_BYTES + 1))


def test_what_was_not_delivered_is_an_error_and_not_forgotten(kafka: Kafka, stack: Stack) -> None:
    stack.stop("kafka")
    try:
        with pytest.raises(StoreUnavailable):
            Producer(kafka.bootstrap_servers)
    finally:
        stack.start("kafka")
    producer = Producer(kafka.bootstrap_servers, delivery_timeout_s=2.0)
    producer.send(MARKET_DATA, b"k", b"{}")
    producer.flush()
    stack.stop("kafka")
    try:
        producer.send(MARKET_DATA, b"k", b"{}")
        with pytest.raises(StoreUnavailable) as told:
            producer.flush()
        assert told.value.code == "kafka_not_delivered"
        with pytest.raises(StoreUnavailable):
            producer.send(MARKET_DATA, b"k", b"{}")
    finally:
        producer.close()
        stack.start("kafka")
    assert producer.delivered == 1
