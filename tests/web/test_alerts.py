"""GET /alerts and POST /alerts/{id}/acknowledge."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from cift_core.clock import utc_now
from cift_core.models import Alert, AuditLog
from cift_core.stores import Stores
from tests.web.conftest import BACKTEST, Client, MakeClient

LIST = "/api/v1/alerts"


@pytest.fixture
def operators(stores: Stores) -> str:
    """The id of an alert of the operators."""
    moment = utc_now()
    with stores.postgres.transaction() as session:
        alert = Alert(
            kind="queue_slow",
            subject=uuid4().hex,
            severity="warning",
            detail="A job has waited.",
            opened_at=moment,
            last_seen_at=moment,
        )
        session.add(alert)
    return str(alert.id)


@pytest.fixture
def operator(make_client: MakeClient) -> Client:
    return make_client("alerts:read", "alerts:write", "admin")


def test_a_job_that_fails_alerts_its_owner_until_it_is_acknowledged(
    alice: Client, bob: Client, work: Callable[[str], None], trail: Callable[..., list[AuditLog]]
) -> None:
    job_id = alice.post("/api/v1/backtests", json=BACKTEST | {"symbols": [uuid4().hex[:9]]}).json["id"]
    work(job_id)
    (alert,) = alice.get(LIST).json["items"]
    job = alice.get(f"/api/v1/backtests/{job_id}").json
    assert (alert["kind"], alert["subject"]) == ("job_failed", f"backtests/{job_id}")
    assert (alert["severity"], alert["status"], alert["detail"]) == (
        "warning",
        "open",
        job["error"]["detail"],
    )
    assert alert["details"] == {"job": "backtests", "id": job_id, "code": job["error"]["code"]}
    assert (alert["opened_at"], alert["owner_id"]) == (job["finished_at"], str(alice.user_id))
    assert (alert["acknowledged_at"], alert["resolved_at"], alert["duration_s"]) == (None, None, None)
    assert bob.get(LIST).json == {"items": [], "next": None}

    answers = [alice.post(f"{LIST}/{alert['id']}/acknowledge") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json == answers[1].json
    done = answers[0].json
    assert (done["status"], done["acknowledged_by"]) == ("resolved", str(alice.user_id))
    assert done["duration_s"] >= 0
    entries = trail(resource="alerts", resource_id=alert["id"])
    assert [(entry.action, entry.result, entry.user_id) for entry in entries] == [
        ("acknowledge_alert", "done", alice.user_id)
    ] * 2


def test_removing_the_job_resolves_its_alert(alice: Client, work: Callable[[str], None]) -> None:
    job_id = alice.post("/api/v1/backtests", json=BACKTEST | {"symbols": [uuid4().hex[:9]]}).json["id"]
    work(job_id)
    assert alice.delete(f"/api/v1/backtests/{job_id}").status_code == 204
    assert [alert["status"] for alert in alice.get(LIST).json["items"]] == ["resolved"]


def test_only_an_operator_sees_and_acknowledges_what_is_the_operators(
    alice: Client, operator: Client, operators: str, trail: Callable[..., list[AuditLog]]
) -> None:
    assert alice.get(LIST).json["items"] == []
    refused = alice.post(f"{LIST}/{operators}/acknowledge")
    assert (refused.status_code, refused.json["code"]) == (404, "alert_not_found")
    (alert,) = [
        item for item in operator.get(f"{LIST}?kind=queue_slow").json["items"] if item["id"] == operators
    ]
    assert (alert["owner_id"], alert["status"]) == (None, "open")
    noted = operator.post(f"{LIST}/{operators}/acknowledge").json
    assert (noted["status"], noted["acknowledged_by"]) == ("acknowledged", str(operator.user_id))
    assert noted["resolved_at"] is None
    results = [(entry.result, entry.user_id) for entry in trail(resource="alerts", resource_id=operators)]
    assert results == [("refused", alice.user_id), ("done", operator.user_id)]


def test_an_admins_key_without_the_scope_admin_sees_only_its_own(
    make_client: MakeClient, operators: str
) -> None:
    assert make_client("alerts:read").get(LIST).json["items"] == []
    assert operators


@pytest.mark.parametrize(
    ("query", "pointer", "word"),
    [
        ("status=closed", "/status", "open, acknowledged, resolved"),
        ("severity=bad", "/severity", "info, warning, critical"),
        ("kind=job", "/kind", "job_failed"),
        ("state=open", "/state", "status"),
        ("cursor=x", "/cursor", "cursor"),
        ("limit=501", "/limit", "500"),
    ],
)
def test_a_wrong_filter_names_what_would_be_right(alice: Client, query: str, pointer: str, word: str) -> None:
    answer = alice.get(f"{LIST}?{query}")
    assert answer.status_code == 422
    (error,) = answer.json["errors"]
    assert error["pointer"] == pointer
    assert word in error["detail"]


def test_the_pages_follow_each_other(alice: Client, work: Callable[[str], None]) -> None:
    job_ids = []
    for _ in range(3):
        body: dict[str, Any] = BACKTEST | {"symbols": [uuid4().hex[:9]]}
        job_ids.append(alice.post("/api/v1/backtests", json=body).json["id"])
        work(job_ids[-1])
    first = alice.get(f"{LIST}?limit=2&status=open").json
    second = alice.get(f"{LIST}?limit=2&status=open&cursor={first['next']}").json
    found = [alert["details"]["id"] for alert in first["items"] + second["items"]]
    assert found == job_ids[::-1]
    assert second["next"] is None
