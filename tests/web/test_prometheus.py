"""GET /metrics: true figures, the same from every process, bounded in number, for operators only."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from cift_core.models import AlertKind, AlertSeverity, JobStatus
from cift_core.services.workers import JOBS, QUEUES
from cift_core.stores import Stores
from cift_core.stores.kafka import Kafka
from cift_web.app import openapi_document
from tests.web.conftest import BACKTEST, Client, MakeClient

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"
STORES = {"postgres", "questdb", "broker", "cache", "kafka"}
LABELS = {
    "kind": {*JOBS, *AlertKind},
    "status": set(JobStatus),
    "severity": set(AlertSeverity),
    "subject": {*STORES, *QUEUES, "beat", "market-data"},
    "partition": {"0", "1", "2", "3"},
    "queue": set(QUEUES),
    "server": {"broker", "cache"},
}
Figures = dict[str, float]


@pytest.fixture
def operator(make_client: MakeClient, kafka: Kafka) -> Client:
    return make_client("admin")


def figures(text: str) -> Figures:
    """The samples by name and labels, as `name{label=value,...}`."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def scraped(operator: Client) -> Figures:
    response = operator.get("/metrics")
    assert response.status_code == 200
    assert response.content_type.startswith("text/plain; version=")
    return figures(response.text)


def test_the_jobs_are_counted(operator: Client, alice: Client, work: Callable[[str], None]) -> None:
    queued, failed = (
        "cift_jobs{kind=backtests,status=queued}",
        "cift_jobs_ended_last_hour{kind=backtests,status=failed}",
    )
    before = scraped(operator)
    body = BACKTEST | {"symbols": [uuid4().hex[:9]]}
    ids = [alice.post("/api/v1/backtests", json=body).json["id"] for _ in range(2)]
    after = scraped(operator)
    assert after[queued] == before[queued] + 2
    assert after["cift_jobs_oldest_queued_seconds{kind=backtests}"] > 0
    for job_id in ids:
        work(job_id)
    ended = scraped(operator)
    assert (ended[queued], ended[failed]) == (before[queued], before[failed] + 2)
    running = ended["cift_jobs{kind=backtests,status=running}"]
    assert running >= 0


def test_what_is_checked_has_its_figures(operator: Client, stop_server: Callable[[str], None]) -> None:
    found = scraped(operator)
    for store in STORES:
        assert found[f"cift_check_healthy{{kind=store_unhealthy,subject={store}}}"] == 1
        assert 0 < found[f"cift_check_latency_seconds{{kind=store_unhealthy,subject={store}}}"] < 2
    assert found["cift_redis_limit_bytes{server=cache}"] == 256 * 2**20
    assert all(found[f"cift_queue_messages{{queue={queue}}}"] >= 0 for queue in QUEUES)
    assert found["cift_check_healthy{kind=consumer_stalled,subject=market-data}"] in (0, 1)
    assert found["cift_kafka_lag_messages{partition=0}"] >= 0
    stop_server("redis-cache")
    found = scraped(operator)
    assert found["cift_check_healthy{kind=store_unhealthy,subject=cache}"] == 0
    assert "cift_redis_used_bytes{server=cache}" not in found
    assert found["cift_redis_used_bytes{server=broker}"] > 0


def test_the_labels_are_bounded(operator: Client) -> None:
    for sample in scraped(operator):
        labels = re.findall(r"(\w+)=([^,}]*)", sample)
        assert all(value in LABELS[name] for name, value in labels), sample


def test_only_operators_read_them(alice: Client, charlie: Client) -> None:
    assert alice.get("/metrics").status_code == 403
    assert charlie.get("/metrics").status_code == 401


def test_requests_are_counted_once_whichever_process_answers(operator: Client, gunicorn: str) -> None:
    headers = {"Authorization": f"Bearer {operator.token}"}

    def send(path: str) -> int:
        return requests.get(f"{gunicorn}{path}", timeout=10).status_code  # a connection of its own each time

    def scrape() -> Figures:
        return figures(requests.get(f"{gunicorn}/metrics", headers=headers, timeout=10).text)

    before = scrape()
    paths = ["/live"] * 40 + [f"/{uuid4()}" for _ in range(20)]
    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(send, paths)) == [200] * 40 + [404] * 20
    after = {name: value - before.get(name, 0.0) for name, value in scrape().items()}
    assert after["cift_http_requests_total{operation=live,status=200}"] == 40
    assert after["cift_http_requests_total{operation=none,status=404}"] == 20
    assert after["cift_http_request_seconds_count{operation=live}"] == 40
    assert after["cift_http_request_seconds_bucket{le=+Inf,operation=live}"] == 40
    assert 0 < after["cift_http_request_seconds_sum{operation=live}"] < 40
    known = {
        operation["operationId"]
        for item in openapi_document()["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    }
    others = {"none", "openapi", "docs", "docs_script", "docs_asset"}
    assert set(re.findall(r"operation=(\w+)", str(after.keys()))) <= known | others


def test_the_figures_that_the_runbook_names_exist(operator: Client) -> None:
    named = set(re.findall(r"`(cift_\w+)`", RUNBOOK.read_text()))
    assert named
    assert named <= {sample.partition("{")[0] for sample in scraped(operator)}


def test_a_long_list_of_ended_jobs_costs_nothing(stores: Stores) -> None:
    """What ended lately is found by the index on the end, however many ended before."""
    with stores.postgres.transaction() as session:
        session.connection().exec_driver_sql("SET LOCAL enable_seqscan = off")
        plan = session.connection().exec_driver_sql(
            "EXPLAIN SELECT status, count(*) FROM backtests "
            "WHERE finished_at > now() - interval '1 hour' GROUP BY status"
        )
        assert any("ix_backtests_finished_at" in row[0] for row in plan)
