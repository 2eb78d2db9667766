"""Rows by `Accept`: JSON by page, CSV and Arrow whole and by page, on real trades, bars and results."""

import csv
import gzip
import io
import json
import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from cift_core.errors import StoreUnavailable
from cift_web.rows import ARROW, CSV, STREAMED_ROWS
from tests.web.conftest import BACKTEST, Client
from tests.web.test_market_data import TRADES, pages

Work = Callable[[str], None]


def ingested(client: Client, work: Work, text: bytes, **request: Any) -> None:
    form = {
        "request": json.dumps({"source": {"type": "file", "timestamp_unit": "ms"}, **request}),
        "file": (io.BytesIO(gzip.compress(text)), "file.csv.gz"),
    }
    made = client.post("/api/v1/ingestions", data=form, content_type="multipart/form-data")
    work(made.json["id"])
    assert client.get(made.headers["Location"]).json["status"] == "succeeded"


@pytest.fixture
def traded(alice: Client, work: Work) -> str:
    """A symbol with all sample trades: more than are streamed at a time."""
    symbol = f"T{uuid4().hex[:9]}"
    text = gzip.decompress(TRADES.read_bytes()).replace(b",BTCUSDT,", f",{symbol},".encode())
    ingested(alice, work, text, kind="ticks")
    return symbol


def as_csv(client: Client, path: str) -> list[dict[str, str]]:
    answer = client.get(path, headers={"Accept": CSV})
    assert answer.content_type.startswith(CSV)
    return list(csv.DictReader(io.StringIO(answer.text)))


def as_arrow(client: Client, path: str) -> pa.Table:
    answer = client.get(path, headers={"Accept": ARROW})
    assert answer.content_type == ARROW
    return pa.ipc.open_stream(answer.data).read_all()


def assert_same(items: list[dict[str, Any]], rows: list[dict[str, str]], table: pa.Table) -> None:
    assert list(rows[0]) == table.column_names
    assert rows == [{k: "" if v is None else str(v) for k, v in item.items()} for item in items]
    for name in table.column_names:
        column, told = table[name], [item[name] for item in items]
        if pa.types.is_timestamp(column.type):
            assert column.type == pa.timestamp("ns", "UTC")
            milliseconds = pc.strftime(column.cast(pa.timestamp("ms", "UTC")), "%Y-%m-%dT%H:%M:%S")
            assert [text.removesuffix("Z").removesuffix(".000") for text in milliseconds.to_pylist()] == [
                text.removesuffix("Z").removesuffix(".000") for text in told
            ]
        else:
            assert column.to_pylist() == told


def test_all_trades_come_as_one_stream(alice: Client, traded: str) -> None:
    path = f"/api/v1/ticks?symbol={traded}"
    items = pages(alice, f"{path}&limit=10000")
    assert len(items) > STREAMED_ROWS
    assert_same(items, as_csv(alice, path), as_arrow(alice, path))


def test_a_page_is_a_page_in_every_form(alice: Client, traded: str) -> None:
    path = f"/api/v1/ticks?symbol={traded}&limit=3"
    first = alice.get(path)
    assert_same(first.json["items"], as_csv(alice, path), as_arrow(alice, path))
    (link,) = re.findall(r'<([^>]+)>; rel="next"', alice.get(path, headers={"Accept": ARROW}).headers["Link"])
    assert as_arrow(alice, link)["trade_id"].to_pylist() == [
        item["trade_id"] for item in alice.get(link).json["items"]
    ]
    assert "Accept" in first.headers["Vary"]


def test_built_bars_come_as_one_stream(alice: Client, traded: str) -> None:
    path = f"/api/v1/bars?symbol={traded}&interval=1s"
    items = pages(alice, f"{path}&limit=100")
    assert {item["adjusted_close"] for item in items} == {None}
    assert_same(items, as_csv(alice, path), as_arrow(alice, path))


def test_trades_and_equity_of_a_backtest_come_as_one_stream(alice: Client, traded: str, work: Work) -> None:
    request = BACKTEST | {"symbols": [traded], "interval": "tick"}
    path = f"/api/v1/backtests/{alice.post('/api/v1/backtests', json=request).json['id']}"
    work(path.rpartition("/")[2])
    for part, name in (("trades", "exit_time"), ("equity", "time")):
        items = pages(alice, f"{path}/{part}?limit=500")
        rows, table = as_csv(alice, f"{path}/{part}"), as_arrow(alice, f"{path}/{part}")
        assert_same(items, rows, table)
        assert pa.types.is_timestamp(table[name].type)
        tags = [
            alice.get(f"{path}/{part}", headers={"Accept": form}).headers["ETag"] for form in (CSV, ARROW)
        ]
        assert len({*tags, alice.get(f"{path}/{part}").headers["ETag"]}) == 3
    thinned = f"{path}/equity?max_points=10"
    assert_same(alice.get(thinned).json["items"], as_csv(alice, thinned), as_arrow(alice, thinned))


def test_without_rows_there_are_the_columns(alice: Client) -> None:
    path = f"/api/v1/backtests/{alice.post('/api/v1/backtests', json=BACKTEST).json['id']}/equity"
    columns = ["time", "equity", "cash", "position_value", "drawdown"]
    assert alice.get(path, headers={"Accept": CSV}).text == ",".join(columns) + "\n"
    table = as_arrow(alice, path)
    assert (table.num_rows, table.column_names) == (0, columns)


def test_a_stream_that_is_cut_off_is_known_to_be(
    alice: Client, traded: str, stop_server: Callable[[str], None]
) -> None:
    answer = alice.app.test_client().get(
        f"/api/v1/ticks?symbol={traded}",
        headers={"Accept": ARROW, "Authorization": f"Bearer {alice.token}"},
    )
    parts = answer.iter_encoded()
    received = next(parts)
    stop_server("questdb")
    with pytest.raises(StoreUnavailable):
        next(parts)
    reader = pa.ipc.open_stream(received)
    assert reader.read_next_batch().num_rows == STREAMED_ROWS
    with pytest.raises((OSError, pa.ArrowInvalid, StopIteration)):
        reader.read_next_batch()


def test_what_is_wrong_is_told_before_a_stream_begins(alice: Client) -> None:
    for accept in (CSV, ARROW):
        refused = alice.get("/api/v1/ticks?symbol=NOTTHERE", headers={"Accept": accept})
        assert (refused.status_code, refused.json["code"]) == (422, "no_ticks")
