"""Backtests of saved strategies: the version that ran is kept, whatever becomes of the strategy."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from cift_core.models import Backtest
from cift_core.stores import Stores
from tests.web.conftest import BACKTEST, Client

STRATEGIES, BACKTESTS = "/api/v1/strategies", "/api/v1/backtests"


def save(client: Client, **params: float) -> str:
    body = {"name": uuid4().hex, "strategy": {"name": "sma_cross", "params": params}}
    return str(client.post(STRATEGIES, json=body).json["id"])


def submit(client: Client, strategy: dict[str, Any], **headers: str) -> Any:
    return client.post(BACKTESTS, json=BACKTEST | {"strategy": strategy}, headers=headers)


def ran(client: Client, strategy: dict[str, Any]) -> dict[str, Any]:
    """What a backtest of the strategy was taken on with."""
    made = submit(client, strategy)
    assert made.status_code == 202, made.text
    return dict(client.get(f"{BACKTESTS}/{made.json['id']}").json["request"]["strategy"])


def test_it_runs_as_it_is_saved(alice: Client) -> None:
    saved = save(alice, fast=5, slow=50)
    kept = {"strategy_id": saved, "version": 1, "name": "sma_cross"}
    assert ran(alice, {"strategy_id": saved}) == {**kept, "params": {"fast": 5, "slow": 50}}
    over = ran(alice, {"strategy_id": saved.upper(), "params": {"fast": 6}})
    assert over == {**kept, "params": {"fast": 6, "slow": 50}}


def test_a_backtest_keeps_the_version_it_ran(stores: Stores, alice: Client) -> None:
    saved = save(alice, fast=5)
    before = submit(alice, {"strategy_id": saved}).json["id"]
    alice.patch(f"{STRATEGIES}/{saved}", json={"strategy": {"name": "sma_cross", "params": {"fast": 9}}})
    assert ran(alice, {"strategy_id": saved})["params"]["fast"] == 9
    assert ran(alice, {"strategy_id": saved})["version"] == 2
    assert ran(alice, {"strategy_id": saved, "version": 1})["params"]["fast"] == 5
    with stores.postgres.transaction() as session:
        row = session.get_one(Backtest, before)
        assert (row.strategy_id, row.strategy_version, row.strategy) == (UUID(saved), 1, "sma_cross")
    assert alice.delete(f"{STRATEGIES}/{saved}").status_code == 204
    kept = alice.get(f"{BACKTESTS}/{before}").json["request"]["strategy"]
    assert (kept["strategy_id"], kept["version"], kept["params"]["fast"]) == (saved, 1, 5)


def test_a_saved_strategy_gives_the_result_of_the_same_built_in(
    alice: Client, work: Callable[[str], None]
) -> None:
    saved = save(alice, fast=10, slow=20)
    ids = [submit(alice, {"strategy_id": saved}).json["id"], submit(alice, BACKTEST["strategy"]).json["id"]]
    for made in ids:
        work(made)
    one, two = (alice.get(f"{BACKTESTS}/{made}").json for made in ids)
    assert one["status"] == two["status"]
    assert (one["result_digest"], one["metrics"], one["error"]) == (
        two["result_digest"],
        two["metrics"],
        two["error"],
    )


def test_another_tenants_strategy_is_not_there(alice: Client, bob: Client) -> None:
    saved = save(alice, fast=5)
    stolen, nothing = submit(bob, {"strategy_id": saved}), submit(bob, {"strategy_id": str(uuid4())})
    for refused in (stolen, nothing, submit(bob, {"strategy_id": saved, "version": 1})):
        assert (refused.status_code, refused.json["code"]) == (404, "strategy_not_found")
        assert [field["pointer"] for field in refused.json["errors"]] == ["/strategy/strategy_id"]
    assert bob.get(BACKTESTS).json["items"] == []


def test_a_repeated_submit_gets_the_version_of_the_first(alice: Client) -> None:
    saved, key = save(alice, fast=5), {"Idempotency-Key": uuid4().hex}
    first = submit(alice, {"strategy_id": saved}, **key)
    alice.patch(f"{STRATEGIES}/{saved}", json={"name": "renamed"})
    again = submit(alice, {"strategy_id": saved}, **key)
    assert (again.json["id"], again.json["reused"]) == (first.json["id"], True)


@pytest.mark.parametrize(
    ("strategy", "status", "pointer", "says"),
    [
        ({}, 422, "/strategy/name", "is missing (or strategy_id or rules)"),
        ({"strategy_id": "{saved}", "name": "sma_cross"}, 422, "/strategy/strategy_id", "leave one out"),
        ({"strategy_id": "1 OR 1=1"}, 422, "/strategy/strategy_id", "must be a UUID"),
        ({"strategy_id": None}, 422, "/strategy/strategy_id", "null"),
        ({"strategy_id": "{saved}", "version": 2}, 404, "/strategy/version", "versions 1 to 1"),
        ({"strategy_id": "{saved}", "version": 0}, 422, "/strategy/version", "between 1 and"),
        ({"name": "sma_cross", "version": 1}, 422, "/strategy/version", "saved strategy"),
        ({"strategy_id": "{saved}", "params": {"fst": 1}}, 422, "/strategy/params/fst", "did you mean"),
        ({"strategy_id": "{saved}", "params": {"fast": 0}}, 422, "/strategy/params/fast", "between"),
    ],
)
def test_a_wrong_choice_is_told(
    alice: Client, strategy: dict[str, Any], status: int, pointer: str, says: str
) -> None:
    saved = save(alice, fast=5)
    given = {name: saved if value == "{saved}" else value for name, value in strategy.items()}
    refused = submit(alice, given)
    assert refused.status_code == status
    assert [says in field["detail"] for field in refused.json["errors"] if field["pointer"] == pointer] == [
        True
    ]


@pytest.mark.parametrize("strategy", [False, 0, "sma_cross", ["sma_cross"], None])
def test_a_strategy_that_is_no_object_is_refused(alice: Client, strategy: Any) -> None:
    response = alice.post("/api/v1/backtests", json=BACKTEST | {"strategy": strategy})
    assert response.status_code == 422
    assert [error["pointer"] for error in response.json["errors"]] == ["/strategy"]
