"""Alice owns, Bob is another tenant, Charlie has no key: on every route of the document."""

import io
import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest

from cift_core.models import Ingestion
from cift_core.services import alerts, ingestion_runs, jobs
from cift_core.services.api_keys import SCOPES
from cift_core.services.leases import Lease
from cift_web.app import openapi_document
from tests.web.conftest import BACKTEST, Client, MakeClient

API = "/api/v1"
ROWS = {
    "bars": b"timestamp,open,high,low,close,volume\n2020-01-01,1,2,1,2,5\n",
    "ticks": b"timestamp,price\n2020-01-01T00:00:00Z,1\n",
    "quotes": b"timestamp,bid,ask\n2020-01-01T00:00:00Z,1,2\n",
}
PUBLIC = {"live", "ready"}
DOCUMENT = openapi_document()
OPERATIONS = {
    operation["operationId"]: (method.upper(), path, operation["x-required-scopes"])
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if method != "parameters" and operation["operationId"] not in PUBLIC
}


def ingestion_form(kind: str = "bars") -> dict[str, Any]:
    request = {"source": {"type": "file"}, "kind": kind, "symbol": f"T{uuid4().hex[:9]}"}
    request |= {"interval": "1d"} if kind == "bars" else {}
    return {
        "data": {"request": json.dumps(request), "file": (io.BytesIO(ROWS[kind]), "rows.csv")},
        "content_type": "multipart/form-data",
    }


def named(**values: Any) -> dict[str, Any]:
    return {"json": {"name": uuid4().hex, **values}}


def strategy() -> dict[str, Any]:
    return named(strategy={"name": "sma_cross"})


def model() -> dict[str, Any]:
    return named(kind="lstm", parameters={})


def account() -> dict[str, Any]:
    return named(broker="binance", credentials={"api_key": "k"})


def api_key() -> dict[str, Any]:
    return named(scopes=["data:read"])


def user() -> dict[str, Any]:
    return {"json": {"email": f"{uuid4()}@example.org", "password": "correct horse battery"}}


def maker(path: str, body: Callable[[], dict[str, Any]]) -> Callable[[Client], str]:
    """Makes a thing of a client's own, and says its id."""

    def make(owner: Client) -> str:
        made = owner.post(f"{API}/{path}", **body())
        assert made.status_code in (201, 202), made.text
        return str(made.json["id"])

    return make


def made_alert(owner: Client) -> str:
    error = {"code": "no_bars", "detail": "There are no bars."}
    with owner.app.extensions["stores"].postgres.transaction() as session:
        alerts.alert_owners(session, "backtests", [(uuid4(), owner.user_id, error)])
    return str(owner.get("/api/v1/alerts?limit=1").json["items"][0]["id"])


def traded_symbol(owner: Client, kind: str = "bars") -> str:
    """A symbol with a bar, or one row of another kind, brought in by the client."""
    form = ingestion_form(kind)
    made = owner.post(f"{API}/ingestions", **form)
    opened = owner.app.extensions["stores"]
    with opened.postgres.transaction() as session:
        claim = jobs.claim(session, Ingestion, UUID(made.json["id"]), lease_s=60, task_id="-")
    assert claim is not None
    with Lease(opened.postgres, claim, 60) as lease:
        ingestion_runs.run(opened, lease)
    return str(json.loads(form["data"]["request"])["symbol"])


# parameter in a path: how its owner makes one
OWNED: dict[str, Callable[[Client], str]] = {
    "backtest_id": maker("backtests", lambda: {"json": BACKTEST}),
    "ingestion_id": maker("ingestions", ingestion_form),
    "strategy_id": maker("strategies", strategy),
    "model_id": maker("models", model),
    "alert_id": made_alert,
    "key_id": maker("api-keys", api_key),
    "user_id": maker("users", user),
    "symbol": traded_symbol,
    "ticked": partial(traded_symbol, kind="ticks"),
    "quoted": partial(traded_symbol, kind="quotes"),
    "account_id": maker("trading-accounts", account),
}
PART_OF = {"version": "1"}
SHARED = ("get_instrument", "get_last_price", "list_revisions", "list_quality")  # market data is everybody's
QUERIES = {
    "list_bars": "?symbol={symbol}&interval=1d",
    "list_ticks": "?symbol={ticked}",
    "list_quotes": "?symbol={quoted}",
}
ABOUT_ONE = [name for name, (_, path, _) in OPERATIONS.items() if "{" in path and name not in SHARED]
BODIES: dict[str, Callable[[], dict[str, Any]]] = {
    "submit_backtest": lambda: {"json": BACKTEST},
    "submit_ingestion": ingestion_form,
    "create_strategy": strategy,
    "change_strategy": named,
    "create_model": model,
    "change_model": named,
    "create_api_key": api_key,
    "change_api_key": named,
    "create_user": user,
    "change_user": lambda: {"json": {"is_active": False}},
    "create_trading_account": account,
    "change_trading_account": named,
}


