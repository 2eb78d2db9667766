"""What users make and keep: made, listed, read, changed and removed, and attacked."""

import threading
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from cift_core.models import AuditLog
from tests.web.conftest import Client

API = "/api/v1"
STRATEGY: dict[str, Any] = {"strategy": {"name": "sma_cross", "params": {"fast": 5}}}
MODEL: dict[str, Any] = {"kind": "lstm", "parameters": {"layers": [64, 32], "rate": 1e-3, "é": None}}
# path below the API: the least to make one, a change to it, fields that are not the client's to set
THINGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "strategies": (STRATEGY, {"strategy": {"name": "buy_and_hold"}}),
    "models": (MODEL, {"kind": "xgboost"}),
}
THINGS["trading-accounts"] = (
    {"broker": "binance", "credentials": {"api_key": "k-1", "api_secret": "s-1"}},
    {"broker": "interactive_brokers"},
)
KINDS = pytest.mark.parametrize("kind", THINGS)
Trail = Callable[..., list[AuditLog]]


def body_of(kind: str, /, **values: Any) -> dict[str, Any]:
    return {"name": uuid4().hex, **THINGS[kind][0], **values}


def make(client: Client, kind: str, /, **values: Any) -> dict[str, Any]:
    made = client.post(f"{API}/{kind}", json=body_of(kind, **values))
    assert made.status_code == 201, made.text
    assert made.headers["Location"] == made.json["links"]["self"] == f"{API}/{kind}/{made.json['id']}"
    return dict(made.json)


def fields_of(response: Any, status: int = 422) -> dict[str, str]:
    assert response.status_code == status, response.text
    return {field["pointer"]: field["detail"] for field in response.json["errors"]}


@KINDS
def test_made_read_changed_removed(alice: Client, kind: str, trail: Trail) -> None:
    made = make(alice, kind, description="what for")
    path = made["links"]["self"]
    assert (made["version"], made["description"]) == (1, "what for")
    assert alice.get(path).json == made
    change = THINGS[kind][1]
    changed = alice.patch(path, json={**change, "name": made["name"] + "2"})
    assert changed.json["version"] == 2
    assert changed.json["name"] == made["name"] + "2"
    assert changed.json["updated_at"] > made["updated_at"]
    assert alice.get(path).json == changed.json
    assert alice.delete(path).status_code == 204
    assert alice.get(path).status_code == 404
    rows = [(row.action.split("_")[0], row.result, row.resource_id) for row in trail(user_id=alice.user_id)]
    assert rows == [(verb, "done", made["id"]) for verb in ("create", "change", "delete")]
    assert trail(user_id=alice.user_id)[1].details["version"] == 2


@KINDS
def test_a_change_without_a_difference_is_none(alice: Client, kind: str) -> None:
    made = make(alice, kind)
    same = alice.patch(made["links"]["self"], json={"name": made["name"], "description": ""})
    assert same.json == made


@KINDS
def test_a_name_is_taken_once_per_owner(alice: Client, bob: Client, kind: str) -> None:
    one, two = make(alice, kind), make(alice, kind)
    again = alice.post(f"{API}/{kind}", json=body_of(kind, name=one["name"]))
    assert "name of another" in fields_of(again, 409)["/name"]
    renamed = alice.patch(two["links"]["self"], json={"name": one["name"]})
    assert fields_of(renamed, 409).keys() == {"/name"}
    assert alice.get(two["links"]["self"]).json == two
    make(bob, kind, name=one["name"])


@KINDS
def test_lists_go_newest_first_by_page_and_filter(alice: Client, kind: str) -> None:
    made = [make(alice, kind) for _ in range(5)]
    seen, cursor = [], None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = alice.get(f"{API}/{kind}", query_string=query).json
        seen += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == made[::-1]

    def ids(**query: str) -> list[str]:
        return [item["id"] for item in alice.get(f"{API}/{kind}", query_string=query).json["items"]]

    assert ids(name=made[1]["name"]) == [made[1]["id"]]
    assert ids(created_after=made[3]["created_at"]) == [made[4]["id"]]
    assert fields_of(alice.get(f"{API}/{kind}?cursor=x")).keys() == {"/cursor"}


def test_models_are_listed_by_kind(alice: Client) -> None:
    make(alice, "models")
    other = make(alice, "models", kind="xgboost")
    assert [item["id"] for item in alice.get(f"{API}/models?kind=xgboost").json["items"]] == [other["id"]]


@KINDS
@pytest.mark.parametrize("field", ["id", "owner_id", "version", "created_at", "user_id", "is_admin", "links"])
def test_what_is_not_the_clients_to_set_is_refused(alice: Client, bob: Client, kind: str, field: str) -> None:
    value = str(bob.user_id)
    refused = alice.post(f"{API}/{kind}", json=body_of(kind, **{field: value}))
    assert "not a field here" in fields_of(refused)[f"/{field}"]
    made = make(alice, kind)
    refused = alice.patch(made["links"]["self"], json={field: value, "name": "other"})
    assert "not a field here" in fields_of(refused)[f"/{field}"]
    assert alice.get(made["links"]["self"]).json == made


