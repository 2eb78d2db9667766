"""Celery's settings, as a worker process has them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.native.apps import WORKER_STOP_TIMEOUT_S, apps
from deploy.native.stack import Stack

CHECKOUT = Path(__file__).parents[1]
INTERVALS = {"CIFT_PROBE_INTERVAL_S": "7", "CIFT_REQUEUE_INTERVAL_S": "3"}
SHOW = """
import json
from cift_tasks.app import app
app.loader.import_default_modules()
tasks = sorted(name for name in app.tasks if not name.startswith("celery."))
print(json.dumps({
    "conf": {name: value for name, value in app.conf.items() if name != "task_queues"},
    "queues": [queue.name for queue in app.conf.task_queues],
    "tasks": {
        name: {
            "queue": app.amqp.router.route({}, name)["queue"].name,
            "soft_time_limit": app.tasks[name].soft_time_limit,
            "time_limit": app.tasks[name].time_limit,
            "acks_late": app.tasks[name].acks_late,
            "reject_on_worker_lost": app.tasks[name].reject_on_worker_lost,
            "ignore_result": app.tasks[name].ignore_result,
            "serializer": app.tasks[name].serializer,
        }
        for name in tasks
    },
}, default=str))
"""


@pytest.fixture(scope="module")
def shown(stack: Stack) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", SHOW],
        env=stack.env | INTERVALS,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def conf(shown: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = shown["conf"]
    return found


@pytest.fixture(scope="module")
def tasks(shown: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = shown["tasks"]
    return found


def test_tasks_are_named_by_noun_and_verb(tasks: dict[str, Any]) -> None:
    assert tasks
    for name in tasks:
        assert re.fullmatch(r"cift\.[a-z_]+\.[a-z_]+", name)


def test_every_task_has_a_queue_of_its_kind(shown: dict[str, Any], tasks: dict[str, Any]) -> None:
    of_noun = {
        "backtests": "backtests",
        "ingestions": "ingestion",
        "quality": "ingestion",
        "health": "health",
        "maintenance": "maintenance",
    }
    assert set(shown["queues"]) == {"backtests", "sweeps", "ingestion", "health", "maintenance"}
    for name, task in tasks.items():
        assert task["queue"] == of_noun[name.split(".")[1]], name


def test_every_task_ends_and_is_not_delivered_twice_while_it_runs(
    conf: dict[str, Any], tasks: dict[str, Any]
) -> None:
    for name, task in tasks.items():
        assert 0 < task["soft_time_limit"] < task["time_limit"], name
        assert task["time_limit"] < conf["broker_transport_options"]["visibility_timeout"], name


def test_what_the_settings_name_exists(conf: dict[str, Any], tasks: dict[str, Any]) -> None:
    assert set(conf["task_annotations"]) == set(tasks)
    assert {entry["task"] for entry in conf["beat_schedule"].values()} <= set(tasks)
    for pattern in conf["task_routes"]:
        assert any(name.startswith(pattern.removesuffix("*")) for name in tasks), pattern


def test_a_message_is_only_a_hint_and_the_row_decides(conf: dict[str, Any], tasks: dict[str, Any]) -> None:
    for name, task in tasks.items():
        assert task["acks_late"] is True, name
        assert not task["reject_on_worker_lost"], name
        assert task["ignore_result"] is True, name
    assert conf["worker_prefetch_multiplier"] == 1
    assert conf["result_backend"] is None


def test_only_json_is_read_and_written(conf: dict[str, Any], tasks: dict[str, Any]) -> None:
    assert conf["accept_content"] == ["json"]
    assert {task["serializer"] for task in tasks.values()} == {"json"}
    assert conf["event_serializer"] == conf["result_serializer"] == "json"


def test_a_lost_message_comes_back_within_seconds_and_a_silent_broker_is_noticed(
    conf: dict[str, Any],
) -> None:
    options = conf["broker_transport_options"]
    assert options["unacked_restore_interval"] == options["unacked_restore_throttle"] == 1
    for name in ("socket_timeout", "socket_connect_timeout", "health_check_interval"):
        assert 0 < options[name] <= 10, name
    assert conf["task_publish_retry_policy"]["max_retries"] <= 1, "a submit must not wait for the broker"


def test_a_message_to_an_unknown_queue_is_refused(conf: dict[str, Any], shown: dict[str, Any]) -> None:
    assert conf["task_create_missing_queues"] is False
    assert conf["task_default_queue"] in shown["queues"]


def test_beat_keeps_the_intervals_of_the_settings(conf: dict[str, Any]) -> None:
    entries = {entry["task"]: entry for entry in conf["beat_schedule"].values()}
    assert entries["cift.health.probe"]["schedule"] == 7.0
    assert entries["cift.maintenance.requeue_stale"]["schedule"] == 3.0
    for entry in entries.values():
        assert entry["options"]["expires"] == entry["schedule"], "ticks must not pile up"
    assert conf["beat_max_loop_interval"] <= 1
    assert (conf["timezone"], conf["enable_utc"]) == ("UTC", True)


def test_the_workers_serve_every_queue_and_the_probes_wait_for_no_job(
    stack: Stack, shown: dict[str, Any]
) -> None:
    served = {}
    for program in apps(stack.root, stack.env):
        if "-Q" in program.command:
            served[program.name] = program.command[program.command.index("-Q") + 1].split(",")
    assert sorted(queue for queues in served.values() for queue in queues) == sorted(shown["queues"])
    assert set(served["worker-health"]) == {"health", "maintenance"}


def test_a_worker_may_hand_its_job_back_before_it_is_killed(conf: dict[str, Any]) -> None:
    assert 0 < conf["worker_soft_shutdown_timeout"] < WORKER_STOP_TIMEOUT_S
    assert conf["worker_max_tasks_per_child"] > 0


def test_the_broker_is_that_of_the_settings(conf: dict[str, Any], stack: Stack) -> None:
    assert conf["broker_url"] == stack.env["CIFT_BROKER_URL"]
