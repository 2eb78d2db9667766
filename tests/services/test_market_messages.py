"""Messages of the topic as rows: what each form holds, what is refused, and that a place is a row's own."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cift_core.services.market_kinds import TICKS
from cift_core.services.market_messages import Parsed, Refused, encode_rows, parse_messages, place_of
from cift_core.services.market_rows import MarketRows
from cift_core.services.message_schema import MAX_ROWS
from cift_core.stores.kafka import Message

NOON_MS = 1_723_204_800_000
BATCH: dict[str, Any] = {
    "version": 1,
    "kind": "ticks",
    "symbol": "BTCUSDT",
    "timestamp_unit": "ms",
    "columns": {
        "timestamp": [NOON_MS, NOON_MS, NOON_MS + 1],
        "price": [1.5, "2", 3],
        "side": ["buy", "s", None],
    },
}
QUOTES: dict[str, Any] = {
    "version": 1,
    "kind": "quotes",
    "timestamp_unit": "ns",
    "columns": {"timestamp": [5], "symbol": ["EUR/USD"], "bid": [1.1], "ask": [1.2], "ordinal": [7]},
}
BARS: dict[str, Any] = {
    "version": 1,
    "kind": "bars",
    "symbol": "SPY",
    "interval": "1d",
    "columns": {
        "timestamp": ["2024-08-09"],
        "open": [2],
        "high": [3],
        "low": [1],
        "close": [2.5],
        "volume": [None],
    },
}


def message(value: Any, offset: int = 0, partition: int = 0) -> Message:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Message(partition, offset, NOON_MS, raw)


def one(*messages: Message) -> Parsed:
    (parsed,), refused = parse_messages(messages)
    assert refused == []
    return parsed


def symbols(rows: MarketRows) -> list[str]:
    return [rows.names[code] for code in rows.codes]


def the_refused(value: Any) -> Refused:
    parsed, (refused,) = parse_messages([message(value)])
    assert sum(len(each.rows) for each in parsed) == 0
    return refused


def changed(batch: dict[str, Any], **members: Any) -> dict[str, Any]:
    """The batch with other members; None leaves one out. `columns` are added to its own."""
    columns = {**batch["columns"], **members.pop("columns", {})}
    given = {**batch, "columns": {name: column for name, column in columns.items() if column is not None}}
    return {name: value for name, value in {**given, **members}.items() if value is not None}


def test_the_plain_trade_has_the_servers_time_and_says_so() -> None:
    parsed = one(message({"symbol": "AAPL", "price": 150.50}, 41, 3))
    assert parsed.server_time
    assert symbols(parsed.rows) == ["AAPL"]
    assert parsed.rows.times_ns.tolist() == [NOON_MS * 1_000_000]
    assert parsed.rows.numbers.tolist() == [place_of(3, 41, 0)]
    np.testing.assert_array_equal(parsed.rows.values, [[150.5, np.nan, np.nan]])


def test_a_whole_trade_says_all_by_itself() -> None:
    trade = {"symbol": "X", "price": "1.25", "timestamp": "2024-08-09T12:00:00.000000001Z", "size": 2}
    parsed = one(message(trade | {"side": "SELL", "trade_id": 12}))
    assert not parsed.server_time
    assert parsed.rows.times_ns.tolist() == [NOON_MS * 1_000_000 + 1]
    assert parsed.rows.numbers.tolist() == [12]
    np.testing.assert_array_equal(parsed.rows.values, [[1.25, 2, -1]])


def test_a_trades_members_are_found_by_their_usual_names_and_others_are_ignored() -> None:
    trade = {"Ticker": "X", "Price": 1, "qty": 2, "Buyer Is Maker": True, "Time": 1, "venue": {"a": 1}}
    parsed = one(message(trade | {"timestamp_unit": "s"}))
    np.testing.assert_array_equal(parsed.rows.values, [[1, 2, -1]])
    assert parsed.rows.times_ns.tolist() == [1_000_000_000]


def test_equal_trades_are_two_and_a_message_that_comes_again_is_the_same() -> None:
    trade = {"symbol": "X", "price": 1, "timestamp": "2024-08-09"}
    twice = one(message(trade, 1), message(trade, 2))
    assert len(set(twice.rows.numbers)) == 2
    again = one(message(trade, 2))
    assert again.rows.numbers.tolist() == twice.rows.numbers[1:].tolist()
    assert again.rows.times_ns.tolist() == twice.rows.times_ns[1:].tolist()


def test_a_batch_of_trades_without_ids_is_numbered_by_place() -> None:
    parsed = one(message(BATCH, 9))
    assert parsed.rows.numbers.tolist() == [place_of(0, 9, row) for row in range(3)]
    np.testing.assert_array_equal(
        parsed.rows.values, [[1.5, np.nan, 1], [2, np.nan, -1], [3, np.nan, np.nan]]
    )


def test_quotes_and_bars() -> None:
    quotes = one(message(QUOTES)).rows
    assert (symbols(quotes), quotes.times_ns.tolist(), quotes.numbers.tolist()) == (
        ["EUR/USD"],
        [5],
        [7],
    )
    bars = one(message(BARS))
    assert (bars.kind.name, bars.interval) == ("bars", "1d")
    assert bars.rows.numbers.tolist() == [0]
    np.testing.assert_array_equal(bars.rows.values, [[2, 3, 1, 2.5, np.nan, np.nan]])


def test_messages_of_one_shape_are_parsed_together_each_row_with_its_own_place() -> None:
    other = changed(BATCH, symbol="ETHUSDT")
    parsed = one(message(BATCH, 1), message(other, 2, partition=5))
    assert symbols(parsed.rows) == ["BTCUSDT"] * 3 + ["ETHUSDT"] * 3
    assert parsed.rows.places.tolist() == [place_of(0, 1, row) for row in range(3)] + [
        place_of(5, 2, row) for row in range(3)
    ]


def test_rows_are_in_the_order_of_the_log_whatever_members_their_messages_have() -> None:
    trade = {"symbol": "X", "price": 1, "timestamp": "2024-08-09", "trade_id": 1}
    rows = one(message(trade | {"size": 2}, 1), message(trade, 2), message(trade | {"size": 3}, 3)).rows
    np.testing.assert_array_equal(rows.values[:, 1], [2, np.nan, 3])


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"3", "not a JSON object"),
        ({"price": 1}, "symbol is missing"),
        ({"symbol": "A", "prise": 1}, "price is missing"),
        ({"symbol": "A", "price": 1, "Price": 2}, "price and Price could each be the price"),
        ({"symbol": "A", "price": 1, "side": "buy", "buyer_is_maker": True}, "says the same as side"),
        (
            {"symbol": "A", "price": 1, "timestamp": 5, "timestamp_unit": "min"},
            "timestamp_unit must be s, ms",
        ),
        ({"symbol": "A", "price": 1, "timestamp": 5, "timestamp_unit": 5}, "timestamp_unit must be text"),
        (changed(BATCH, version=2), "version 2 is not known here; known is 1"),
        (changed(BATCH, version=None), "version None is not known"),
        (changed(BATCH, kind="trades"), "kind 'trades' is none of: bars, ticks, quotes"),
        (changed(BATCH, simbol="A"), 'simbol is not a member here (did you mean "symbol"?)'),
        (changed(BATCH, interval="1d"), "interval '1d' must be left out: ticks have none"),
        (changed(BARS, interval="2d"), "interval '2d' is none of: 1s"),
        (changed(BATCH, symbol="A B"), "symbol 'A B' does not match"),
        (changed(BATCH, symbol=None), "symbol must be a member or a column"),
        (changed(QUOTES, symbol="A"), "symbol must be a member or a column"),
        (changed(BATCH, columns={"prize": [1, 2, 3]}), 'ticks have no prize (did you mean "price"?)'),
        (changed(BATCH, columns={"price": None}), "columns: price must be there"),
        (changed(BATCH, columns={"price": [1]}), "all must have one length"),
        (changed(QUOTES, columns={name: [] for name in QUOTES["columns"]}), "all must have one length"),
        (
            {"version": 1, "kind": "ticks", "symbol": "A", "columns": {"price": 1}},
            "must be an object of lists",
        ),
        ({"version": 1, "kind": "ticks", "symbol": "A"}, "must be an object of lists"),
    ],
)
def test_a_message_that_can_not_be_read_is_refused_whole_and_kept_as_it_was(value: Any, reason: str) -> None:
    refused = the_refused(value)
    assert refused.row is None
    assert reason in refused.reason
    assert refused.value == message(value).value


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"price": [1, 0, 3]}, 'price "0" is not positive'),
        ({"price": [1, "x", 3]}, 'price "x" is not a number'),
        ({"price": [1, [2], 3]}, 'price "[2]" is not a number'),
        ({"price": [1, True, 3]}, 'price "true" is not a number'),
        ({"price": [1, None, 3]}, "price is empty"),
        ({"price": [1, float("nan"), 3]}, "is not a finite number"),
        ({"size": [1, -1, 1]}, "is not positive"),
        ({"side": ["buy", "hold", "sell"]}, 'side "hold" is neither buy nor sell'),
        ({"timestamp": [1, 10**17, 3]}, "lies outside 1970-01-01 .. 2255-06-04"),
        ({"timestamp": [1, "soon", 3]}, 'timestamp "soon" is not a time in ms since 1970'),
        ({"trade_id": [1, -2, 3]}, 'trade_id "-2" is not a whole number'),
        ({"trade_id": [1, 2**64, 3]}, "is not a whole number of at most 63 bits"),
    ],
)
def test_a_bad_row_is_refused_alone_as_a_message_that_may_be_sent_again(
    columns: dict[str, list[Any]], reason: str
) -> None:
    parsed, (refused,) = parse_messages([message(changed(BATCH, columns=columns), 6)])
    assert sum(len(each.rows) for each in parsed) == 2
    assert refused.row == 1
    assert reason in refused.reason
    again = the_refused(refused.value)
    assert (again.row, again.reason) == (0, refused.reason)


def test_a_bad_trade_is_kept_as_it_was() -> None:
    trade = {"symbol": "A B", "price": -1}
    refused = the_refused(trade)
    assert refused.row is None
    assert refused.reason == 'symbol "A B" does not match ' + r"[A-Za-z0-9][A-Za-z0-9._/-]{0,31}; " + (
        'price "-1" is not positive'
    )
    assert json.loads(refused.value) == trade


def test_text_that_is_none_is_refused_and_not_fatal() -> None:
    parsed, refused = parse_messages(
        [message(b'{"symbol": "\\ud800", "price": 1}'), message({"symbol": "A", "price": 1})]
    )
    assert sum(len(each.rows) for each in parsed) == 1
    assert len(refused) == 1


def test_a_batch_has_so_many_rows_and_no_more() -> None:
    columns = {"timestamp": list(range(MAX_ROWS + 1)), "price": [1] * (MAX_ROWS + 1), "side": None}
    assert "one length of 1 to 65,536" in the_refused(changed(BATCH, columns=columns)).reason


@pytest.mark.parametrize("batch", [BATCH, QUOTES, BARS])
def test_rows_written_as_a_message_are_read_as_the_same_rows(batch: dict[str, Any]) -> None:
    parsed = one(message(batch, 3))
    rows = parsed.rows
    value = encode_rows(parsed.kind, parsed.interval, rows.symbols[0], rows)
    read = one(message(value)).rows
    for name in ("symbols", "times_ns", "numbers", "values"):
        np.testing.assert_array_equal(getattr(read, name), getattr(rows, name))


@given(
    prices=st.lists(st.floats(min_value=5e-324, allow_infinity=False), min_size=1, max_size=20),
    data=st.data(),
)
def test_every_price_and_time_comes_through_to_the_last_digit(
    prices: list[float], data: st.DataObject
) -> None:
    count = len(prices)
    times = data.draw(st.lists(st.integers(0, 9_007_113_599_999_999_999), min_size=count, max_size=count))
    ids = data.draw(st.lists(st.integers(0, 2**63 - 1), min_size=count, max_size=count))
    values = np.column_stack([prices, np.full(count, np.nan), np.full(count, np.nan)])
    rows = MarketRows(
        ("S",),
        np.zeros(count, dtype=np.int32),
        np.array(times, dtype=np.int64),
        np.array(ids, dtype=np.int64),
        values,
        np.zeros(count, dtype=np.int64),
    )
    read = one(message(encode_rows(TICKS, None, "S", rows))).rows
    assert (read.times_ns.tolist(), read.numbers.tolist()) == (times, ids)
    assert read.values[:, 0].tolist() == prices


@given(
    st.lists(
        st.tuples(st.integers(0, 127), st.integers(0, 2**40 - 1), st.integers(0, MAX_ROWS - 1)), unique=True
    )
)
def test_a_place_is_one_rows_own_and_in_the_order_of_the_log(places: list[tuple[int, int, int]]) -> None:
    numbers = [place_of(*place) for place in sorted(places)]
    assert numbers == sorted(set(numbers))
    assert all(0 <= number < 2**63 for number in numbers)


@pytest.mark.parametrize(("partition", "offset"), [(128, 0), (0, 2**40)])
def test_a_place_beyond_what_a_number_holds_is_an_error(partition: int, offset: int) -> None:
    with pytest.raises(OverflowError):
        place_of(partition, offset, 0)
