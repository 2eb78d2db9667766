"""/bars, /ticks, /quotes and the last price, through the API."""

import csv
import gzip
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.web.conftest import Client
from tests.web.test_cli import cift

TRADES = Path(__file__).resolve().parents[2] / "data" / "sample" / "BTCUSDT-trades.csv.gz"
Ingest = Callable[..., None]


@pytest.fixture
def ingest(alice: Client, work: Callable[[str], None]) -> Ingest:
    """Brings a text in."""

    def ingest(text: str, **request: Any) -> None:
        request = {"source": {"type": "file", "timestamp_unit": "ms"}, "kind": "ticks", **request}
        form = {"request": json.dumps(request), "file": (io.BytesIO(text.encode()), "file.csv")}
        made = alice.post("/api/v1/ingestions", data=form, content_type="multipart/form-data")
        assert made.status_code == 202, made.text
        work(made.json["id"])
        assert alice.get(made.headers["Location"]).json["status"] == "succeeded"

    return ingest


def pages(client: Client, path: str) -> list[dict[str, Any]]:
    items, cursor = [], ""
    while True:
        page = client.get(path + cursor).json
        items += page["items"]
        if page["next"] is None:
            return items
        assert page["items"]
        cursor = f"&cursor={page['next']}"


def test_the_trades_are_read_in_pages_as_they_were_sent(alice: Client, ingest: Ingest) -> None:
    symbol = f"T/{uuid4().hex[:9]}"
    lines = (
        gzip.decompress(TRADES.read_bytes()).decode().replace(",BTCUSDT,", f",{symbol},").splitlines()[:2001]
    )
    ingest("\n".join(lines))
    rows = list(csv.DictReader(lines))
    found = pages(alice, f"/api/v1/ticks?symbol={symbol}&limit=333")
    assert [item["trade_id"] for item in found] == [int(row["trade_id"]) for row in rows]
    assert [item["price"] for item in found] == [float(row["price"]) for row in rows]
    assert [item["side"] == "sell" for item in found] == [row["buyer_is_maker"] == "true" for row in rows]
    assert found[0]["time"] == "2024-08-08T23:54:15.342Z"
    for interval in ("1s", "5s", "1m", "1d"):
        whole = alice.get(f"/api/v1/bars?symbol={symbol}&interval={interval}&limit=10000").json
        assert whole["next"] is None
        assert pages(alice, f"/api/v1/bars?symbol={symbol}&interval={interval}&limit=7") == whole["items"]
        assert sum(bar["volume"] for bar in whole["items"]) == pytest.approx(
            sum(item["size"] for item in found)
        )
    assert alice.get(f"/api/v1/instruments/{symbol}").json["rows"] == 2000
    last = alice.get(f"/api/v1/instruments/{symbol}/last").json
    assert (last["price"], last["kind"]) == (found[-1]["price"], "ticks")
    start = found[1000]["time"]
    late = pages(alice, f"/api/v1/ticks?symbol={symbol}&start={start}&limit=500")
    assert late == [item for item in found if item["time"] >= start]


def test_csv_by_accept_with_a_link_to_the_next_page(alice: Client, ingest: Ingest) -> None:
    symbol = f"T{uuid4().hex[:9]}"
    ingest("time,bid,ask,bid_size\n1,1,2,5\n1,1,2.5,\n2,2,2,1\n", kind="quotes", symbol=symbol)
    path, accept = f"/api/v1/quotes?symbol={symbol}&limit=2", {"Accept": "text/csv"}
    first = alice.get(path, headers=accept)
    assert first.content_type.startswith("text/csv")
    assert first.text.splitlines() == [
        "time,bid,ask,bid_size,ask_size",
        "1970-01-01T00:00:00.001Z,1.0,2.0,5.0,",
        "1970-01-01T00:00:00.001Z,1.0,2.5,,",
    ]
    (link,) = re.findall(r'<([^>]+)>; rel="next"', first.headers["Link"])
    second = alice.get(link, headers=accept)
    assert second.text.splitlines()[1:] == ["1970-01-01T00:00:00.002Z,2.0,2.0,1.0,"]
    assert "Link" not in second.headers
    assert alice.get(path).json["items"][0]["ask_size"] is None


