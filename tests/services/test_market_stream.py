"""The consumer on real servers: what it writes, refuses and commits; nothing it takes twice counts twice."""

import json
import threading
import time
from collections.abc import Callable

import pytest

from cift_core.services import market_stream
from cift_core.services.instrument_catalog import settle_left
from cift_core.services.market_kinds import TICKS
from cift_core.services.market_locks import one_writer
from cift_core.services.market_pages import list_rows
from cift_core.services.market_stream import STREAM_ID, Stopped, Stream
from cift_core.services.stall_guard import StallGuard
from cift_core.stores import Stores
from cift_core.stores.kafka import Kafka
from deploy.native.stack import Stack
from tests.services.desk import Desk
from tests.services.feed import Feed
from tests.waiting import wait_for

TRADE = {"price": 2.5, "timestamp": "2024-08-09T12:00:00Z", "size": 1, "side": "buy"}
NOON_NS = 1_723_204_800_000_000_000


@pytest.fixture
def feed(stores: Stores, kafka: Kafka) -> Feed:
    return Feed(stores)


def test_a_plain_trade_is_stored_with_the_servers_time_and_is_told_apart(feed: Feed) -> None:
    began_ms = time.time() * 1000
    feed.send({"price": 150.50}, TRADE)
    feed.stream()
    (of_feed, of_server) = feed.ticks("cast(timestamp AS long), price, server_time, ingestion_id")
    assert of_feed[:3] == (NOON_NS, 2.5, False)
    assert of_server[1:3] == (150.5, True)
    assert began_ms - 1_000 <= of_server[0] / 1e6 <= time.time() * 1000 + 1_000
    assert {str(row[3]) for row in (of_feed, of_server)} == {str(STREAM_ID)}
    items, _ = list_rows(feed.stores.questdb, TICKS, feed.symbol, None, None)
    assert [(item["price"], item["server_time"]) for item in items] == [(2.5, False), (150.5, True)]


def test_equal_trades_are_kept_and_a_delivery_again_adds_nothing(feed: Feed) -> None:
    batch = {"version": 1, "kind": "ticks", "columns": {"timestamp": ["2024-08-09"] * 2, "price": [1, 1]}}
    feed.send(TRADE, TRADE, batch, {"price": 3})
    feed.stream()
    rows = feed.ticks()
    assert [row[2] for row in rows] == [1, 1, 2.5, 2.5, 3]
    for _ in range(2):
        feed.deliver_again()
        assert not feed.taken()
        feed.stream()
        assert feed.ticks() == rows


def test_of_two_rows_with_one_key_the_later_counts_in_one_batch_and_in_two(feed: Feed) -> None:
    feed.send({**TRADE, "trade_id": 1}, {**TRADE, "trade_id": 1, "price": 3}, {**TRADE, "trade_id": 2})
    feed.stream()
    assert [row[1:3] for row in feed.ticks()] == [(1, 3), (2, 2.5)]
    feed.send({**TRADE, "trade_id": 2, "price": 4})
    feed.stream()
    assert [row[1:3] for row in feed.ticks()] == [(1, 3), (2, 4)]
    feed.deliver_again()
    feed.stream()
    assert [row[1:3] for row in feed.ticks()] == [(1, 3), (2, 4)]


def test_quotes_and_bars_come_by_it_too(feed: Feed) -> None:
    times = {"timestamp": [1, 1, 2]}
    quotes = {"bid": [1, 1, 2], "ask": [2, 2, 1]}
    bars = {"open": [1, 2, 3], "high": [9, 9, 2], "low": [1, 1, 1], "close": [1, 2, 2]}
    members = {"version": 1, "timestamp_unit": "s"}
    feed.send(
        {**members, "kind": "quotes", "columns": times | quotes},
        {**members, "kind": "bars", "interval": "1s", "columns": {"timestamp": [1, 2, 3]} | bars},
    )
    feed.stream()
    count = "SELECT count() FROM {} WHERE symbol = %s"
    found = [feed.stores.questdb.fetch(count.format(kind), (feed.symbol,)) for kind in ("quotes", "bars")]
    assert found == [[(3,)], [(2,)]]
    ((headers, value),) = feed.dead_letters()
    assert headers["reason"] == "open 3 lies outside low 1 .. high 2"
    assert json.loads(value)["columns"]["open"] == [3]


def test_what_is_refused_is_kept_with_its_place_and_reason_and_may_be_sent_again(feed: Feed) -> None:
    broken = f'{{"symbol": "{feed.symbol}", "price": '.encode()
    feed.send({**TRADE, "price": -1}, broken, {**TRADE, "trade_id": 7})
    feed.stream()
    letters = feed.dead_letters()
    assert len(letters) == 2
    whole = next(headers for headers, value in letters if value == broken)
    assert whole.keys() == {"topic", "partition", "offset", "reason"}
    assert (whole["topic"], whole["reason"][:8]) == ("market-data", "not JSON")
    bad = next(headers for headers, value in letters if value != broken)
    assert bad["reason"] == 'price "-1" is not positive'
    assert int(whole["offset"]) == int(bad["offset"]) + 1
    assert [row[1] for row in feed.ticks()] == [7]


