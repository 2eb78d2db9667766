"""What is Alice's does not exist for Bob."""

import pytest

from tests.e2e.client import Client

REFUSED = (
    ("GET", "/backtests/{}"),
    ("GET", "/backtests/{}/trades"),
    ("GET", "/backtests/{}/equity"),
    ("GET", "/backtests/{}/equity?max_points=10"),
    ("POST", "/backtests/{}/cancel"),
    ("DELETE", "/backtests/{}"),
)
REFUSED_INGESTIONS = (
    ("GET", "/ingestions/{}"),
    ("GET", "/ingestions/{}/rejects"),
    ("POST", "/ingestions/{}/cancel"),
)


@pytest.fixture(scope="module")
def backtest_of_alice(alice: Client, imported: dict[str, str]) -> str:
    job_id = alice.submit(tags=["hers"])
    alice.succeeded(job_id)
    return job_id


@pytest.mark.parametrize(("method", "path"), REFUSED)
def test_a_backtest(alice: Client, bob: Client, backtest_of_alice: str, method: str, path: str) -> None:
    answer = bob.send(method, "/api/v1" + path.format(backtest_of_alice))
    assert (answer.status_code, answer.json()["code"]) == (404, "backtest_not_found")
    assert alice.job(backtest_of_alice)["status"] == "succeeded"


@pytest.mark.parametrize(("method", "path"), REFUSED_INGESTIONS)
def test_an_ingestion(bob: Client, imported: dict[str, str], method: str, path: str) -> None:
    answer = bob.send(method, "/api/v1" + path.format(imported["SPY"]))
    assert (answer.status_code, answer.json()["code"]) == (404, "ingestion_not_found")


def test_lists_show_only_the_own(alice: Client, bob: Client, backtest_of_alice: str) -> None:
    his = bob.submit(tags=["hers"])
    bob.succeeded(his)
    assert [job["id"] for job in bob.items("/backtests", tag="hers")] == [his]
    assert [job["id"] for job in alice.items("/backtests", tag="hers")] == [backtest_of_alice]
    assert bob.items("/ingestions") == []


def test_an_idempotency_key_is_the_users_own(alice: Client, bob: Client, imported: dict[str, str]) -> None:
    answers = [client.post("/backtests", alice_and_bob_ask(), key="one-key") for client in (alice, bob)]
    assert answers[0]["id"] != answers[1]["id"]
    assert not answers[1]["reused"]
    for client, answer in zip((alice, bob), answers, strict=True):
        client.succeeded(answer["id"])


def alice_and_bob_ask() -> dict[str, object]:
    return {"strategy": {"name": "buy_and_hold"}, "symbols": ["AAPL"], "interval": "1d", "cash": 1000}
