"""/audit-log: one's own trail, and everybody's for administrators."""

from typing import Any
from uuid import uuid4

import pytest

from tests.web.conftest import BACKTEST, Client, MakeClient

LOG = "/api/v1/audit-log"


def read(client: Client, **query: Any) -> list[dict[str, Any]]:
    answer = client.get(LOG, query_string=query)
    assert answer.status_code == 200, answer.text
    return list(answer.json["items"])


def make_some(client: Client) -> str:
    made = str(client.post("/api/v1/backtests", json=BACKTEST).json["id"])
    client.post(f"/api/v1/backtests/{made}/cancel")
    client.post("/api/v1/backtests", json={})
    return made


def test_it_shows_ones_own_changes_and_refusals_newest_first(alice: Client, bob: Client) -> None:
    made = make_some(alice)
    make_some(bob)
    rows = read(alice)
    assert [(row["action"], row["result"], row["resource_id"]) for row in rows] == [
        ("submit_backtest", "refused", None),
        ("cancel_backtest", "done", made),
        ("submit_backtest", "done", made),
    ]
    assert {row["user_id"] for row in rows} == {str(alice.user_id)}
    assert rows[0]["details"]["code"] == "invalid_request"
    assert rows[0]["key_prefix"] == str(alice.token).split("_")[1]


def test_it_is_filtered_and_paged(alice: Client) -> None:
    made = make_some(alice)
    rows = read(alice)
    assert read(alice, action="cancel_backtest") == [rows[1]]
    assert read(alice, result="refused") == [rows[0]]
    assert read(alice, resource="backtests", resource_id=made) == rows[1:]
    assert read(alice, resource="ingestions") == []
    assert read(alice, created_after=rows[1]["created_at"]) == [rows[0]]
    first = alice.get(LOG, query_string={"limit": 2}).json
    rest = alice.get(LOG, query_string={"limit": 2, "cursor": first["next"]}).json
    assert (first["items"] + rest["items"], rest["next"]) == (rows, None)
    assert alice.get(LOG, query_string={"result": "maybe"}).status_code == 422
    assert alice.get(LOG, query_string={"cursor": "x"}).status_code == 422


def test_an_administrator_reads_everybodys(admin: Client, alice: Client, charlie: Client) -> None:
    agent = f"agent-{uuid4()}"
    made = make_some(alice)
    charlie.get("/api/v1/me", headers={"User-Agent": agent})
    everybody = read(admin, limit=500)
    assert made in {row["resource_id"] for row in everybody}
    assert [row["user_id"] for row in everybody if row["user_agent"] == agent] == [None]
    assert read(admin, user_id=str(alice.user_id)) == read(alice)


def test_nobody_else_reads_another_users(alice: Client, bob: Client, make_client: MakeClient) -> None:
    make_some(alice)
    refused = bob.get(LOG, query_string={"user_id": str(alice.user_id)})
    assert (refused.status_code, refused.json["code"]) == (403, "missing_scope")
    assert read(bob, user_id=str(bob.user_id)) == read(bob)
    plain = make_client("accounts:read", is_admin=True)
    assert read(plain) == []


@pytest.mark.parametrize("value", ["' OR '1'='1", "%", "done; DROP TABLE audit_logs"])
def test_a_filter_is_only_text(alice: Client, value: str) -> None:
    make_some(alice)
    assert read(alice, action=value) == []
    assert len(read(alice)) == 3