@KINDS
def test_if_match_and_if_none_match(alice: Client, kind: str) -> None:
    path = make(alice, kind)["links"]["self"]
    first = alice.get(path).headers["ETag"]
    unchanged = alice.get(path, headers={"If-None-Match": f'"x", W/{first}'})
    assert (unchanged.status_code, unchanged.data, unchanged.headers["ETag"]) == (304, b"", first)
    second = alice.patch(path, json={"name": "second"}, headers={"If-Match": first}).headers["ETag"]
    assert second != first
    lost = alice.patch(path, json={"name": "third"}, headers={"If-Match": first})
    assert (lost.status_code, lost.json["code"]) == (412, "outdated")
    assert second in lost.json["detail"]
    assert alice.get(path, headers={"If-None-Match": first}).json["name"] == "second"
    assert alice.patch(path, json={"name": "fourth"}, headers={"If-Match": "*"}).status_code == 200


@KINDS
def test_of_changes_at_once_each_is_a_version(alice: Client, kind: str) -> None:
    path = make(alice, kind)["links"]["self"]
    etag = alice.get(path).headers["ETag"]
    statuses: list[int] = []

    def change(name: str) -> None:
        statuses.append(alice.patch(path, json={"name": name}, headers={"If-Match": etag}).status_code)

    threads = [threading.Thread(target=change, args=(f"name {place}",)) for place in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [412] * 5
    assert alice.get(path).json["version"] == 2


@KINDS
@pytest.mark.parametrize(
    "name", ["", "  ", "x" * 101, "line\nbreak", "\x1b[31mred", "\u202eright to left", 5, None]
)
def test_a_name_fits_in_one_line(alice: Client, kind: str, name: Any) -> None:
    assert fields_of(alice.post(f"{API}/{kind}", json=body_of(kind, name=name))).keys() == {"/name"}


@KINDS
@pytest.mark.parametrize(
    "name", ["'; DROP TABLE users; --", "<script>", "${jndi:x}", "%s%n", "{{7*7}}", "Ωmega 🐍"]
)
def test_a_name_is_only_text(alice: Client, kind: str, name: str) -> None:
    assert make(alice, kind, name=name)["name"] == name
    found = alice.get(f"{API}/{kind}", query_string={"name": name})
    assert [item["name"] for item in found.json["items"]] == [name]
    assert found.content_type == "application/json"


@KINDS
def test_an_empty_change_says_what_could_be_changed(alice: Client, kind: str) -> None:
    refused = alice.patch(make(alice, kind)["links"]["self"], json={})
    assert "at least one of name, description" in fields_of(refused)[""]


@pytest.mark.parametrize(
    ("strategy", "pointer", "says"),
    [
        ({"name": "sma_crss"}, "/strategy/name", 'did you mean "sma_cross"'),
        ({"name": "sma_cross", "params": {"fats": 3}}, "/strategy/params/fats", 'did you mean "fast"'),
        ({"name": "sma_cross", "params": {"fast": 1.5}}, "/strategy/params/fast", "whole number"),
        ({"name": "sma_cross", "params": []}, "/strategy/params", "must be a JSON object"),
        ({"strategy_id": str(uuid4())}, "/strategy/strategy_id", "not a field here"),
        ({"code": "import os"}, "/strategy/code", "not a field here"),
    ],
)
def test_a_strategy_that_can_not_run_is_not_saved(
    alice: Client, strategy: dict[str, Any], pointer: str, says: str
) -> None:
    body = {"name": "n", "strategy": strategy}
    assert says in fields_of(alice.post(f"{API}/strategies", json=body))[pointer]
    made = make(alice, "strategies")
    refused = alice.patch(made["links"]["self"], json={"strategy": strategy})
    assert says in fields_of(refused)[pointer]
    assert alice.get(f"{API}/strategies").json["items"] == [made]


def test_a_strategy_is_saved_with_all_its_parameters(alice: Client) -> None:
    made = make(alice, "strategies")
    assert made["strategy"] == {"name": "sma_cross", "params": {"fast": 5, "slow": 20}}


def test_every_change_of_a_strategy_leaves_a_version(alice: Client) -> None:
    made = make(alice, "strategies", description="first")
    path = made["links"]["self"]
    alice.patch(path, json={"strategy": {"name": "sma_cross", "params": {"fast": 7}}})
    alice.patch(path, json={"name": "renamed"})
    page = alice.get(made["links"]["versions"]).json
    assert [(one["version"], one["name"]) for one in page["items"]] == [
        (3, "renamed"),
        (2, made["name"]),
        (1, made["name"]),
    ]
    first = alice.get(f"{path}/versions/1").json
    assert first == page["items"][2]
    assert (first["strategy"], first["description"]) == (made["strategy"], "first")
    assert page["items"][1]["strategy"]["params"]["fast"] == 7
    half = alice.get(made["links"]["versions"], query_string={"limit": 2}).json
    rest = alice.get(made["links"]["versions"], query_string={"cursor": half["next"]}).json
    assert half["items"] + rest["items"] == page["items"]
    missing = alice.get(f"{path}/versions/4")
    assert (missing.status_code, missing.json["code"]) == (404, "version_not_found")
    assert "1 to 3" in missing.json["detail"]
    assert alice.get(f"{path}/versions/99999999999").status_code == 404


@pytest.mark.parametrize("parameters", [[], "text", None, {"a": "x" * 65_536}])
def test_parameters_of_a_model_are_an_object_of_bounded_size(alice: Client, parameters: Any) -> None:
    refused = alice.post(f"{API}/models", json=body_of("models", parameters=parameters))
    assert fields_of(refused).keys() == {"/parameters"}


def test_parameters_of_a_model_come_back_as_they_were(alice: Client) -> None:
    parameters = {"": 0, "a": [1, 1.5, -2e-9, True, None, {"b": []}], "__proto__": {}, "t": "'\"\\\n"}
    assert make(alice, "models", parameters=parameters)["parameters"] == parameters
