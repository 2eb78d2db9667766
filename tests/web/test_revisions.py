"""/instruments/{symbol}/revisions, and what a backtest says of the version it stood on."""

import io
import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from cift_core.models import User
from cift_core.services.api_keys import create_key
from cift_core.stores import Stores
from tests.web.conftest import Client

HEADER = "time,open,high,low,close\n"
Ingest = Callable[[str, str], str]


@pytest.fixture
def ingest(alice: Client, work: Callable[[str], None]) -> Ingest:
    """Brings daily bars of a symbol in; the ingestion's id."""

    def ingest(symbol: str, lines: str) -> str:
        request = {"source": {"type": "file"}, "kind": "bars", "symbol": symbol, "interval": "1d"}
        form = {"request": json.dumps(request), "file": (io.BytesIO((HEADER + lines).encode()), "bars.csv")}
        made = alice.post("/api/v1/ingestions", data=form, content_type="multipart/form-data")
        work(made.json["id"])
        return str(made.json["id"])

    return ingest


def test_a_late_correction_lists_the_backtests_that_stood_on_what_was_there(
    alice: Client, bob: Client, ingest: Ingest, work: Callable[[str], None]
) -> None:
    symbol = f"T/{uuid4().hex[:9]}"
    ingest(symbol, "2020-01-01,1,3,1,2\n2020-01-02,1,3,1,2\n")
    request = {"strategy": {"name": "buy_and_hold"}, "symbols": [symbol], "interval": "1d", "cash": 1000}
    ran: dict[str, str] = {}
    for client in (alice, bob):
        ran[client.token or ""] = made = client.post("/api/v1/backtests", json=request).json["id"]
        work(made)
    path = f"/api/v1/instruments/{symbol}/revisions"
    assert alice.get(path).json["items"][0]["backtests"] == []
    correction = ingest(symbol, "2020-01-02,1,3,1,3\n2020-01-03,1,3,1,3\n")
    for client in (alice, bob):
        revision, _ = client.get(path).json["items"]
        assert revision["backtests"] == [ran[client.token or ""]]
        found = client.get(f"/api/v1/backtests?revision={revision['id']}").json["items"]
        assert [one["id"] for one in found] == revision["backtests"]
        assert found[0]["data"]["version"] == 1 < revision["version"] == 2
    assert revision | {"id": 0, "time": "", "backtests": []} == {
        "id": 0,
        "version": 2,
        "kind": "bars",
        "interval": "1d",
        "ingestion_id": correction,
        "time": "",
        "first": "2020-01-02T00:00:00Z",
        "last": "2020-01-03T00:00:00Z",
        "rows_added": 1,
        "rows_changed": 1,
        "backtests": [],
        "backtests_count": 1,
    }
    page = alice.get(f"{path}?limit=1").json
    (older,) = alice.get(f"{path}?limit=1&cursor={page['next']}").json["items"]
    assert (page["items"][0]["version"], older["version"]) == (2, 1)


def test_without_the_scope_for_backtests_none_is_named(alice: Client, ingest: Ingest, stores: Stores) -> None:
    symbol = f"T{uuid4().hex[:9]}"
    ingest(symbol, "2020-01-01,1,3,1,2\n")
    with stores.postgres.transaction() as session:
        user = session.get_one(User, alice.user_id)
        _, token = create_key(session, stores.settings, user, name="data", scopes=["data:read"])
    (revision,) = Client(alice.app, token).get(f"/api/v1/instruments/{symbol}/revisions").json["items"]
    assert (revision["backtests"], revision["backtests_count"]) == (None, None)


@pytest.mark.parametrize("query", [{"limit": 0}, {"cursor": "x"}])
def test_a_wrong_query_is_told(alice: Client, ingest: Ingest, query: dict[str, Any]) -> None:
    symbol = f"T{uuid4().hex[:9]}"
    ingest(symbol, "2020-01-01,1,3,1,2\n")
    refused = alice.get(f"/api/v1/instruments/{symbol}/revisions", query_string=query)
    assert refused.status_code == 422
    assert refused.json["errors"][0]["pointer"] == f"/{next(iter(query))}"


def test_a_symbol_without_data_has_no_revisions(alice: Client) -> None:
    missing = alice.get("/api/v1/instruments/NOTHING/revisions")
    assert (missing.status_code, missing.json["code"]) == (404, "unknown_symbol")
