"""`cift workers`: what runs the jobs."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from celery import Celery
from kombu.exceptions import KombuError

from cift_core.errors import NotFound, StoreUnavailable
from cift_core.settings import load_settings
from cift_web.cli.output import REFUSED, json_option, show, table

JOB_QUEUES = ("backtests", "sweeps", "ingestion")
ANSWER_S = 2.0


@click.group()
def workers() -> None:
    """The processes that run the jobs."""


@workers.command("ls")
@json_option
def list_workers(as_json: bool) -> None:
    """List the workers that answer: their queues, and the tasks they have in hand."""
    with _celery() as app:
        queues, tasks = _queues(app), _in_hand(app)
    found = [
        {"name": name, "queues": queues[name], "in_hand": tasks.get(name, [])} for name in sorted(queues)
    ]
    rows = [[worker["name"], ",".join(worker["queues"]), len(worker["in_hand"])] for worker in found]
    show(found, lambda: table(("name", "queues", "in hand"), rows), as_json)


@workers.command("drain")
@click.argument("names", nargs=-1)
@click.option("--timeout", type=click.IntRange(0), default=600, show_default=True, help="Seconds to wait.")
def drain_workers(names: tuple[str, ...], timeout: int) -> None:
    """Let workers take no more jobs, and wait until they have finished those in hand.

    All workers of jobs unless NAMES are given (`cift workers ls` shows them). Queued jobs stay queued, for
    others or for later. A drained worker can be stopped or upgraded without a job being handed back; it takes
    jobs again when it is restarted, or after `cift workers resume`. Ends with 1 when jobs still run at the
    end of the time.

    \b
      cift workers drain && systemctl restart cift-worker
    """
    with _celery() as app:
        chosen = _chosen(app, names)
        for queue in JOB_QUEUES:
            app.control.cancel_consumer(queue, destination=chosen, reply=True, timeout=ANSWER_S)
        deadline = time.monotonic() + timeout
        while any(_in_hand(app, chosen).values()):
            if time.monotonic() > deadline:
                click.echo(f"cift: jobs still run after {timeout} s; no more are taken.", err=True)
                sys.exit(REFUSED)
            time.sleep(0.2)
    click.echo(f"Drained: {', '.join(chosen)}.", err=True)


@workers.command("resume")
@click.argument("names", nargs=-1)
def resume_workers(names: tuple[str, ...]) -> None:
    """Let drained workers take jobs again; all workers of jobs unless NAMES are given."""
    with _celery() as app:
        chosen = _chosen(app, names)
        for queue in JOB_QUEUES:
            app.control.add_consumer(queue, destination=chosen, reply=True, timeout=ANSWER_S)
    click.echo(f"They take jobs again: {', '.join(chosen)}.", err=True)


@contextmanager
def _celery() -> Iterator[Celery]:
    """A connection to the broker that knows no task.

    Raises:
        StoreUnavailable: the broker does not answer.
    """
    with Celery("cift", broker=load_settings().broker_url, set_as_current=False) as app:
        app.conf.broker_transport_options = {"socket_timeout": 5, "socket_connect_timeout": 2}
        try:
            yield app
        except (KombuError, OSError) as error:
            raise StoreUnavailable("broker_unavailable", "The broker does not answer; try again.") from error


def _chosen(app: Celery, names: tuple[str, ...]) -> list[str]:
    """The workers of these names; without any, all but those of the platform's own upkeep."""
    queues = _queues(app)
    if unknown := [name for name in names if name not in queues]:
        known = ", ".join(sorted(queues)) or "none"
        raise NotFound("worker_not_found", f"No worker {unknown[0]} answers; these do: {known}.")
    chosen = sorted(names or (name for name, served in queues.items() if "maintenance" not in served))
    if not chosen:
        raise NotFound("worker_not_found", "No worker of jobs answers.")
    return chosen


def _queues(app: Celery) -> dict[str, list[str]]:
    found: dict[str, list[dict[str, Any]]] = app.control.inspect(timeout=ANSWER_S).active_queues() or {}
    return {name: [queue["name"] for queue in served] for name, served in found.items()}


def _in_hand(app: Celery, names: list[str] | None = None) -> dict[str, list[str]]:
    """Ids of the tasks that each worker runs or has received."""
    inspect = app.control.inspect(destination=names, timeout=ANSWER_S)
    found: dict[str, list[str]] = {}
    for answers in (inspect.active() or {}, inspect.reserved() or {}):
        for name, tasks in answers.items():
            found.setdefault(name, []).extend(task["id"] for task in tasks)
    return found
