"""Trades and quotes, and every format: from the file to the rows in QuestDB, on the real servers."""

import csv
import gzip
import io
import json
import zipfile
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cift_core.errors import InvalidInput
from cift_core.models import Ingestion
from cift_core.services import ingestion_runs, jobs, market_writes
from cift_core.services.leases import Lease
from cift_core.services.market_kinds import TICKS
from tests.services.desk import SAMPLE, Desk, counts

HEADER = "time,price,qty,side\n"
BTC = "BTCUSDT-trades.csv.gz"


def sample(name: str = BTC) -> list[dict[str, str]]:
    with gzip.open(SAMPLE / name, "rt") as file:
        return list(csv.DictReader(file))


def stored_form(row: dict[str, str]) -> tuple[Any, ...]:
    side = "sell" if row["buyer_is_maker"] == "true" else "buy"
    return (
        int(row["timestamp"]) * 1_000_000,
        int(row["trade_id"]),
        float(row["price"]),
        float(row["quantity"]),
        side,
    )


def zipped(data: bytes, *names: str, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name in names or ("trades.csv",):
            archive.writestr(name, data)
    return out.getvalue()


def parquet(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


def trades(desk: Desk, data: str | bytes, **request: Any) -> Ingestion:
    request.setdefault("source", {"timestamp_unit": "ms"})
    upload = data if isinstance(data, bytes) else data.encode()
    options = request.pop("options", {})
    return desk.run(desk.submit(None, upload=upload, kind="ticks", **request), **options)


def test_the_sample_trades_arrive_each_as_it_is(desk: Desk) -> None:
    rows = sample()
    text = gzip.decompress((SAMPLE / BTC).read_bytes()).replace(b",BTCUSDT,", f",{desk.symbol},".encode())
    done = trades(desk, text, symbol=None, options={"chunk_bytes": 100_000})
    assert counts(done) == (19904, 19904, 0, 0)
    assert done.request["source"]["columns"] == {
        "timestamp": "timestamp",
        "price": "price",
        "size": "quantity",
        "buyer_is_maker": "buyer_is_maker",
        "trade_id": "trade_id",
        "symbol": "symbol",
    }
    assert desk.ticks() == sorted(map(stored_form, rows))
    assert done.first_timestamp == datetime(2024, 8, 8, 23, 54, 15, 342_000, UTC)
    again = trades(desk, text, symbol=None, options={"chunk_bytes": 1 << 20})
    assert counts(again) == (19904, 0, 19904, 0)
    assert desk.count_of(done) == 19904


def as_csv(rows: list[dict[str, str]]) -> bytes:
    names = list(rows[0])
    return "".join(",".join(line) + "\n" for line in [names, *(list(row.values()) for row in rows)]).encode()


def as_jsonl(rows: list[dict[str, str]]) -> bytes:
    """Prices as text, as exchanges send them; the rest as JSON's own types."""
    lines = (
        json.dumps(
            row
            | {"trade_id": int(row["trade_id"]), "timestamp": int(row["timestamp"])}
            | {"buyer_is_maker": row["buyer_is_maker"] == "true"}
        )
        for row in rows
    )
    return "\n".join(lines).encode()


def as_parquet(rows: list[dict[str, str]]) -> bytes:
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    times = pa.array([int(text) for text in columns["timestamp"]], pa.int64())
    return parquet(
        pa.table(
            {
                "trade_id": pa.array([int(text) for text in columns["trade_id"]], pa.uint64()),
                "timestamp": times.cast(pa.timestamp("ms", tz="UTC")),
                "price": pa.array([Decimal(text) for text in columns["price"]], pa.decimal128(18, 8)),
                "quantity": pa.array([float(text) for text in columns["quantity"]]),
                "buyer_is_maker": [text == "true" for text in columns["buyer_is_maker"]],
            }
        )
    )


@pytest.mark.parametrize(
    ("packed", "unit", "format_"),
    [
        (as_csv, "ms", "csv"),
        (lambda rows: gzip.compress(as_csv(rows)), "ms", "csv.gz"),
        (lambda rows: zipped(as_csv(rows)), "ms", "csv.zip"),
        (as_jsonl, "ms", "jsonl"),
        (lambda rows: gzip.compress(as_jsonl(rows)), "ms", "jsonl.gz"),
        (as_parquet, None, "parquet"),
    ],
)
def test_every_format_brings_in_the_same_trades(desk: Desk, packed: Any, unit: str, format_: str) -> None:
    rows = sample("ETHUSDT-trades.csv.gz")[:3000]
    for row in rows:
        del row["symbol"]
    done = trades(desk, packed(rows), source={"timestamp_unit": unit, "format": format_})
    assert counts(done) == (3000, 3000, 0, 0)
    assert done.request["source"]["format"] == format_
    assert desk.ticks() == sorted(map(stored_form, rows))


def test_trades_without_ids_are_all_kept_also_those_with_equal_fields(desk: Desk) -> None:
    """Numbered within their time, wherever the chunks end and in whatever order the file is."""
    text = "time,price,qty,side\n3,7,1,buy\n1,5,1,buy\n1,5,1,buy\n3,7,1,buy\n1,6,2,sell\n2,5,1,\n1,5,1,buy\n"
    expected = [
        (1_000_000, 0, 5.0, 1.0, "buy"),
        (1_000_000, 1, 5.0, 1.0, "buy"),
        (1_000_000, 2, 6.0, 2.0, "sell"),
        (1_000_000, 3, 5.0, 1.0, "buy"),
        (2_000_000, 0, 5.0, 1.0, None),
        (3_000_000, 0, 7.0, 1.0, "buy"),
        (3_000_000, 1, 7.0, 1.0, "buy"),
    ]
    for chunk_bytes in (1, 25, 1 << 20):
        desk.symbol += "x"
        assert counts(trades(desk, text, options={"chunk_bytes": chunk_bytes})) == (7, 7, 0, 0)
        assert desk.ticks() == expected
        assert counts(trades(desk, text, options={"chunk_bytes": 30})) == (7, 0, 7, 0)
        assert desk.ticks() == expected


def test_a_correction_of_one_trade_is_seen_as_one(desk: Desk) -> None:
    head = "time,id,price,qty,side\n"
    first = trades(desk, head + "1,8,5,1,buy\n1,9,5,1,buy\n2,10,5,1,sell\n")
    second = trades(desk, head + "1,8,5,1,buy\n1,9,5,1,sell\n2,10,5,,sell\n2,11,5,1,sell\n")
    assert (counts(first), counts(second)) == ((3, 3, 0, 0), (4, 3, 1, 0))
    assert [row[1:] for row in desk.ticks()] == [
        (8, 5.0, 1.0, "buy"),
        (9, 5.0, 1.0, "sell"),
        (10, 5.0, None, "sell"),
        (11, 5.0, 1.0, "sell"),
    ]
    assert (desk.count_of(first), desk.count_of(second)) == (1, 3)


@pytest.mark.parametrize("chunk_bytes", [1, 1 << 20])
def test_ids_that_meet_again_in_the_file(desk: Desk, chunk_bytes: int) -> None:
    text = "time,id,price\n1,8,5\n2,8,5\n1,8,5\n1,8,6\n1,9,5\n"
    done = trades(desk, text, options={"chunk_bytes": chunk_bytes})
    assert counts(done) == (5, 3, 1, 1)
    assert desk.rejects(done) == [
        (
            5,
            ingestion_runs.conflict_of(TICKS),
            "1,8,6",
        )
    ]


def test_nanoseconds_are_kept(desk: Desk) -> None:
    text = "time,price\n1723161255342000001,1\n1723161255342000002,2\n1723161255342000002.5,3\n"
    done = trades(desk, text, source={"timestamp_unit": "ns"})
    assert [row[0] for row in desk.ticks()] == [1723161255342000001, 1723161255342000002]
    assert desk.rejects(done)[0][1] == 'timestamp "1723161255342000002.5" is finer than a nanosecond'
    iso = "time,price\n2024-08-08T23:54:15.342000001Z,1\n"
    assert counts(trades(desk, iso, source={})) == (1, 0, 1, 0)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1,x,1,buy,8", 'price "x" is not a number'),
        ("1,0,1,buy,8", 'price "0" is not positive'),
        ("1,inf,1,buy,8", 'price "inf" is not a finite number'),
        ("1,,1,buy,8", "price is empty"),
        ("1,5,0,buy,8", 'size "0" is not positive'),
        ("1,5,-1,buy,8", 'size "-1" is not positive'),
        ("1,5,1,hold,8", 'side "hold" is neither buy nor sell'),
        ("1,5,1,buy,8x", 'trade_id "8x" is not a whole number of at most 63 bits'),
        ("1,5,1,buy,", 'trade_id "" is not a whole number of at most 63 bits'),
        ("1,5,1,buy,9223372036854775808", "is not a whole number of at most 63 bits"),
        ("9007113600000,5,1,buy,8", "lies outside 1970-01-01 .. 2255-06-04 (is the unit ms right?)"),
    ],
)
def test_bad_trades_are_rejects(desk: Desk, line: str, reason: str) -> None:
    done = trades(desk, f"time,price,qty,side,id\n1,5,1,B,7\n{line}\n2,5,1,SELL,9\n")
    assert counts(done) == (3, 2, 0, 1)
    ((place, found, raw),) = desk.rejects(done)
    assert (place, raw) == (3, line)
    assert reason in found
    assert [row[4] for row in desk.ticks()] == ["buy", "sell"]


