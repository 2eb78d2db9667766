"""Alice owns, Bob is another tenant, Charlie has no key: on every route of the document."""

import io
import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from cift_web.app import openapi_document
from tests.web.conftest import BACKTEST, Client, MakeClient

CSV = b"timestamp,open,high,low,close,volume\n2020-01-01,1,2,1,2,5\n"
PUBLIC = {"live", "ready"}
DOCUMENT = openapi_document()
OPERATIONS = {
    operation["operationId"]: (method.upper(), path, operation["x-required-scopes"])
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if method != "parameters" and operation["operationId"] not in PUBLIC
}


def ingestion_form() -> dict[str, Any]:
    request = {"source": {"type": "file"}, "kind": "bars", "symbol": f"T{uuid4().hex[:9]}", "interval": "1d"}
    return {
        "data": {"request": json.dumps(request), "file": (io.BytesIO(CSV), "bars.csv")},
        "content_type": "multipart/form-data",
    }


def made_backtest(owner: Client) -> str:
    return str(owner.post("/api/v1/backtests", json=BACKTEST).json["id"])


def made_ingestion(owner: Client) -> str:
    return str(owner.post("/api/v1/ingestions", **ingestion_form()).json["id"])


# parameter in a path: how its owner makes one
OWNED: dict[str, Callable[[Client], str]] = {
    "backtest_id": made_backtest,
    "ingestion_id": made_ingestion,
}
BODIES: dict[str, Callable[[], dict[str, Any]]] = {
    "submit_backtest": lambda: {"json": BACKTEST},
    "submit_ingestion": ingestion_form,
}


def address(operation_id: str, owner: Client) -> tuple[str, str, dict[str, Any]]:
    """The method, the path with ids of the owner's things, and the body of an operation."""
    method, path, _ = OPERATIONS[operation_id]
    for name, make in OWNED.items():
        if f"{{{name}}}" in path:
            made = make(owner)
            if operation_id.startswith("delete_"):
                owner.post(path.replace(f"{{{name}}}", f"{made}/cancel"))
            path = path.replace(f"{{{name}}}", made)
    assert "{" not in path, f"say in OWNED how to make what {path} is about"
    return method, path, BODIES.get(operation_id, dict)()


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_alice_is_let_in(alice: Client, operation_id: str) -> None:
    method, path, body = address(operation_id, alice)
    assert alice.send(method, path, **body).status_code in (200, 202, 204)


@pytest.mark.parametrize("operation_id", [name for name, (_, path, _) in OPERATIONS.items() if "{" in path])
def test_bob_does_not_see_what_is_alices(alice: Client, bob: Client, operation_id: str) -> None:
    method, path, body = address(operation_id, alice)
    response = bob.send(method, path, **body)
    assert response.status_code == 404
    of_nobody = path.replace(path.split("/")[4], str(uuid4()))
    same = bob.send(method, of_nobody, **body)
    assert (same.status_code, same.json["code"]) == (404, response.json["code"])
    assert alice.send(method, path, **body).status_code in (200, 204), "Bob changed it"


@pytest.mark.parametrize(
    "operation_id",
    [name for name, (method, path, _) in OPERATIONS.items() if method == "GET" and "{" not in path],
)
def test_bobs_lists_hold_nothing_of_alices(alice: Client, bob: Client, operation_id: str) -> None:
    made = {made_backtest(alice), made_ingestion(alice), str(alice.user_id)}
    _, path, _ = OPERATIONS[operation_id]
    text = bob.get(path).text
    assert not [thing for thing in made if thing in text]


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_charlie_is_not_let_in(alice: Client, charlie: Client, operation_id: str) -> None:
    method, path, body = address(operation_id, alice)
    assert charlie.send(method, path, **body).status_code == 401


@pytest.mark.parametrize("operation_id", [name for name, (*_, scopes) in OPERATIONS.items() if scopes])
def test_each_scope_is_needed(alice: Client, make_client: MakeClient, operation_id: str) -> None:
    method, path, body = address(operation_id, alice)
    (needed,) = OPERATIONS[operation_id][2]
    others = ("backtests:read", "backtests:write", "data:read", "data:write", "alerts:read")
    client = make_client(*(scope for scope in others if scope != needed))
    response = client.send(method, path, **body)
    assert (response.status_code, response.json["code"]) == (403, "missing_scope")


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_a_body_is_not_read_before_the_key_is(charlie: Client, operation_id: str) -> None:
    method, path, _ = OPERATIONS[operation_id]
    path = path.replace("{backtest_id}", str(uuid4())).replace("{ingestion_id}", str(uuid4()))
    assert charlie.send(method, path, data=b"{", content_type="text/plain").status_code == 401
