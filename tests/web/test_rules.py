"""Strategies as rules over HTTP: run, saved, refused before any work with the place in the text."""

from typing import Any
from uuid import uuid4

import pytest

from cift_core.rules import FUNCTIONS
from tests.web.conftest import BACKTEST, Client

STRATEGIES, BACKTESTS = "/api/v1/strategies", "/api/v1/backtests"
RULES = {
    "indicators": {"fast": "sma(close, $fast)", "slow": "sma(close, $slow)"},
    "long": {"entry": "crosses_above(fast, slow)", "exit": "crosses_below(fast, slow)"},
    "short": {"entry": "crosses_below(fast, slow)", "exit": "crosses_above(fast, slow)"},
}
PARAMS = {"fast": 10, "slow": 20}


def submit(client: Client, strategy: Any, **values: Any) -> Any:
    return client.post(BACKTESTS, json=BACKTEST | {"strategy": strategy} | values)


def test_rules_are_kept_with_the_backtest_as_they_were_given(alice: Client) -> None:
    made = submit(alice, {"rules": RULES, "params": PARAMS}).json["id"]
    backtest = alice.get(f"{BACKTESTS}/{made}").json
    assert backtest["request"]["strategy"] == {"rules": RULES, "params": PARAMS}
    listed = alice.get(BACKTESTS, query_string={"strategy": "rules"}).json["items"]
    assert made in [item["id"] for item in listed]


def test_a_saved_strategy_holds_rules_and_a_backtest_keeps_the_version(alice: Client) -> None:
    body = {"name": uuid4().hex, "strategy": {"rules": RULES, "params": PARAMS}}
    saved = alice.post(STRATEGIES, json=body).json
    assert saved["strategy"] == {"rules": RULES, "params": PARAMS}
    changed = {"rules": {"long": {"entry": "close > open"}}}
    alice.patch(f"{STRATEGIES}/{saved['id']}", json={"strategy": changed})
    first = submit(alice, {"strategy_id": saved["id"], "version": 1, "params": {"fast": 5}}).json["id"]
    assert alice.get(f"{BACKTESTS}/{first}").json["request"]["strategy"] == {
        "rules": RULES,
        "params": {"fast": 5, "slow": 20},
        "strategy_id": saved["id"],
        "version": 1,
    }


@pytest.mark.parametrize(
    ("strategy", "pointer", "said"),
    [
        (
            {"rules": {"long": {"entry": "close > smaa(close, 3)"}}},
            "/strategy/rules/long/entry",
            'at character 9 ("smaa(close, 3)"): there is no function "smaa"',
        ),
        ({"rules": {"long": {"entry": "rsi(close, $n) > 1"}}}, "/strategy/params/n", "n is missing"),
        ({"rules": RULES, "params": {**PARAMS, "fst": 1}}, "/strategy/params/fst", 'did you mean "fast"'),
        ({"rules": {"lng": {}}}, "/strategy/rules/lng", 'did you mean "long"?'),
        ({"rules": []}, "/strategy/rules", "must be an object"),
        (
            {"rules": {"long": {"entry": "close > 1"}, "stops": {"stop_loss": "$s"}}, "params": {"s": 2}},
            "/strategy/rules/stops/stop_loss",
            "above 0 and below 1",
        ),
        ({"rules": RULES, "name": "sma_cross"}, "/strategy/rules", "can't be combined with name"),
        ({}, "/strategy/name", "is missing (or strategy_id or rules)"),
    ],
)
def test_what_is_wrong_is_told_before_any_work(alice: Client, strategy: Any, pointer: str, said: str) -> None:
    refused = submit(alice, strategy)
    assert refused.status_code == 422
    (error,) = [error for error in refused.json["errors"] if error["pointer"] == pointer]
    assert said in error["detail"]


def test_wrong_rules_are_told_with_what_else_is_wrong(alice: Client) -> None:
    refused = submit(alice, {"rules": {"long": {"entry": "clos > 1"}}}, cash=-1)
    assert {error["pointer"] for error in refused.json["errors"]} == {"/strategy/rules/long/entry", "/cash"}


def test_the_functions_are_listed(alice: Client) -> None:
    items = {item["name"]: item for item in alice.get(f"{STRATEGIES}/functions").json["items"]}
    assert items.keys() == FUNCTIONS.keys()
    assert items["sma"] == {
        "name": "sma",
        "signature": "sma(series, window)",
        "columns": [],
        "doc": "Mean of the last `window` values.",
        "source": "cift_core/engine/indicators.py",
    }
