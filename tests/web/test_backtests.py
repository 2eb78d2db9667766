"""/backtests: from the submit to the result, with the task run in this process."""

import io
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import func, update

from cift_core.clock import EPOCH
from cift_core.engine import Bars, Execution, run_backtest
from cift_core.models import Backtest
from cift_core.services.paging import encode_cursor
from cift_core.stores import Stores
from cift_core.strategies import STRATEGIES
from tests.web.conftest import BACKTEST, Client

BACKTESTS = "/api/v1/backtests"


@pytest.fixture(scope="module")
def prices() -> list[tuple[str, float]]:
    """Sixty days of a price that goes up and down."""
    return [(f"2021-01-{day + 1:02d}", 100.0 + 10 * ((day * 7) % 11)) for day in range(31)] + [
        (f"2021-02-{day + 1:02d}", 100.0 + 10 * ((day * 5) % 13)) for day in range(28)
    ]


@pytest.fixture
def result(alice: Client, work: Callable[[str], None], prices: list[tuple[str, float]]) -> dict[str, Any]:
    """A backtest of Alice's that succeeded."""
    symbol = f"T{uuid4().hex[:9]}"
    lines = [f"{day},{price},{price + 1},{price - 1},{price},5" for day, price in prices]
    text = "\n".join(["timestamp,open,high,low,close,volume", *lines]) + "\n"
    request = {"source": {"type": "file"}, "kind": "bars", "symbol": symbol, "interval": "1d"}
    form = {"request": json.dumps(request), "file": (io.BytesIO(text.encode()), "bars.csv")}
    made = alice.post("/api/v1/ingestions", data=form, content_type="multipart/form-data")
    work(made.json["id"])
    ingested = alice.get(made.headers["Location"]).json
    assert (ingested["status"], ingested["rows_written"]) == ("succeeded", len(prices)), ingested
    body = BACKTEST | {
        "symbols": [symbol],
        "strategy": {"name": "sma_cross", "params": {"fast": 2, "slow": 5}},
    }
    made = alice.post(BACKTESTS, json=body)
    work(made.json["id"])
    done: dict[str, Any] = alice.get(made.headers["Location"]).json
    assert done["status"] == "succeeded", done
    return done


def test_a_submit_is_202_with_where_to_look(alice: Client) -> None:
    response = alice.post(BACKTESTS, json=BACKTEST)
    assert response.status_code == 202
    assert (
        response.headers["Location"] == response.json["links"]["self"] == f"{BACKTESTS}/{response.json['id']}"
    )
    assert (response.json["status"], response.json["reused"]) == ("queued", False)


def test_the_stored_request_has_every_default(alice: Client) -> None:
    times = {"start": "2004-08-19T02:00:00+02:00", "end": "2013-03-02T00:00:00.500Z"}
    made = alice.post(BACKTESTS, json=BACKTEST | times | {"tags": ["b", "a", "b"]}).json
    shown = alice.get(made["links"]["self"]).json
    assert shown["request"]["start"] == "2004-08-19T00:00:00Z"
    assert shown["request"]["end"] == "2013-03-02T00:00:00.500Z"
    assert shown["request"]["execution"]["fill"] == "next_open"
    assert shown["request"]["execution"]["size"] == {"type": "equity_fraction", "value": 1.0}
    assert shown["request"]["strategy"] == {"name": "sma_cross", "params": {"fast": 10, "slow": 20}}
    assert shown["request"]["prices"] is None
    assert shown["tags"] == ["b", "a"]
    assert shown["created_at"].endswith("Z")
    assert [shown[name] for name in ("metrics", "data", "error", "started_at", "finished_at")] == [None] * 5


def test_parameters_left_out_have_their_default(alice: Client) -> None:
    made = alice.post(BACKTESTS, json=BACKTEST | {"strategy": {"name": "rsi_reversion"}}).json
    params = alice.get(made["links"]["self"]).json["request"]["strategy"]["params"]
    assert params == {"window": 14, "lower": 30.0, "upper": 70.0}


def test_a_submit_is_202_without_redis(
    alice: Client, stop_server: Callable[[str], None], stores: Stores
) -> None:
    stop_server("redis-broker")
    made = alice.post(BACKTESTS, json=BACKTEST)
    assert made.status_code == 202
    with stores.postgres.transaction() as session:
        backtest = session.get_one(Backtest, made.json["id"])
    assert (backtest.status, backtest.dispatched_at) == ("queued", None)


def test_the_result_is_the_engines(
    alice: Client, result: dict[str, Any], prices: list[tuple[str, float]]
) -> None:
    close = [price for _, price in prices]
    days = [datetime.fromisoformat(f"{day}T00:00:00+00:00") for day, _ in prices]
    bars = Bars(
        time=[int((day - EPOCH).total_seconds()) * 10**9 for day in days],
        open=close,
        high=[price + 1 for price in close],
        low=[price - 1 for price in close],
        close=close,
        volume=[5.0] * len(close),
        interval="1d",
    )
    expected = run_backtest(bars, STRATEGIES["sma_cross"], {"fast": 2, "slow": 5}, Execution(), cash=10_000)
    assert result["metrics"] == expected.metrics
    assert result["data"]["rows"] == len(prices)
    assert result["data"]["first"] == "2021-01-01T00:00:00Z"
    trades = alice.get(result["links"]["trades"]).json["items"]
    assert [trade["pnl"] for trade in trades] == expected.trades["pnl"].tolist()
    assert len(trades) > 3
    equity = alice.get(f"{result['links']['equity']}?limit=500").json
    assert [point["equity"] for point in equity["items"]] == expected.equity.tolist()
    assert equity["next"] is None


