"""A backtest on data that is not there, or not as asked, ends failed with a sentence to act on."""

import pytest

from tests.e2e.client import Client, Json

pytestmark = pytest.mark.usefixtures("imported")


def failure(client: Client, **request: object) -> Json:
    job = client.ended(client.submit(**request))
    assert (job["status"], job["metrics"], job["attempt"]) == ("failed", None, 1)
    assert client.items(f"/backtests/{job['id']}/trades") == []
    error: Json = job["error"]
    return error


def test_no_such_interval_names_what_there_is(alice: Client) -> None:
    error = failure(alice, interval="4h")
    assert error["code"] == "no_bars"
    assert "AAPL 4h" in error["detail"]
    assert "available: AAPL 1d 2000-03-01T00:00:00Z to " in error["detail"]
    assert "(3270 bars)" in error["detail"]


def test_no_such_symbol_names_a_near_one(alice: Client) -> None:
    error = failure(alice, symbols=["AAPLE"])
    assert error["code"] == "no_bars"
    assert 'did you mean "AAPL"?' in error["detail"]


def test_an_empty_range_names_what_there_is(alice: Client) -> None:
    error = failure(alice, start="1990-01-01T00:00:00Z", end="1991-01-01T00:00:00Z")
    assert error["code"] == "no_bars"
    assert "[1990-01-01T00:00:00Z, 1991-01-01T00:00:00Z)" in error["detail"]
    assert "available: AAPL 1d" in error["detail"]


def test_adjusted_prices_without_adjusted_closes(alice: Client) -> None:
    error = failure(alice, symbols=["XAUUSD"], interval="1h", prices="adjusted")
    assert error["code"] == "no_adjusted_closes"
    assert 'ask for "prices": "raw"' in error["detail"]


def test_more_bars_in_a_window_than_there_are_is_no_error(alice: Client) -> None:
    job_id = alice.submit(start="2010-01-01T00:00:00Z", end="2010-01-15T00:00:00Z")
    assert alice.succeeded(job_id)["metrics"]["trades"] == 0
