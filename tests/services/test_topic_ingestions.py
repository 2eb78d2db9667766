"""Ingestions from the topic: a range of offsets, read to its end, whose rows are all accounted for."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient

from cift_core.errors import InvalidInput, JobCancelled, StoreUnavailable
from cift_core.models import Ingestion
from cift_core.services import ingestion_runs, ingestions, topic_runs
from cift_core.services.leases import Lease
from cift_core.stores import kafka_consumer
from cift_core.stores.kafka import INGESTIONS, MARKET_DATA, Kafka, Position
from deploy.native.stack import Stack
from tests.services.desk import Desk, counts
from tests.services.feed import Feed

TRADE = {"price": 2.5, "timestamp": "2024-08-09T12:00:00Z", "size": 1}


@pytest.fixture
def feed(desk: Desk, kafka: Kafka) -> Feed:
    """A feed whose messages are the next that an ingestion takes."""
    kafka.commit(INGESTIONS, {position.partition: position.end for position in kafka.positions(INGESTIONS)})
    return Feed(desk.stores, desk.symbol)


def submit(desk: Desk, **source: Any) -> Ingestion:
    request = {"source": {"type": "kafka", **source}}
    with desk.stores.postgres.transaction() as session:
        return ingestions.submit(session, desk.settings, desk.owner_id, request)


def drain(desk: Desk, **source: Any) -> Ingestion:
    return desk.run(submit(desk, **source))


def length(ingestion: Ingestion) -> int:
    return sum(span["end"] - span["begin"] for span in (ingestion.topic_range or {}).values())


def written(desk: Desk, ingestion: Ingestion) -> int:
    sql = "SELECT count() FROM ticks WHERE ingestion_id = %s"
    return int(desk.stores.questdb.fetch(sql, (str(ingestion.id),))[0][0])


def test_what_is_on_the_topic_is_brought_in_and_the_next_goes_on_from_there(desk: Desk, feed: Feed) -> None:
    bars = {"version": 1, "kind": "bars", "interval": "1d", "columns": {"timestamp": ["2024-08-09"] * 2}}
    prices = {"open": [1, 1], "high": [3, 0.5], "low": [1, 1], "close": [2, 2]}
    broken = f'{{"symbol": "{desk.symbol}'.encode()
    feed.send(TRADE, TRADE, {"price": 9}, broken, bars | {"columns": bars["columns"] | prices})
    done = drain(desk)
    assert (done.status, counts(done), length(done)) == ("succeeded", (6, 4, 0, 2), 5)
    assert [row[2] for row in desk.ticks()] == [2.5, 2.5, 9]
    assert len(desk.bars()) == 1
    assert str(done.first_timestamp) == "2024-08-09 00:00:00+00:00"
    with desk.stores.postgres.transaction() as session:
        rejects, _ = ingestions.list_rejects(session, desk.owner_id, done.id)
    (partition,) = {reject.partition for reject in rejects}
    begin = (done.topic_range or {})[str(partition)]["begin"]
    assert sorted((reject.message_offset, reject.line) for reject in rejects) == [
        (begin + 3, 0),
        (begin + 4, 2),
    ]
    assert counts(drain(desk)) == (0, 0, 0, 0)
    again = drain(desk, offsets={str(partition): begin})
    assert counts(again) == (6, 0, 4, 2)


def test_the_request_may_say_how_much(desk: Desk, feed: Feed) -> None:
    feed.send(*[TRADE] * 10)
    found = [counts(drain(desk, max_messages=4)) for _ in range(4)]
    assert found == [(4, 4, 0, 0), (4, 4, 0, 0), (2, 2, 0, 0), (0, 0, 0, 0)]
    assert len(desk.ticks()) == 10


def test_after_the_time_it_was_given_it_ends_with_what_it_has_read(
    desk: Desk, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_consumer, "MAX_MESSAGES", 2)
    feed.send(*[TRADE] * 10)
    first = drain(desk, max_seconds=1e-9)
    assert (counts(first), length(first)) == ((2, 2, 0, 0), 2)
    assert counts(drain(desk)) == (8, 8, 0, 0)


@pytest.mark.parametrize("messages_at_once", [1, 5_000])
def test_of_two_rows_with_one_key_the_later_counts_and_both_are_accounted_for(
    desk: Desk, feed: Feed, monkeypatch: pytest.MonkeyPatch, messages_at_once: int
) -> None:
    monkeypatch.setattr(kafka_consumer, "MAX_MESSAGES", messages_at_once)
    one, two = TRADE | {"trade_id": 1}, TRADE | {"trade_id": 2}
    feed.send(one, two, one | {"price": 3}, two, one | {"price": 4}, one | {"price": 4})
    done = drain(desk)
    assert counts(done) == (6, 2, 4, 0)
    assert [row[1:3] for row in desk.ticks()] == [(1, 4), (2, 2.5)]
    assert written(desk, done) == 2


@pytest.mark.parametrize("messages_at_once", [1, 5_000])
def test_what_stood_there_is_corrected_by_what_comes_last(
    desk: Desk, feed: Feed, monkeypatch: pytest.MonkeyPatch, messages_at_once: int
) -> None:
    monkeypatch.setattr(kafka_consumer, "MAX_MESSAGES", messages_at_once)
    trades = [TRADE | {"trade_id": number} for number in (1, 2)]
    feed.send(*trades)
    feed.stream()
    feed.send(trades[0] | {"price": 5}, trades[0] | {"price": 2.5})
    feed.stream()
    before = desk.ticks()
    done = drain(desk)
    assert done.rows_read == 4
    assert desk.ticks() == before, "an ingestion of what was streamed changes nothing in the end"


@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_an_attempt_that_dies_leaves_its_rows_to_the_next(
    desk: Desk, feed: Feed, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    monkeypatch.setattr(kafka_consumer, "MAX_MESSAGES", 3)
    one = TRADE | {"trade_id": 1}
    later = one | {"price": 3}, TRADE, TRADE, one | {"price": 4}, {"price": 5}
    feed.send(one, TRADE, {"price": -1}, TRADE, *later)
    ingestion, calls = submit(desk, max_seconds=1e-9), []

    def record(*args: Any) -> None:
        calls.append(args)
        if len(calls) == fails_at:
            raise StoreUnavailable("away", "It is away.")
        kept(*args)

    kept = topic_runs.record
    monkeypatch.setattr(topic_runs, "record", record)
    claim = desk.claim(ingestion)
    # without the limit of time an attempt goes on to the end
    claim.request["source"]["max_seconds"] = 1_000.0
    with Lease(desk.stores.postgres, claim, 60) as lease, pytest.raises(StoreUnavailable):
        ingestion_runs.run(desk.stores, lease)
    monkeypatch.setattr(topic_runs, "record", kept)
    release(desk, ingestion)
    feed.send(TRADE)
    done = desk.run(ingestion)
    assert done.rows_read == done.rows_written + done.rows_duplicate + done.rows_rejected
    assert done.rows_written == written(desk, done)
    assert done.rows_read >= 3 * fails_at, "it goes at least as far as the attempt before"
    rest = drain(desk)
    assert done.rows_read + rest.rows_read == 10
    assert len(desk.ticks()) == 7
    assert next(row[2] for row in desk.ticks() if row[1] == 1) == 4


def release(desk: Desk, ingestion: Ingestion) -> None:
    """As a worker that meets an unavailable store hands the job back."""
    with desk.stores.postgres.transaction() as session:
        session.connection().exec_driver_sql(
            "UPDATE ingestions SET status = 'queued', lease_token = NULL WHERE id = %(id)s",
            {"id": ingestion.id},
        )


def test_a_cancelled_one_ends_and_the_next_begins_where_it_began(
    desk: Desk, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed.send(TRADE)

    def cancelled(_: Lease) -> None:
        raise JobCancelled("cancelled", "It was.")

    ingestion = submit(desk)
    monkeypatch.setattr(Lease, "check", cancelled)
    with pytest.raises(JobCancelled):
        desk.run(ingestion)
    monkeypatch.undo()
    assert counts(drain(desk)) == (1, 1, 0, 0)


def test_a_range_that_is_gone_fails_with_what_to_do(desk: Desk, feed: Feed, kafka: Kafka) -> None:
    feed.send(TRADE, TRADE)
    (position,) = [each for each in kafka.positions(INGESTIONS) if each.lag]
    place = TopicPartition(MARKET_DATA, position.partition)
    with KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers) as admin:
        admin.delete_records({place: position.next + 1})
    with pytest.raises(InvalidInput) as told:
        drain(desk, offsets={str(position.partition): position.next})
    assert told.value.code == "messages_gone"
    assert counts(drain(desk)) == (1, 1, 0, 0)
    with pytest.raises(InvalidInput) as told:
        drain(desk, offsets={"77": 0})
    assert told.value.code == "partition_unknown"


def test_it_waits_for_kafka(desk: Desk, feed: Feed, stack: Stack, stop_server: Callable[[str], None]) -> None:
    feed.send(TRADE)
    ingestion = submit(desk)
    stop_server("kafka")
    with pytest.raises(StoreUnavailable):
        desk.run(ingestion)
    stack.start("kafka")
    release(desk, ingestion)
    assert counts(desk.run(ingestion)) == (1, 1, 0, 0)


def test_a_range_is_chosen_in_the_order_of_the_partitions() -> None:
    positions = [Position(0, 5, 10), Position(1, 0, 4), Position(2, 7, 7)]
    nothing = {"offsets": None, "max_messages": None}
    assert topic_runs.choose_spans(positions, nothing) == {0: (5, 10), 1: (0, 4), 2: (7, 7)}
    few = nothing | {"max_messages": 6, "offsets": {"0": 8}}
    assert topic_runs.choose_spans(positions, few) == {0: (8, 10), 1: (0, 4), 2: (7, 7)}
    assert topic_runs.choose_spans(positions, few | {"max_messages": 1})[1] == (0, 0)
    assert topic_runs.choose_spans(positions, nothing | {"offsets": {"0": 99}})[0] == (10, 10)


@pytest.mark.parametrize(
    ("source", "more", "pointer", "part"),
    [
        ({"path": "a.csv"}, {}, "/source/path", "is not a field here"),
        ({"max_mesages": 1}, {}, "/source/max_mesages", 'did you mean "max_messages"?'),
        ({"max_messages": 0}, {}, "/source/max_messages", "whole number above 0"),
        ({"max_messages": True}, {}, "/source/max_messages", "whole number above 0"),
        ({"max_seconds": 0}, {}, "/source/max_seconds", "at most 3,000"),
        ({"max_seconds": 1e9}, {}, "/source/max_seconds", "at most 3,000"),
        ({"offsets": []}, {}, "/source/offsets", "must map partitions to offsets"),
        ({"offsets": {"x": 1}}, {}, "/source/offsets", "must map partitions to offsets"),
        ({"offsets": {"0": -1}}, {}, "/source/offsets", "must map partitions to offsets"),
        ({}, {"kind": "ticks"}, "/kind", "each message says what it holds"),
        ({}, {"symbol": "A"}, "/symbol", "each message says what it holds"),
        ({}, {"max_reject_share": 0}, "/max_reject_share", "each message says what it holds"),
    ],
)
def test_a_request_says_which_field_is_wrong(
    desk: Desk, source: dict[str, Any], more: dict[str, Any], pointer: str, part: str
) -> None:
    request = {"source": {"type": "kafka", **source}, **more}
    with pytest.raises(InvalidInput) as told, desk.stores.postgres.transaction() as session:
        ingestions.submit(session, desk.settings, uuid4(), request)
    assert [error.pointer for error in told.value.errors] == [pointer]
    assert part in told.value.errors[0].detail
