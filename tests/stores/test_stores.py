"""The stores of one process: opened late, never shared with a child, and few enough for the servers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from cift_core.settings import Settings
from cift_core.stores import _SIZES, Stores, open_stores
from cift_web.database import MAX_OVERFLOW, POOL_SIZE
from deploy.native.apps import apps
from deploy.native.stack import Stack

CHECKOUT = Path(__file__).parents[2]
# Prints, for a parent and its forked child, the server's name of its PostgreSQL connection and its sockets.
FORK = """
import json, os, sys
from pathlib import Path
from sqlalchemy import text
from cift_core.settings import load_settings
from cift_core.stores import open_stores

def sockets():
    links = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            links.append(os.readlink(entry))
        except FileNotFoundError:
            pass  # the folder's own
    return {link for link in links if link.startswith("socket:")}

def use(stores):
    stores.cache.set("test:fork", "x", ttl_s=60)
    stores.cache.get("test:fork")
    stores.broker.probe()
    stores.questdb.fetch("SELECT 1")
    stores.questdb.probe()
    stores.postgres.probe()
    stores.kafka.positions()
    with stores.postgres.transaction() as session:
        return session.scalar(text("SELECT pg_backend_pid()"))

before = sockets()
stores = open_stores(load_settings(), "worker")
report = {"opened": len(sockets() - before)}
if sys.argv[1] == "used":
    report["parent"] = use(stores)
inherited = sockets()
reading, writing = os.pipe()
if os.fork() == 0:
    own = open_stores(load_settings(), "worker") if sys.argv[1] == "used" else stores
    child = {"child": use(own), "new": len(sockets() - inherited)}
    os.write(writing, json.dumps(child).encode())
    os._exit(0)
os.wait()
report |= json.loads(os.read(reading, 10_000))
report["after"] = use(stores)
print(json.dumps(report))
"""


def forked(settings_env: dict[str, str], how: str) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", FORK, how],
        env=settings_env | {"PATH": ""},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, int] = json.loads(done.stdout)
    return report


@pytest.mark.usefixtures("kafka")
def test_stores_opened_before_a_fork_give_each_side_sockets_of_its_own(stack: Stack) -> None:
    report = forked(stack.env, "unused")
    assert report["opened"] == 0
    assert report["new"] >= 7
    assert report["child"] != report["after"]


@pytest.mark.usefixtures("kafka")
def test_a_child_with_stores_of_its_own_leaves_its_parents_connections_alone(stack: Stack) -> None:
    report = forked(stack.env, "used")
    assert report["new"] >= 7, "PostgreSQL, QuestDB and their probes, cache, broker and Kafka"
    assert report["child"] != report["parent"]
    assert report["after"] == report["parent"], "still connected after the child's end"


def test_closed_stores_may_be_used_again(settings: Settings) -> None:
    opened = open_stores(settings, "cli")
    for _ in range(2):
        opened.cache.probe()
        opened.questdb.probe()
        assert opened.questdb.fetch("SELECT 1") == [(1,)]
        with opened.postgres.transaction() as session:
            assert session.scalar(text("SELECT 1")) == 1
        opened.close()


def processes(stack: Stack, name: str, option: str) -> int:
    """How many processes the program `name` forks."""
    (program,) = (program for program in apps(stack.root, stack.env) if program.name == name)
    return int(program.command[program.command.index(option) + 1])


def test_the_servers_allow_the_sum_of_all_connections(stack: Stack, stores: Stores) -> None:
    web = processes(stack, "api", "--workers")
    workers = processes(stack, "worker", "-c") + processes(stack, "worker-health", "-c")
    workers += 1  # the consumer
    worker_pool, worker_overflow, _, worker_questdb = _SIZES["worker"][:4]
    cli_pool, cli_overflow, _, cli_questdb = _SIZES["cli"][:4]
    probe = 1
    watch = 2  # the watching thread, and one look at the workers for GET /ready?verbose
    postgres = (
        web * (POOL_SIZE + MAX_OVERFLOW + probe + watch)
        + workers * (worker_pool + worker_overflow + probe)
        + (cli_pool + cli_overflow + probe)
        + 1  # a migration
    )
    questdb = web * (_SIZES["web"][3] + probe) + workers * (worker_questdb + probe) + (cli_questdb + probe)
    with stores.postgres.transaction() as session:
        allowed, reserved = (
            int(session.scalar(text(f"SHOW {name}")) or 0)
            for name in ("max_connections", "superuser_reserved_connections")
        )
    assert postgres <= allowed - reserved
    ((limit,),) = stores.questdb.fetch(
        "SELECT value FROM (SHOW PARAMETERS) WHERE property_path = 'pg.net.connection.limit'"
    )
    assert questdb <= int(limit)


def test_the_figures_of_the_pools() -> None:
    assert (POOL_SIZE, MAX_OVERFLOW) == (20, 10)
    assert _SIZES["web"][2:4] == (5, 20)
    assert _SIZES["worker"][:4] == (2, 2, 1, 2)