def test_what_a_file_brought_in_is_no_other_row_when_it_comes_by_the_topic(feed: Feed, desk: Desk) -> None:
    desk.symbol = feed.symbol
    text = "timestamp,price,trade_id\n2024-08-09T12:00:00Z,2.5,1\n2024-08-09T12:00:01Z,3,2\n"
    ingestion = desk.ingest(text, kind="ticks")
    feed.send({**TRADE, "trade_id": 1, "size": None, "side": None}, {**TRADE, "trade_id": 3})
    feed.stream()
    assert [row[1:3] for row in feed.ticks()] == [(1, 2.5), (3, 2.5), (2, 3)]
    assert desk.count_of(ingestion) == 2


def test_the_instrument_is_in_the_catalog_with_the_next_round(feed: Feed) -> None:
    feed.send(TRADE, TRADE)
    feed.stream()
    settle_left(feed.stores)
    sql = "SELECT rows, settled FROM instrument_series WHERE symbol = %(symbol)s"
    with feed.stores.postgres.transaction() as session:
        assert session.connection().exec_driver_sql(sql, {"symbol": feed.symbol}).all() == [(2, True)]


@pytest.mark.parametrize("server", ["questdb", "postgres"])
def test_a_batch_waits_for_a_store_and_is_there_once(
    feed: Feed, stack: Stack, stop_server: Callable[[str], None], server: str
) -> None:
    with feed.streaming() as stream:
        wait_for(lambda: stream.partitions)
        stop_server(server)
        feed.send(*[TRADE] * 50)
        wait_for(lambda: stream.waiting, what="the stream waits")
        assert not feed.taken()
        stack.start(server)
        wait_for(feed.taken, what="all messages are taken")
    feed.stores.questdb.wait_visible("ticks")
    assert len(feed.ticks()) == 50


def test_a_stream_that_is_told_to_leave_while_it_waits_leaves_its_batch_to_its_successor(
    feed: Feed, stack: Stack, stop_server: Callable[[str], None]
) -> None:
    with feed.streaming() as stream:
        wait_for(lambda: stream.partitions)
        stop_server("questdb")
        feed.send(TRADE)
        wait_for(lambda: stream.waiting, what="the stream waits")
    assert not feed.taken()
    stack.start("questdb")
    feed.stream()
    assert len(feed.ticks()) == 1


def test_a_batch_waits_for_who_writes_its_symbol(feed: Feed) -> None:
    with one_writer(feed.stores.postgres, TICKS, feed.symbol, lambda: None), feed.streaming() as stream:
        feed.send(TRADE)
        wait_for(lambda: stream.waiting, what="the stream waits")
    feed.stream()
    assert len(feed.ticks()) == 1


def test_another_member_takes_over_at_once_when_one_leaves(feed: Feed) -> None:
    with feed.streaming() as first:
        wait_for(lambda: len(first.partitions) == 4)
        with feed.streaming() as second:
            wait_for(lambda: len(first.partitions) == len(second.partitions) == 2)
            feed.send(*[TRADE] * 20)
            wait_for(feed.taken)
        wait_for(lambda: len(first.partitions) == 4)
    feed.stores.questdb.wait_visible("ticks")
    assert len(feed.ticks()) == 20


def test_a_stream_that_takes_nothing_is_ended_and_one_that_waits_for_a_store_is_not(feed: Feed) -> None:
    feed.send(TRADE)
    ended: list[str] = []
    silent = Stream(feed.stores, threading.Event())
    silent.waiting = True
    with StallGuard(feed.stores.kafka, silent, ended.append, look_s=0.05, stalled_s=0.2) as guard:
        wait_for(lambda: feed.stores.kafka.positions() and guard.looks > 10)
        assert ended == []
        silent.waiting = False
        wait_for(lambda: ended)
    assert "none was taken" in ended[0]
    feed.stream()
    with feed.streaming() as stream:
        guard = StallGuard(feed.stores.kafka, stream, ended.append, look_s=0.05, stalled_s=0.2)
        with guard:
            wait_for(lambda: guard.looks > 10)
    assert len(ended) == 1


def test_a_batch_that_cannot_be_written_is_not_committed(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    feed.send(TRADE)

    def refuse(*_: object) -> None:
        raise Stopped

    monkeypatch.setattr(market_stream, "take", refuse)
    with feed.streaming():
        pass
    monkeypatch.undo()
    assert not feed.taken()
    feed.stream()
    assert len(feed.ticks()) == 1