@pytest.mark.parametrize("part", ["trades", "equity"])
def test_the_series_are_read_by_page(alice: Client, result: dict[str, Any], part: str) -> None:
    whole = alice.get(f"{result['links'][part]}?limit=500").json["items"]
    pages, path = [], f"{result['links'][part]}?limit=3"
    cursor = ""
    while cursor is not None:
        page = alice.get(path + (f"&cursor={cursor}" if cursor else "")).json
        assert 1 <= len(page["items"]) <= 3
        pages += page["items"]
        cursor = page["next"]
    assert pages == whole


def test_the_equity_can_be_thinned(alice: Client, result: dict[str, Any]) -> None:
    whole = alice.get(f"{result['links']['equity']}?limit=500").json["items"]
    thinned = alice.get(f"{result['links']['equity']}?max_points=12").json
    assert thinned["next"] is None
    assert 6 <= len(thinned["items"]) <= 12
    assert (thinned["items"][0], thinned["items"][-1]) == (whole[0], whole[-1])
    both = alice.get(f"{result['links']['equity']}?max_points=12&cursor=x")
    assert (both.status_code, both.json["errors"][0]["pointer"]) == (422, "/max_points")


@pytest.mark.parametrize("part", ["trades", "equity"])
@pytest.mark.parametrize("values", [(), (1, 2), ("x",), (None,)])
def test_a_cursor_that_is_none_is_422(
    alice: Client, result: dict[str, Any], part: str, values: tuple[object, ...]
) -> None:
    response = alice.get(result["links"][part], query_string={"cursor": encode_cursor(*values)})
    assert response.status_code == 422
    assert response.json["errors"][0]["pointer"] == "/cursor"


def test_a_failed_backtest_says_why(alice: Client, work: Callable[[str], None]) -> None:
    made = alice.post(BACKTESTS, json=BACKTEST | {"symbols": ["NOSUCH"]})
    work(made.json["id"])
    shown = alice.get(made.headers["Location"]).json
    assert (shown["status"], shown["error"]["code"]) == ("failed", "no_bars")
    assert "NOSUCH 1d" in shown["error"]["detail"]
    assert alice.get(shown["links"]["trades"]).json == {"items": [], "next": None}


def test_cancel_is_idempotent_and_delete_needs_an_end(alice: Client) -> None:
    link = alice.post(BACKTESTS, json=BACKTEST).json["links"]
    refused = alice.delete(link["self"])
    assert (refused.status_code, refused.json["code"]) == (409, "not_finished")
    for _ in range(2):
        cancelled = alice.post(link["cancel"])
        assert (cancelled.status_code, cancelled.json["status"]) == (200, "cancelled")
    assert alice.delete(link["self"]).status_code == 204
    assert alice.delete(link["self"]).status_code == 404


def test_the_list_is_newest_first_by_page(alice: Client) -> None:
    made = [alice.post(BACKTESTS, json=BACKTEST).json["id"] for _ in range(5)]
    first = alice.get(f"{BACKTESTS}?limit=2").json
    second = alice.get(f"{BACKTESTS}?limit=2&cursor={first['next']}").json
    third = alice.get(f"{BACKTESTS}?limit=2&cursor={second['next']}").json
    listed = [item["id"] for page in (first, second, third) for item in page["items"]]
    assert listed == made[::-1]
    assert third["next"] is None


def test_the_list_is_filtered(alice: Client, stores: Stores) -> None:
    plain = alice.post(BACKTESTS, json=BACKTEST).json["id"]
    other = alice.post(
        BACKTESTS,
        json=BACKTEST | {"symbols": ["MSFT"], "strategy": {"name": "buy_and_hold"}, "tags": ["a", "b"]},
    ).json
    alice.post(other["links"]["cancel"])
    with stores.postgres.transaction() as session:
        old = update(Backtest).where(Backtest.id == plain)
        session.execute(old.values(created_at=func.make_timestamptz(2020, 1, 1, 0, 0, 0, "UTC")))

    def ids(query: str) -> list[str]:
        return [item["id"] for item in alice.get(f"{BACKTESTS}?{query}").json["items"]]

    for query in (
        *("status=cancelled", "strategy=buy_and_hold", "symbol=MSFT", "tag=b"),
        *("created_after=2020-01-01T00:00:00Z", "tag=a&symbol=MSFT&status=cancelled"),
    ):
        assert ids(query) == [other["id"]], query
    assert ids("status=queued") == [plain]
    assert ids("tag=a&symbol=AAPL") == []


def test_the_catalog_is_the_engines(alice: Client) -> None:
    items = {item["name"]: item for item in alice.get("/api/v1/strategies/catalog").json["items"]}
    assert list(items) == sorted(STRATEGIES)
    fast, slow = items["sma_cross"]["params"]
    assert (fast["name"], fast["default"], fast["min"]) == ("fast", 10, 2)
    assert slow["doc"]