def test_quotes_arrive_the_crossed_ones_too(desk: Desk) -> None:
    text = (
        "time,bid,ask,bid_size,ask_size\n1,1.1,1.2,5,0\n1,1.1,1.2,5,0\n2,1.2,1.2,,\n3,1.3,1.2,1,1\n4,,1,1,1\n"
    )
    done = desk.run(desk.submit(None, upload=text.encode(), kind="quotes", source={"timestamp_unit": "s"}))
    assert counts(done) == (5, 4, 0, 1)
    assert [reason for _, reason, _ in desk.rejects(done)] == ["bid is empty"]
    assert desk.quotes() == [
        (10**9, 0, 1.1, 1.2, 5.0, 0.0),
        (10**9, 1, 1.1, 1.2, 5.0, 0.0),
        (2 * 10**9, 0, 1.2, 1.2, None, None),
        (3 * 10**9, 0, 1.3, 1.2, 1.0, 1.0),
    ]


def test_crossed_quotes_are_refused_on_demand(desk: Desk) -> None:
    text = "time,bid,ask\n1,1.1,1.2\n2,1.2,1.2\n3,1.30,1.2\n4,,1\n"
    source = {"timestamp_unit": "s"}
    done = desk.run(
        desk.submit(None, upload=text.encode(), kind="quotes", source=source, crossed_quotes="reject")
    )
    assert counts(done) == (4, 2, 0, 2)
    assert [reason for _, reason, _ in desk.rejects(done)] == ["bid 1.30 is above ask 1.2", "bid is empty"]


