"""/api-keys: made, listed, renamed and ended; and no way to a more powerful one."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import update

from cift_core.clock import utc_now
from cift_core.models import APIKey, AuditLog, User
from cift_core.services.api_keys import SCOPES
from cift_core.stores import Stores
from cift_web.schemas import utc_text
from tests.web.conftest import Client, MakeClient

KEYS, ME = "/api/v1/api-keys", "/api/v1/me"
Trail = Callable[..., list[AuditLog]]


def ask(client: Client, *scopes: str, **values: Any) -> Any:
    return client.post(KEYS, json={"name": "made", "scopes": list(scopes) or ["data:read"], **values})


def with_key(client: Client, *scopes: str, **values: Any) -> tuple[Client, dict[str, Any]]:
    """A client with a new key of the same user."""
    made = ask(client, *scopes, **values)
    assert made.status_code == 201, made.text
    return Client(client.app, made.json["key"], client.user_id), made.json


def in_hours(hours: float) -> str:
    return utc_text(utc_now() + timedelta(hours=hours))


def test_a_key_is_shown_once_and_works(alice: Client) -> None:
    other, made = with_key(alice, "data:read", "accounts:read")
    assert other.get(ME).json["key"] == alice.get(f"{KEYS}/{made['id']}").json
    assert other.get(ME).json["id"] == str(alice.user_id)
    secret = made["key"].rpartition("_")[2]
    for answer in (alice.get(KEYS), alice.get(f"{KEYS}/{made['id']}"), other.get(KEYS)):
        assert secret not in answer.text
        assert "hmac" not in answer.text
    assert (made["status"], made["scopes"]) == ("active", ["accounts:read", "data:read"])


def test_the_trail_names_the_key_and_not_the_secret(alice: Client, trail: Trail) -> None:
    _, made = with_key(alice)
    alice.patch(f"{KEYS}/{made['id']}", json={"name": "renamed"})
    alice.post(f"{KEYS}/{made['id']}/revoke")
    alice.delete(f"{KEYS}/{made['id']}")
    rows = trail(user_id=alice.user_id)
    assert [(row.action, row.resource_id, row.result) for row in rows] == [
        (f"{verb}_api_key", made["id"], "done") for verb in ("create", "change", "revoke", "delete")
    ]
    assert rows[0].details == {"prefix": made["prefix"], "scopes": ["data:read"]}
    assert made["key"].rpartition("_")[2] not in str([vars(row) for row in rows])


@pytest.mark.parametrize("scope", [scope for scope in SCOPES if scope != "accounts:write"])
def test_no_key_makes_one_with_more_scopes(make_client: MakeClient, scope: str) -> None:
    client = make_client("accounts:write", is_admin=True)
    refused = ask(client, "accounts:write", scope)
    assert (refused.status_code, refused.json["code"]) == (403, "wider_scopes")
    assert [field["pointer"] for field in refused.json["errors"]] == ["/scopes/1"]
    assert ask(client, "accounts:write").status_code == 201


def test_a_refused_key_was_never_made(make_client: MakeClient) -> None:
    client = make_client("accounts:read", "accounts:write")
    ask(client, "data:write")
    assert [item["name"] for item in client.get(KEYS).json["items"]] == ["test"]


def test_the_scope_admin_is_for_administrators(stores: Stores, admin: Client, alice: Client) -> None:
    child, _ = with_key(admin, "admin")
    assert child.get("/api/v1/users").status_code == 200
    assert ask(alice, "admin").status_code == 403
    with stores.postgres.transaction() as session:
        session.execute(update(User).where(User.id == admin.user_id).values(is_admin=False))
    for former in (child, admin):
        assert former.get("/api/v1/users").json["code"] == "missing_scope"
    assert ask(admin, "admin").status_code == 403


def test_a_key_lives_no_longer_than_the_one_that_made_it(alice: Client) -> None:
    until = in_hours(1)
    child, made = with_key(alice, "accounts:read", "accounts:write", expires_at=until)
    assert made["expires_at"] == until
    for expires_at in ({}, {"expires_at": None}):
        assert ask(child, "accounts:read", **expires_at).json["expires_at"] == until
    assert ask(child, "accounts:read", expires_at=in_hours(0.5)).status_code == 201
    refused = ask(child, "accounts:read", expires_at=in_hours(2))
    assert [field["pointer"] for field in refused.json["errors"]] == ["/expires_at"]
    assert ask(alice, expires_at=in_hours(-1)).status_code == 422


def test_an_expired_key_holds_no_more(stores: Stores, alice: Client) -> None:
    child, made = with_key(alice, expires_at=in_hours(1))
    with stores.postgres.transaction() as session:
        past = utc_now() - timedelta(seconds=1)
        session.execute(update(APIKey).where(APIKey.id == made["id"]).values(expires_at=past))
    assert child.get(ME).json["code"] == "expired_key"
    assert alice.get(f"{KEYS}/{made['id']}").json["status"] == "expired"


@pytest.mark.parametrize(("end", "code"), [("revoke", "revoked_key"), ("delete", "unknown_key")])
def test_an_ended_key_holds_for_no_further_request(alice: Client, end: str, code: str) -> None:
    child, made = with_key(alice)
    assert child.get(ME).status_code == 200
    path = f"{KEYS}/{made['id']}"
    for _ in range(2):
        ended = alice.post(f"{path}/revoke") if end == "revoke" else alice.delete(path)
        assert (child.get(ME).status_code, child.get(ME).json["code"]) == (401, code)
    if end == "revoke":
        assert ended.json["status"] == "revoked"
        assert alice.get(path).json == ended.json
    else:
        assert ended.status_code == 404


def test_a_key_can_end_itself(alice: Client) -> None:
    own = alice.get(ME).json["key"]["id"]
    assert alice.post(f"{KEYS}/{own}/revoke").status_code == 200
    assert alice.get(ME).json["code"] == "revoked_key"


def test_keys_are_listed_by_state(alice: Client) -> None:
    made = [with_key(alice, name=f"key {place}")[1] for place in range(3)]
    alice.post(f"{KEYS}/{made[1]['id']}/revoke")

    def names(**query: str) -> list[str]:
        return [item["name"] for item in alice.get(KEYS, query_string=query).json["items"]]

    assert names() == ["key 2", "key 1", "key 0", "test"]
    assert names(status="revoked") == ["key 1"]
    assert names(status="active") == ["key 2", "key 0", "test"]
    assert names(status="expired") == []
    assert names(created_after=made[1]["created_at"]) == ["key 2"]
    page = alice.get(KEYS, query_string={"limit": 3}).json
    rest = alice.get(KEYS, query_string={"limit": 3, "cursor": page["next"]}).json
    assert [item["name"] for item in rest["items"]] == ["test"]


@pytest.mark.parametrize("field", ["user_id", "owner_id", "prefix", "secret_hmac", "revoked_at", "is_admin"])
def test_what_is_not_the_clients_to_set_is_refused(alice: Client, bob: Client, field: str) -> None:
    for refused in (
        ask(alice, **{field: str(bob.user_id)}),
        alice.patch(f"{KEYS}/{alice.get(ME).json['key']['id']}", json={"name": "n", field: "x"}),
    ):
        assert [error["pointer"] for error in refused.json["errors"]] == [f"/{field}"]


@pytest.mark.parametrize("field", ["scopes", "expires_at"])
def test_scopes_and_expiry_are_not_changed(alice: Client, field: str) -> None:
    own = alice.get(ME).json["key"]
    assert alice.patch(f"{KEYS}/{own['id']}", json={field: own[field]}).status_code == 422


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 101, "\x00", 5])
def test_a_name_fits_in_one_line(alice: Client, name: Any) -> None:
    own = alice.get(ME).json["key"]["id"]
    assert alice.patch(f"{KEYS}/{own}", json={"name": name}).status_code == 422
    assert ask(alice, name=name).status_code == 422


@pytest.mark.parametrize(
    "header",
    ["{key}\r\nX-Injected: 1", "{key}\x00", "{key} admin", "{key},{key}", "{other}{tail}", "{key}=="],
)
def test_a_key_is_taken_whole_or_not_at_all(alice: Client, bob: Client, header: str) -> None:
    prefix = str(bob.token).rpartition("_")[0] + "_"
    sent = header.format(key=alice.token, other=prefix, tail=str(alice.token).rpartition("_")[2])
    try:
        answer = Client(alice.app, None).get(ME, headers={"Authorization": f"Bearer {sent}"})
    except ValueError:  # the client itself refuses to send such a header
        return
    assert answer.status_code == 401
    assert "X-Injected" not in answer.headers


def test_what_a_client_calls_itself_can_not_inject_a_log_line(alice: Client, trail: Trail) -> None:
    agent = f"a{uuid4().hex}\t\x1b[31m" + '"}{"event": "x"' + "'; DROP TABLE audit_logs; --"
    made = alice.post(KEYS, json={"name": "n", "scopes": ["data:read"]}, headers={"User-Agent": agent})
    assert made.status_code == 201
    (row,) = trail(user_id=alice.user_id)
    assert row.user_agent == agent.replace("\t", "").replace("\x1b", "")