def test_stored_bars_are_paged_and_another_interval_is_built_of_them(alice: Client, ingest: Ingest) -> None:
    symbol = f"T{uuid4().hex[:9]}"
    lines = "".join(f"{n * 60_000},1,{2 + n},1,2,1,4\n" for n in range(12))
    header = "time,open,high,low,close,volume,adj close\n"
    ingest(header + lines, kind="bars", symbol=symbol, interval="1m")
    stored = pages(alice, f"/api/v1/bars?symbol={symbol}&interval=1m&limit=5")
    assert [bar["high"] for bar in stored] == [2.0 + n for n in range(12)]
    assert stored[0]["adjusted_close"] == 4.0
    built = pages(alice, f"/api/v1/bars?symbol={symbol}&interval=5m&limit=2")
    assert [bar["high"] for bar in built] == [6.0, 11.0, 13.0]
    assert [bar["volume"] for bar in built] == [5.0, 5.0, 2.0]
    assert built[0]["adjusted_close"] is None
    end = "&end=1970-01-01T00:03:00Z"
    assert len(pages(alice, f"/api/v1/bars?symbol={symbol}&interval=1m{end}&limit=2")) == 3
    later = alice.get(f"/api/v1/bars?symbol={symbol}&interval=5m&start=2000-01-01T00:00:00Z")
    assert later.json == {"items": [], "next": None}


def test_bars_that_there_are_none_of_are_told_with_what_there_is(alice: Client, ingest: Ingest) -> None:
    symbol = f"T{uuid4().hex[:9]}"
    ingest("time,open,high,low,close\n0,1,2,1,2\n", kind="bars", symbol=symbol, interval="1d")
    for asked, interval, says in (
        (f"{symbol}x", "1d", f'no bars for {symbol}x 1d (did you mean "{symbol}"?); available symbols: '),
        (symbol, "1h", f"no bars for {symbol} 1h; available: {symbol} 1d 1970-01-01T00:00:00Z to "),
    ):
        refused = alice.get(f"/api/v1/bars?symbol={asked}&interval={interval}")
        assert (refused.status_code, refused.json["code"]) == (422, "no_bars")
        assert refused.json["detail"].startswith(says)
        assert [error["pointer"] for error in refused.json["errors"]] == ["/symbol"]


@pytest.mark.parametrize(
    ("kind", "text"), [("ticks", "time,price\n1000,5\n"), ("quotes", "time,bid,ask\n1000,1,2\n")]
)
def test_a_symbol_without_a_row_is_told_with_what_there_is(
    alice: Client, ingest: Ingest, kind: str, text: str
) -> None:
    symbol = f"T{uuid4().hex[:9]}"
    ingest(text, kind=kind, symbol=symbol)
    refused = alice.get(f"/api/v1/{kind}?symbol={symbol}x&start=2000-01-01T00:00:00Z")
    assert (refused.status_code, refused.json["code"]) == (422, f"no_{kind}")
    assert refused.json["detail"].startswith(f'no {kind} of {symbol}x (did you mean "{symbol}"?); available')
    assert [error["pointer"] for error in refused.json["errors"]] == ["/symbol"]
    later = alice.get(f"/api/v1/{kind}?symbol={symbol}&start=2000-01-01T00:00:00Z")
    assert later.json == {"items": [], "next": None}


@pytest.mark.parametrize(
    ("path", "pointer"),
    [
        ("bars?symbol=AAPL", "/interval"),
        ("bars?interval=1d", "/symbol"),
        ("bars?symbol=AAPL&interval=2d", "/interval"),
        ("bars?symbol=A%20B&interval=1d", "/symbol"),
        ("ticks?symbol=AAPL&limit=10001", "/limit"),
        ("ticks?symbol=AAPL&cursor=x", "/cursor"),
        ("ticks?symbol=AAPL&start=2020", "/start"),
        ("quotes?symbol=AAPL&from=1", "/from"),
        ("instruments?kind=trades", "/kind"),
        ("instruments?cursor=x", "/cursor"),
    ],
)
def test_wrong_queries_are_told(alice: Client, path: str, pointer: str) -> None:
    response = alice.get(f"/api/v1/{path}")
    assert response.status_code == 422
    assert [error["pointer"] for error in response.json["errors"]] == [pointer]


def test_the_command_rebuilds_the_catalog(alice: Client, ingest: Ingest) -> None:
    symbol = f"T{uuid4().hex[:9]}"
    ingest("time,price\n1,5\n2,6\n", symbol=symbol)
    before = alice.get(f"/api/v1/instruments/{symbol}").json
    done = cift("instruments", "rebuild", "--json")
    assert (done.returncode, json.loads(done.stdout)["series"] >= 1) == (0, True), done.stderr
    assert alice.get(f"/api/v1/instruments/{symbol}").json == before
    assert before["rows"] == 2
