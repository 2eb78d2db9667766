"""What an operator is told when parts of the service are away, and by whom: nobody watches from one place."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import select

from cift_core.clock import utc_now
from cift_core.models import Alert
from cift_core.services import api_keys, users
from tests.e2e.client import Client, Json
from tests.e2e.service import Service
from tests.waiting import Deadline, wait_for

SCOPES = ("alerts:read", "alerts:write", "admin")
JOB_QUEUES = {"queue_unserved/backtests", "queue_unserved/sweeps", "queue_unserved/ingestion"}


@pytest.fixture(scope="module")
def operator(service: Service) -> Iterator[Client]:
    with service.stores.postgres.transaction() as session:
        settings = service.stores.settings
        user = users.create_user(session, settings, f"{uuid4()}@example.org", uuid4().hex, is_admin=True)
        _, token = api_keys.create_key(session, settings, user, name="tests", scopes=SCOPES)
    with Client(service.stack.env["CIFT_URL"], token, str(user.id)) as client:
        yield client


def alerts(operator: Client, known: set[str]) -> dict[str, Json]:
    """The operators' newest alerts beside the known ones, by kind and subject."""
    found = operator.get("/alerts", limit=100)["items"]
    return {f"{one['kind']}/{one['subject']}": one for one in reversed(found) if one["id"] not in known}


def told(operator: Client, known: set[str], status: str) -> set[str]:
    return {name for name, alert in alerts(operator, known).items() if alert["status"] == status}


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def once_all_is_well(operator: Client) -> set[str]:
    """The ids of the alerts so far, each over, but for those of gaps in the sample."""
    deadline = Deadline(60)
    while True:
        details = operator.send("GET", "/ready?verbose").json()["details"]
        found = operator.get("/alerts", limit=100)["items"]
        wrong = [name for name, detail in details.items() if detail["status"] != "healthy"]
        wrong += [
            alert["detail"] for alert in found if alert["resolved_at"] is None and alert["kind"] != "data_gap"
        ]
        if not wrong:
            return {alert["id"] for alert in found}
        deadline.check(wrong)


def test_what_is_away_opens_an_alert_that_resolves_when_it_is_back(
    service: Service, operator: Client
) -> None:
    known = once_all_is_well(operator)
    expected = JOB_QUEUES | {"store_unhealthy/cache", "beat_silent/beat"}
    with service.stopped("worker", "redis-cache"), service.frozen("beat"):
        wait_for(lambda: expected <= told(operator, known, "open"), what=f"{expected} are open")
        critical = alerts(operator, known)["store_unhealthy/cache"]
        assert critical["severity"] == "critical"
        noted = operator.post(f"/alerts/{critical['id']}/acknowledge")
        assert (noted["status"], noted["acknowledged_by"]) == ("acknowledged", operator.user_id)
    wait_for(lambda: expected <= told(operator, known, "resolved"), what=f"{expected} are resolved")
    found = alerts(operator, known)
    assert all(found[name]["duration_s"] > 0 for name in expected)
    assert found["store_unhealthy/cache"]["acknowledged_by"] == operator.user_id
    assert {alert["id"] for alert in found.values()} <= once_all_is_well(operator)


def test_alerts_hold_without_broker_and_postgres(service: Service, operator: Client) -> None:
    known = once_all_is_well(operator)
    service.broker.flushall()
    with service.stopped("postgres"):
        seen = service.log("worker-health").count('"check": "postgres"')
        failed = lambda: service.log("worker-health").count('"check": "postgres"') - seen  # noqa: E731
        wait_for(lambda: failed() >= 3, what="PostgreSQL was seen to be away three times")
    back = utc_now()
    with service.stopped("redis-broker"):  # so that beat can ask no worker to probe
        wait_for(
            lambda: "store_unhealthy/broker" in told(operator, known, "open"), what="the broker's is open"
        )
    expected = {"store_unhealthy/postgres", "store_unhealthy/broker"}
    wait_for(lambda: expected <= told(operator, known, "resolved"), what=f"{expected} are resolved")
    own = alerts(operator, known)["store_unhealthy/postgres"]
    assert moment(own["opened_at"]) < moment(own["last_seen_at"]) < back, "it was away between two moments"
    with service.stores.postgres.transaction() as session:
        told_at = session.scalars(select(Alert.created_at).where(Alert.id == own["id"])).one()
    assert moment(own["opened_at"]) < told_at - timedelta(seconds=1), "it began before it could be told"
    assert not JOB_QUEUES & alerts(operator, known).keys(), "a flushed broker is no silent worker"
