"""What operators rely on: probes that keep coming and tell of failures, Flower behind its password."""

from datetime import timedelta
from itertools import pairwise

import pytest
import requests

from cift_core.clock import utc_now
from tests.conftest import QUICK
from tests.e2e.client import Client
from tests.e2e.service import Service
from tests.waiting import wait_for

STORES = {"postgres", "questdb", "broker", "cache"}
PROBES = "SELECT store, healthy, recorded_at, reason FROM health_probes WHERE recorded_at > %s"


def test_probes_are_recorded_and_tell_what_is_unhealthy(service: Service) -> None:
    since = utc_now().replace(tzinfo=None)
    fetch = service.stores.questdb.fetch

    def probed(store: str, healthy: bool) -> bool:
        rows = fetch(f"{PROBES} AND store = %s AND healthy = %s", (since, store, healthy))
        return bool(rows) and all(bool(reason) != healthy for *_, reason in rows)

    for store in STORES:
        wait_for(lambda store=store: probed(store, True), what=f"{store} is probed")  # type: ignore[misc]
    with service.stopped("redis-cache"):
        wait_for(lambda: probed("cache", False), what="the cache is told to be unhealthy")
    with service.stopped("postgres"):
        wait_for(lambda: probed("postgres", False), what="PostgreSQL is told to be unhealthy")


def test_a_hanging_questdb_stops_neither_probes_nor_requeueing(service: Service) -> None:
    with service.frozen("questdb"):
        seen = service.log("worker-health").count('"event": "check.unhealthy"')
        wait_for(
            lambda: service.log("worker-health").count('"event": "check.unhealthy"') > seen + 2,
            timeout_s=20,
            what="QuestDB is told to be unhealthy again and again",
        )


@pytest.mark.usefixtures("imported")
def test_a_long_queue_of_jobs_does_not_delay_the_probes(service: Service, alice: Client) -> None:
    since = utc_now().replace(tzinfo=None)
    job_ids = [alice.submit() for _ in range(50)]
    for job_id in job_ids:
        alice.succeeded(job_id, timeout_s=90)
    times = [row[2] for row in service.stores.questdb.fetch(f"{PROBES} AND store = 'cache'", (since,))]
    times = [since, *times, utc_now().replace(tzinfo=None)]
    longest = max(later - earlier for earlier, later in pairwise(times))
    assert longest < timedelta(seconds=3 * float(QUICK["CIFT_PROBE_INTERVAL_S"]) + 2)


def test_flower_wants_its_password_and_changes_nothing(service: Service) -> None:
    env = service.stack.env
    url, login = env["CIFT_FLOWER_URL"], (env["CIFT_FLOWER_USER"], env["CIFT_FLOWER_PASSWORD"])
    with requests.Session() as session:
        session.trust_env = False
        for path in ("/", "/workers", "/tasks", "/broker"):
            assert session.get(url + path, timeout=10).status_code == 401, path
            assert session.get(url + path, auth=(login[0], "guess"), timeout=10).status_code == 401, path
            assert session.get(url + path, auth=login, timeout=10).status_code == 200, path
        for path in ("/api/workers", "/api/tasks", "/api/task/send-task/cift.health.probe"):
            refused = [session.get(url + path, timeout=10), session.post(url + path, timeout=10)]
            assert {answer.status_code for answer in refused} <= {401, 403, 404, 405}, path
        posted = session.post(f"{url}/api/worker/shutdown/jobs@none", auth=login, timeout=10)
        assert posted.status_code in {401, 403, 404, 405}
