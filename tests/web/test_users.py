"""/users: what administrators do, and nobody else."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from cift_core.models import AuditLog, User
from cift_core.stores import Stores
from tests.web.conftest import BACKTEST, Client, MakeClient

USERS, ME = "/api/v1/users", "/api/v1/me"
PASSWORD = "correct horse battery"
Trail = Callable[..., list[AuditLog]]


def make(admin: Client, **values: Any) -> Any:
    return admin.post(USERS, json={"email": f"{uuid4()}@example.org", "password": PASSWORD, **values})


def test_a_user_is_made_listed_and_read(stores: Stores, admin: Client, trail: Trail) -> None:
    made = make(admin)
    assert made.status_code == 201
    path = made.headers["Location"]
    assert path == made.json["links"]["self"]
    assert admin.get(path).json == made.json
    assert (made.json["is_admin"], made.json["is_active"]) == (False, True)
    found = admin.get(USERS, query_string={"email": made.json["email"].upper()}).json
    assert found == {"items": [made.json], "next": None}
    with stores.postgres.transaction() as session:
        hashed = session.scalars(select(User.password_hash).where(User.id == made.json["id"])).one()
    for text in (made.text, admin.get(USERS).text, str([vars(row) for row in trail(user_id=admin.user_id)])):
        assert PASSWORD not in text
        assert hashed not in text


def test_an_address_is_taken_once(admin: Client) -> None:
    email = make(admin).json["email"]
    again = make(admin, email=email.upper())
    assert (again.status_code, again.json["code"]) == (409, "email_taken")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", "no address"),
        ("password", "short"),
        ("is_admin", "yes"),
        ("is_active", True),
        ("id", str(UUID(int=1))),
        ("password_hash", "x"),
    ],
)
def test_a_wrong_field_is_named_and_no_password_shown(admin: Client, field: str, value: Any) -> None:
    refused = make(admin, **{field: value})
    assert [error["pointer"] for error in refused.json["errors"]] == [f"/{field}"]
    assert PASSWORD not in refused.text


def test_a_disabled_users_keys_stop_at_once_and_hold_again_when_enabled(
    admin: Client, alice: Client, trail: Trail
) -> None:
    job = alice.post("/api/v1/backtests", json=BACKTEST).json["id"]
    path = f"{USERS}/{alice.user_id}"
    for _ in range(2):
        disabled = admin.patch(path, json={"is_active": False})
        assert (disabled.status_code, disabled.json["is_active"]) == (200, False)
        assert (alice.get(ME).status_code, alice.get(ME).json["code"]) == (401, "unknown_key")
        assert alice.post("/api/v1/backtests", json=BACKTEST).status_code == 401
    assert str(alice.user_id) in admin.get(USERS, query_string={"status": "disabled"}).text
    assert admin.patch(path, json={"is_active": True}).status_code == 200
    assert alice.get(f"/api/v1/backtests/{job}").status_code == 200
    rows = trail(user_id=admin.user_id, resource_id=str(alice.user_id))
    assert [row.details["is_active"] for row in rows] == [False, False, True]


def test_a_removed_user_takes_everything_along_but_the_trail(
    admin: Client, alice: Client, trail: Trail
) -> None:
    alice.post("/api/v1/backtests", json=BACKTEST)
    alice.post("/api/v1/models", json={"name": "m", "kind": "k", "parameters": {}})
    path = f"{USERS}/{alice.user_id}"
    assert admin.delete(path).status_code == 204
    assert alice.get(ME).json["code"] == "unknown_key"
    assert (admin.get(path).status_code, admin.delete(path).status_code) == (404, 404)
    assert admin.patch(path, json={"is_active": True}).status_code == 404
    assert [row.action for row in trail(user_id=alice.user_id)] == ["submit_backtest", "create_model"]
    assert trail(resource_id=str(alice.user_id))[0].action == "delete_user"


def test_no_administrator_locks_themselves_out(admin: Client) -> None:
    path = f"{USERS}/{admin.user_id}"
    for refused in (admin.delete(path), admin.patch(path, json={"is_active": False})):
        assert (refused.status_code, refused.json["code"]) == (409, "own_account")
    assert admin.patch(path, json={"is_active": True}).status_code == 200


def test_an_administrators_key_without_the_scope_is_like_any_other(make_client: MakeClient) -> None:
    client = make_client("accounts:read", "accounts:write", is_admin=True)
    assert client.get(USERS).json["code"] == "missing_scope"
    assert make(client).status_code == 403


def test_users_are_listed_by_page(admin: Client) -> None:
    made = [make(admin).json["id"] for _ in range(3)]
    page = admin.get(USERS, query_string={"limit": 2}).json
    rest = admin.get(USERS, query_string={"limit": 2, "cursor": page["next"]}).json
    assert [item["id"] for item in page["items"] + rest["items"]][:3] == made[::-1]
    assert admin.get(USERS, query_string={"status": "gone"}).status_code == 422


def test_me_tells_what_may_be_asked_for(stores: Stores, alice: Client) -> None:
    me = alice.get(ME).json
    assert UUID(me["id"]) == alice.user_id
    for name, value in me["limits"].items():
        assert value == getattr(stores.settings, name)
    assert me["key"]["status"] == "active"
