"""A cancel is in the row: it reaches queued and running jobs, and survives every restart."""

import pytest

from tests.e2e.client import Client
from tests.e2e.service import Service
from tests.waiting import wait_for

pytestmark = pytest.mark.usefixtures("imported")


def cancel(client: Client, job_id: str) -> str:
    return str(client.post(f"/backtests/{job_id}/cancel")["status"])


def wait_for_heartbeat(service: Service, job_id: str) -> None:
    """Return when the worker has renewed its lease once more, and so has seen the cancel."""
    before = service.backtest(job_id).lease_expires_at
    wait_for(lambda: service.backtest(job_id).lease_expires_at != before, what="a heartbeat")


def test_a_queued_job_twice_and_across_a_restart(service: Service, alice: Client) -> None:
    with service.stopped("worker"):
        job_id, other = alice.submit(), alice.submit()
        assert [cancel(alice, job_id), cancel(alice, job_id)] == ["cancelled", "cancelled"]
    alice.succeeded(other)
    job = alice.job(job_id)
    assert (job["status"], job["attempt"], job["metrics"], job["error"]) == ("cancelled", 0, None, None)
    assert alice.items(f"/backtests/{job_id}/equity") == []


def test_a_running_job(service: Service, alice: Client) -> None:
    with service.frozen("questdb"):
        job_id = alice.submit()
        service.running(job_id)
        assert [cancel(alice, job_id), cancel(alice, job_id)] == ["running", "running"]
        wait_for_heartbeat(service, job_id)
    job = alice.ended(job_id)
    assert (job["status"], job["attempt"], job["metrics"]) == ("cancelled", 1, None)


def test_a_running_job_whose_worker_dies(service: Service, alice: Client) -> None:
    with service.frozen("questdb"):
        job_id = alice.submit()
        service.running(job_id)
        assert cancel(alice, job_id) == "running"
        service.kill_children("worker")
        job = alice.ended(job_id)
    assert (job["status"], job["attempt"]) == ("cancelled", 1)


def test_a_finished_job_stays_finished(alice: Client) -> None:
    job_id = alice.submit()
    before = alice.succeeded(job_id)
    assert cancel(alice, job_id) == "succeeded"
    assert alice.job(job_id) == before


def test_only_a_finished_job_can_be_removed(service: Service, alice: Client) -> None:
    with service.stopped("worker"):
        job_id = alice.submit()
        refused = alice.send("DELETE", f"/api/v1/backtests/{job_id}")
        assert (refused.status_code, refused.json()["code"]) == (409, "not_finished")
        cancel(alice, job_id)
        assert alice.send("DELETE", f"/api/v1/backtests/{job_id}").status_code == 204
    assert alice.send("GET", f"/api/v1/backtests/{job_id}").status_code == 404