@pytest.mark.parametrize(
    ("request_", "detail"),
    [
        ({"kind": "quotes", "crossed_quotes": "drop"}, "'drop' is none of: keep, reject"),
        ({"kind": "ticks", "crossed_quotes": "keep"}, "leave it out: ticks have none"),
    ],
)
def test_a_word_about_crossed_quotes_that_means_nothing(
    desk: Desk, request_: dict[str, Any], detail: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        desk.submit(None, upload=b"time,bid,ask,price\n1,1,2,1\n", **request_)
    assert [(e.pointer, e.detail) for e in caught.value.errors] == [("/crossed_quotes", detail)]


def test_bars_from_parquet_and_json_lines(desk: Desk) -> None:
    lines = [
        '{"date": "2020-01-01", "open": 1, "high": 2.50, "low": "1", "close": 2, "volume": null}',
        '{"date": "2020-01-02", "open": 1, "high": 2, "low": 1, "close": 3}',
        "{",
        "[1]",
        '{"date": "2020-01-03", "open": [1], "high": 2, "low": 1, "close": 2}',
        '{"date": "2020-01-04", "open": NaN, "high": 2, "low": 1, "close": 2}',
        "",
        '{"date": "2020-01-05\\u0000", "open": 1, "high": 2, "low": 1, "close": "\\ud800"}',
    ]
    done = desk.run(desk.submit(None, upload="\n".join(lines).encode()))
    assert counts(done) == (8, 1, 0, 7)
    assert [(place, reason) for place, reason, _ in desk.rejects(done)] == [
        (2, "close 3 lies outside low 1 .. high 2"),
        (3, "not JSON: Expecting property name enclosed in double quotes (column 2)"),
        (4, "not a JSON object"),
        (5, "open is neither a number nor text"),
        (6, 'open "NaN" is not a finite number'),
        (7, "the line is empty"),
        (8, 'timestamp "2020-01-05\\x00" is not an ISO 8601 time; close "\\ud800" is not a number'),
    ]
    table = pa.table(
        {
            "day": [datetime(2020, 1, 1).date(), datetime(2020, 2, 1).date(), None],  # noqa: DTZ001
            "o": pa.array([1, 1, 1], pa.int32()),
            "h": pa.array([2.5, np.nan, 1], pa.float32()),
            "l": [1.0, 1, 1],
            "c": ["2", "x", "1"],
        }
    )
    columns = {"timestamp": "day", "open": "o", "high": "h", "low": "l", "close": "c"}
    again = desk.run(desk.submit(None, upload=parquet(table), source={"columns": columns}))
    assert counts(again) == (3, 0, 1, 2)
    assert desk.rejects(again) == [
        (
            2,
            'high "nan" is not a finite number; close "x" is not a number',
            "day=2020-02-01 00:00:00, o=1, h=nan, l=1.0, c=x",
        ),
        (3, "timestamp is empty", "day=None, o=1, h=1.0, l=1.0, c=1"),
    ]


@pytest.mark.parametrize(
    ("column", "source", "expected"),
    [
        (pa.array([datetime(2020, 7, 2, 9, 30)]), {"timezone": "America/New_York"}, "2020-07-02T13:30"),  # noqa: DTZ001
        (pa.array([1593696600.25]), {"timestamp_unit": "s"}, "2020-07-02T13:30:00.250"),
        (pa.array([1593696600000.0]), {"timestamp_unit": "ms"}, "2020-07-02T13:30"),
        (pa.array([1593696600000000001], pa.timestamp("ns")), {}, "2020-07-02T13:30:00.000000001"),
        (pa.array(["2020-07-02 13:30"]).dictionary_encode(), {}, "2020-07-02T13:30"),
    ],
)
def test_times_of_parquet_columns(
    desk: Desk, column: pa.Array, source: dict[str, Any], expected: str
) -> None:
    trades(desk, parquet(pa.table({"time": column, "price": [1.0]})), source=source)
    assert [row[0] for row in desk.ticks()] == [int(np.datetime64(expected, "ns").astype(np.int64))]


def huge_parquet() -> bytes:
    """5e8 rows that take a few kilobytes."""
    column = pa.DictionaryArray.from_arrays(np.zeros(10_000_000, np.int8), pa.array(["1"]))
    out = io.BytesIO()
    with pq.ParquetWriter(out, pa.schema({"time": column.type, "price": column.type})) as writer:
        batch = pa.table({"time": column, "price": column})
        writer.write_table(batch, row_group_size=10_000_000)
    return out.getvalue()


ENCRYPTED = bytearray(zipped(b"time,price\n1,2\n"))
ENCRYPTED[ENCRYPTED.rindex(b"PK\x01\x02") + 8] |= 1


@pytest.mark.parametrize(
    ("data", "source", "code", "part"),
    [
        (zipped(b"a", "a.csv", "b.csv"), {}, "zip_members", "holds 2 files"),
        (zipped(b"", *(f"{i}/" for i in range(2000))), {}, "zip_members", "lists hundreds"),
        (zipped(b"time,price\n1,2\n")[:-30], {}, "zip_corrupt", "no end"),
        (zipped(b"time,price\n1,2\n", method=zipfile.ZIP_LZMA), {}, "zip_method", "another method"),
        (bytes(ENCRYPTED), {}, "zip_encrypted", "encrypted"),
        (b"PAR1 and no more", {}, "parquet_corrupt", "Parquet"),
        (b"{\n", {}, "not_json", "first line"),
        (b'{"time": 1, "price": 2}', {"format": "csv"}, "wrong_format", "the file is jsonl"),
        (b'{"time": 1, "price": 2}', {"header": ["a", "b"]}, "invalid_ingestion", "names its columns itself"),
        (b"time,price,side,buyer_is_maker\n", {}, "invalid_ingestion", "says the same as side"),
        (parquet(pa.table({"time": [1], "price": [1.0]})), {}, "invalid_ingestion", "say s, ms, us or ns"),
        (parquet(pa.table({"time": [b"x"], "price": [1.0]})), {}, "invalid_ingestion", "is of type binary"),
    ],
)
def test_files_refused_at_submit(
    desk: Desk, data: bytes, source: dict[str, Any], code: str, part: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        desk.submit(None, upload=data, kind="ticks", source=source)
    assert caught.value.code == code
    assert part in caught.value.message + str(caught.value.errors)


def test_bombs_and_damage_end_the_job(desk: Desk) -> None:
    note = b"x" * 20_000
    bomb = b"time,price,note\n" + b"".join(b"%d,2,%s\n" % (n, note) for n in range(2_000))
    damaged = bytearray(zipped(b"time,price\n" + b"".join(b"%d,2\n" % n for n in range(100_000))))
    damaged[50_000:50_100] = bytes(100)
    cut = zipped(b"time,price\n" + b"1,2\n" * 10, "__MACOSX/._trades.csv", "trades.csv")
    assert counts(trades(desk, cut)) == (10, 10, 0, 0)
    for data, code in ((zipped(bomb), "compression_bomb"), (bytes(damaged), "zip_corrupt")):
        with pytest.raises(InvalidInput) as caught:
            trades(desk, data)
        assert caught.value.code == code
    small = Desk(desk.stores, desk.owner_id)
    object.__setattr__(small.stores.settings, "max_unpacked_bytes", 1_000_000)
    with pytest.raises(InvalidInput) as caught:
        trades(small, huge_parquet())
    assert caught.value.code == "unpacked_too_large"


class Killed(Exception):
    """Stands for the worker's end: nothing after it runs."""


@pytest.mark.parametrize("with_ids", [True, False])
def test_a_killed_attempt_s_trades_are_found_again(desk: Desk, with_ids: bool) -> None:
    rows = sample()[:4000]
    for row in rows:
        del row["symbol"]
        if not with_ids:
            del row["trade_id"]
    data = as_csv(rows)
    ingestion = desk.submit(None, upload=data, kind="ticks", source={"timestamp_unit": "ms"})
    claim = desk.claim(ingestion)

    class Dying(Lease):
        chunks = 0

        def check(self) -> None:
            self.chunks += 1
            if self.chunks > 5:
                raise Killed

    with pytest.raises(Killed):
        ingestion_runs.run(desk.stores, Dying(desk.stores.postgres, claim, 60), chunk_bytes=20_000)
    assert 0 < desk.get(ingestion).rows_written < 4000
    with desk.stores.postgres.transaction() as session:
        assert jobs.release(session, claim)
    done = desk.run(ingestion, chunk_bytes=33_000)
    assert counts(done) == (4000, 4000, 0, 0)
    assert len(desk.ticks()) == 4000
    assert counts(trades(desk, data)) == (4000, 0, 4000, 0)


def test_stored_rows_are_compared_page_by_page(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where more trades share a time than a page holds."""
    text = "time,price\n" + "".join(f"{n // 40},{n + 1}\n" for n in range(100))
    assert counts(trades(desk, text)) == (100, 100, 0, 0)
    for page_rows in (1, 7, 40, 99, 100):
        monkeypatch.setattr(market_writes, "PAGE_ROWS", page_rows)
        assert counts(trades(desk, text)) == (100, 0, 100, 0)
