"""A store that stops, dies or hangs: jobs are handed back and end well; /ready tells the truth in time."""

import time
from contextlib import AbstractContextManager

import pytest

from tests.e2e.client import Client
from tests.e2e.service import Service
from tests.waiting import wait_for

CHECK = {"postgres": "postgres", "questdb": "questdb", "redis-broker": "redis", "redis-cache": "redis"}


@pytest.mark.usefixtures("imported")
def test_questdb_stopped_while_jobs_are_queued(service: Service, alice: Client) -> None:
    with service.stopped("questdb"):
        job_ids = [alice.submit() for _ in range(2)]
        for job_id in job_ids:
            wait_for(lambda job_id=job_id: service.backtest(job_id).releases, what="handed back")  # type: ignore[misc]
            assert service.backtest(job_id).status in {"queued", "running"}
    for job_id in job_ids:
        assert alice.succeeded(job_id)["error"] is None
        service.assert_no_attempt_is_unexplained(job_id)


@pytest.mark.usefixtures("imported")
def test_questdb_killed_while_a_job_runs(service: Service, alice: Client) -> None:
    with service.frozen("questdb"):
        job_id = alice.submit()
        service.running(job_id)
        service.kill("questdb")
    job = alice.succeeded(job_id)
    service.assert_no_attempt_is_unexplained(job_id)
    assert len(alice.items(f"/backtests/{job_id}/equity")) == job["data"]["rows"]


@pytest.mark.usefixtures("imported")
def test_postgres_restarted_while_a_job_runs(service: Service, alice: Client) -> None:
    with service.frozen("questdb"):
        job_id = alice.submit()
        service.running(job_id)
        with service.stopped("postgres"):
            pass
    job = alice.succeeded(job_id)
    assert service.backtest(job_id).result_attempt == job["attempt"] <= 2


@pytest.mark.usefixtures("imported")
def test_postgres_away_when_the_message_arrives(service: Service, alice: Client) -> None:
    with service.stopped("worker"):
        job_id = alice.submit()
        with service.stopped("postgres"):
            service.stack.start("worker")
            wait_for(lambda: not service.broker.llen("backtests"), what="the worker takes the message")
    job = alice.succeeded(job_id)
    assert (job["attempt"], service.backtest(job_id).releases) == (1, 0)


@pytest.mark.usefixtures("imported")
def test_a_server_that_is_away_is_a_503_and_no_500(service: Service, alice: Client) -> None:
    job_id = alice.submit()
    alice.succeeded(job_id)
    assert [alice.get(f"/backtests/{job_id}/trades") for _ in range(8)]
    with service.stopped("questdb"):
        answer = alice.send("GET", f"/api/v1/backtests/{job_id}/trades")
        assert (answer.status_code, answer.json()["code"]) == (503, "questdb_unavailable")
        assert answer.headers["Retry-After"]
        assert alice.job(job_id)["status"] == "succeeded"
    for _ in range(8):  # by both web processes, whose idle connections are all dead
        began = time.monotonic()
        assert alice.get(f"/backtests/{job_id}/trades")["items"]
        assert time.monotonic() - began < 2
    with service.stopped("postgres"):
        for method, path in (("GET", f"/backtests/{job_id}"), ("POST", f"/backtests/{job_id}/cancel")):
            answer = alice.send(method, f"/api/v1{path}")
            assert (answer.status_code, answer.json()["code"]) == (503, "postgres_unavailable")
    with service.stopped("redis-cache"):
        assert alice.job(job_id)["status"] == "succeeded"


@pytest.mark.parametrize("name", CHECK)
@pytest.mark.parametrize("how", ["stopped", "frozen"])
def test_ready_tells_the_truth_within_3_s(service: Service, alice: Client, name: str, how: str) -> None:
    away: AbstractContextManager[None] = getattr(service, how)(name)
    with away:
        began = time.monotonic()
        answer = alice.send("GET", "/ready?verbose=1")
        elapsed_s = time.monotonic() - began
        assert alice.send("GET", "/live").json() == {"live": True}
        assert time.monotonic() - began - elapsed_s < 1
    body = answer.json()
    assert (answer.status_code, body["ready"]) == (503, False)
    assert body["checks"] == dict.fromkeys(CHECK.values(), "healthy") | {CHECK[name]: "unhealthy"}
    assert elapsed_s < 3
    store = name.removeprefix("redis-")
    unhealthy = {name for name, told in body["details"].items() if told["status"] == "unhealthy"}
    assert unhealthy - {"workers", "beat"} == {store}
    assert all(told["reason"] for name, told in body["details"].items() if name in unhealthy)
    wait_for(lambda: alice.send("GET", "/ready").status_code == 200, timeout_s=10, what="ready again")
