"""/instruments/{symbol}/quality, and backtests that are strict about it."""

import io
import json
from collections.abc import Callable
from datetime import date, timedelta
from uuid import uuid4

import pytest

from cift_core.services import quality_checks
from cift_core.stores import Stores
from tests.web.conftest import BACKTEST, Client

MONDAY, MISSING = date(2024, 1, 1), date(2024, 3, 6)


@pytest.fixture
def symbol(alice: Client, work: Callable[[str], None], stores: Stores) -> str:
    """A symbol with the weekdays of twelve weeks but one, checked."""
    symbol = f"T/{uuid4().hex[:9]}"
    days = [MONDAY + timedelta(days=day) for day in range(84) if day % 7 < 5]
    lines = "".join(f"{day},1,3,1,2\n" for day in days if day != MISSING)
    request = {"source": {"type": "file"}, "kind": "bars", "symbol": symbol, "interval": "1d"}
    data = f"time,open,high,low,close\n{lines}".encode()
    form = {"request": json.dumps(request), "file": (io.BytesIO(data), "bars.csv")}
    made = alice.post("/api/v1/ingestions", data=form, content_type="multipart/form-data")
    work(made.json["id"])
    quality_checks.check_series(stores, (symbol, "bars", "1d"), lambda: None)
    return symbol


def test_days_by_condition_range_and_page(bob: Client, symbol: str) -> None:
    path = f"/api/v1/instruments/{symbol}/quality"
    (missing,) = bob.get(f"{path}?condition=missing").json["items"]
    assert missing == {
        "day": "2024-03-06",
        "kind": "bars",
        "interval": "1d",
        "condition": "missing",
        "rows": 0,
        "first": None,
        "last": None,
        "coverage": 0.0,
        "gaps": [{"start": "2024-03-06T00:00:00Z", "end": "2024-03-07T00:00:00Z"}],
        **dict.fromkeys(("duplicates", "rejects", "out_of_order", "outliers"), 0),
        **dict.fromkeys(("zero_spreads", "negative_spreads"), 0),
    }
    within = bob.get(f"{path}?start=2024-03-05T12:00:00Z&end=2024-03-07T00:00:00Z").json["items"]
    assert [one["day"] for one in within] == ["2024-03-05", "2024-03-06"]
    first = bob.get(f"{path}?limit=50&kind=bars&interval=1d").json
    rest = bob.get(f"{path}?limit=50&kind=bars&interval=1d&cursor={first['next']}").json
    assert (len(first["items"]), len(rest["items"]), rest["next"]) == (50, 10, None)
    assert bob.get(f"{path}?interval=1h").json["items"] == []
    refused = bob.get(f"{path}?condition=good&kind=candles")
    assert {one["pointer"] for one in refused.json["errors"]} == {"/condition", "/kind"}


def test_strict_backtests_are_refused_with_the_days(
    alice: Client, symbol: str, work: Callable[[str], None]
) -> None:
    request = BACKTEST | {"symbols": [symbol], "data_policy": "strict"}
    refused = alice.post("/api/v1/backtests", json=request)
    assert (refused.status_code, refused.json["code"]) == (422, "degraded_data")
    assert refused.json["errors"] == [
        {"pointer": "/symbols/0", "detail": f"{symbol} bars 1d is missing on 2024-03-06"}
    ]
    made = alice.post("/api/v1/backtests", json=request | {"start": "2024-03-07T00:00:00Z"})
    assert made.status_code == 202, made.text
    work(made.json["id"])
    made = alice.post("/api/v1/backtests", json=request | {"data_policy": "any"})
    work(made.json["id"])
    done = alice.get(made.headers["Location"]).json
    assert done["data"]["quality"] == {
        "days": {"available": 59, "degraded": 0, "missing": 1},
        "unchecked_days": 0,
        "gaps": 1,
        "coverage": 59 / 60,
        "gap_pnl_share": None,
    }
    wrong = alice.post("/api/v1/backtests", json=request | {"data_policy": "lax"})
    assert wrong.json["errors"][0]["pointer"] == "/data_policy"
