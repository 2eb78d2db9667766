"""Backtests on trades, and on bars built from them, through the API."""

import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.web.conftest import BACKTEST, Client

TRADES = Path(__file__).resolve().parents[2] / "data" / "sample" / "BTCUSDT-trades.csv.gz"


@pytest.fixture
def symbol(alice: Client, work: Callable[[str], None]) -> str:
    """A symbol with the first 5,000 trades of the sample."""
    symbol = f"T{uuid4().hex[:9]}"
    text = gzip.decompress(TRADES.read_bytes()).decode().replace(",BTCUSDT,", f",{symbol},")
    data = "\n".join(text.splitlines()[:5001]).encode()
    request = '{"source": {"type": "file", "timestamp_unit": "ms"}, "kind": "ticks"}'
    form = {"request": request, "file": (io.BytesIO(gzip.compress(data)), "trades.csv.gz")}
    made = alice.post("/api/v1/ingestions", data=form, content_type="multipart/form-data")
    assert made.status_code == 202, made.text
    work(made.json["id"])
    assert alice.get(made.headers["Location"]).json["rows_written"] == 5000
    return symbol


def test_a_backtest_says_that_its_bars_are_from_ticks(
    alice: Client, work: Callable[[str], None], symbol: str
) -> None:
    rows: dict[str, Any] = {}
    for interval in ("tick", "5s", "1m"):
        made = alice.post("/api/v1/backtests", json=BACKTEST | {"symbols": [symbol], "interval": interval})
        work(made.json["id"])
        done = alice.get(made.headers["Location"]).json
        assert done["status"] == "succeeded", done["error"]
        assert done["data"]["source"] == {"kind": "ticks", "interval": None}
        assert done["data"]["prices"] == "raw"
        rows[interval] = done["data"]["rows"]
        equity = alice.get(f"{done['links']['equity']}?limit=500").json["items"]
        assert len(equity) == min(500, rows[interval])
    assert 5000 > rows["tick"] > 1000 > rows["5s"] > rows["1m"] > 1
    assert done["metrics"]["periods_per_year"] == 365.25 * 24 * 60


def test_an_interval_that_there_is_none_of_is_refused(alice: Client) -> None:
    refused = alice.post("/api/v1/backtests", json=BACKTEST | {"interval": "ticks"})
    assert refused.status_code == 422
    assert "tick" in refused.json["errors"][0]["detail"]