def address(operation_id: str, owner: Client) -> tuple[str, str, dict[str, Any]]:
    """The method, the path with ids of the owner's things, and the body of an operation."""
    method, path, _ = OPERATIONS[operation_id]
    path += QUERIES.get(operation_id, "")
    for name, make in OWNED.items():
        if f"{{{name}}}" in path:
            made = make(owner)
            if operation_id in ("delete_backtest", "delete_ingestion"):
                owner.post(path.replace(f"{{{name}}}", f"{made}/cancel"))
            path = path.replace(f"{{{name}}}", made)
    for name, value in PART_OF.items():
        path = path.replace(f"{{{name}}}", value)
    assert "{" not in path, f"say in OWNED how to make what {path} is about"
    return method, path, BODIES.get(operation_id, dict)()


@pytest.fixture
def alice(alice: Client, admin: Client, request: pytest.FixtureRequest) -> Client:
    """The owner; an administrator where the operation is only for those."""
    operation_id: str = request.node.callspec.params["operation_id"]
    return admin if OPERATIONS[operation_id][2] == ["admin"] else alice


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_alice_is_let_in(make_client: MakeClient, operation_id: str) -> None:
    alice = make_client(*SCOPES) if "admin" in OPERATIONS[operation_id][2] else make_client()
    method, path, body = address(operation_id, alice)
    assert alice.send(method, path, **body).status_code in (200, 201, 202, 204)


@pytest.mark.parametrize("operation_id", ABOUT_ONE)
def test_bob_does_not_see_what_is_alices(alice: Client, bob: Client, operation_id: str) -> None:
    method, path, body = address(operation_id, alice)
    response = bob.send(method, path, **body)
    assert response.status_code == (403 if OPERATIONS[operation_id][2] == ["admin"] else 404)
    of_nobody = path.replace(path.split("/")[4], str(uuid4()))
    same = bob.send(method, of_nobody, **body)
    assert (same.status_code, same.json["code"]) == (response.status_code, response.json["code"])
    assert alice.send(method, path, **body).status_code in (200, 204), "Bob changed it"


@pytest.mark.parametrize(
    "operation_id",
    [name for name, (method, path, _) in OPERATIONS.items() if method == "GET" and "{" not in path],
)
def test_bobs_lists_hold_nothing_of_alices(alice: Client, bob: Client, operation_id: str) -> None:
    shared = ("user_id", "symbol", "ticked", "quoted")
    made = {str(alice.user_id), *(make(alice) for name, make in OWNED.items() if name not in shared)}
    _, path, _ = OPERATIONS[operation_id]
    text = bob.get(path + QUERIES.get(operation_id, "")).text
    assert not [thing for thing in made if thing in text]


@pytest.mark.parametrize("operation_id", SHARED)
def test_bob_reads_the_market_data_that_alice_brought_in(
    alice: Client, bob: Client, operation_id: str
) -> None:
    _, path, _ = address(operation_id, alice)
    assert bob.get(path).json == alice.get(path).json


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_charlie_is_not_let_in(alice: Client, charlie: Client, operation_id: str) -> None:
    method, path, body = address(operation_id, alice)
    assert charlie.send(method, path, **body).status_code == 401


@pytest.mark.parametrize("operation_id", [name for name, (*_, scopes) in OPERATIONS.items() if scopes])
def test_each_scope_is_needed(alice: Client, make_client: MakeClient, operation_id: str) -> None:
    method, path, body = address(operation_id, alice)
    (needed,) = OPERATIONS[operation_id][2]
    client = make_client(*(scope for scope in SCOPES if scope not in (needed, "admin")))
    response = client.send(method, path, **body)
    assert (response.status_code, response.json["code"]) == (403, "missing_scope")


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_a_body_is_not_read_before_the_key_is(charlie: Client, operation_id: str) -> None:
    method, path, _ = OPERATIONS[operation_id]
    for name, value in PART_OF.items():
        path = path.replace(f"{{{name}}}", value)
    path = re.sub(r"{\w+}", str(uuid4()), path)
    assert charlie.send(method, path, data=b"{", content_type="text/plain").status_code == 401
