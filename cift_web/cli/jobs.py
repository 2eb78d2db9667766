"""`cift jobs`: backtests and ingestions, whatever their kind."""

from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlencode
from uuid import UUID

import click

from cift_web.cli.api import Api, ApiRefused, Json
from cift_web.cli.lazy import LazyGroup
from cift_web.cli.output import json_option, show, table

KINDS = ("backtests", "ingestions")
Found = TypeVar("Found")


@click.group(cls=LazyGroup, lazy={"requeue": "cift_web.cli.requeue:requeue"})
def jobs() -> None:
    """Backtests and ingestions."""


@jobs.command("ls")
@click.option("--kind", type=click.Choice(KINDS), default="backtests", show_default=True)
@click.option("--status", type=click.Choice(["queued", "running", "succeeded", "failed", "cancelled"]))
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True)
@json_option
def list_jobs(kind: str, status: str | None, limit: int, as_json: bool) -> None:
    """List your jobs, newest first.

    \b
      cift jobs ls --status failed
      cift jobs ls --kind ingestions --json | jq -r .[].id
    """
    query = {"limit": limit} | ({} if status is None else {"status": status})
    items = Api().get(f"/api/v1/{kind}?{urlencode(query)}")["items"]
    rows = [
        [job["id"], job["status"], f"{job['progress']:.0%}", _about(job), job["created_at"]] for job in items
    ]
    show(items, lambda: table(("id", "status", "done", "what", "created_at"), rows), as_json)


@jobs.command("show")
@click.argument("job_id", type=click.UUID)
@json_option
def show_job(job_id: UUID, as_json: bool) -> None:
    """Show a job: how far it is, what came out or why it failed."""
    api = Api()
    job = _of_any_kind(lambda kind: api.get(f"/api/v1/{kind}/{job_id}"))
    show(job, lambda: described(job), as_json)


@jobs.command("cancel")
@click.argument("job_id", type=click.UUID)
@json_option
def cancel_job(job_id: UUID, as_json: bool) -> None:
    """Cancel a job: a queued one at once, a running one at its next sign of life."""
    api = Api()
    job = _of_any_kind(lambda kind: api.post(f"/api/v1/{kind}/{job_id}/cancel"))
    show(job, f"{job['id']} {job['status']}", as_json)


def described(job: Json) -> str:
    """The job in lines of a name and a value."""
    lines = {
        name: job[name] for name in ("id", "status", "attempt", "created_at", "started_at", "finished_at")
    }
    lines |= {name: value for name, value in job.items() if name.startswith("rows_")}
    lines |= {
        name: value for name, value in (job.get("metrics") or {}).items() if not isinstance(value, dict)
    }
    if job["error"]:
        lines |= {"error": job["error"]["code"], "": job["error"]["detail"]}
    shown = {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in lines.items()}
    width = max(map(len, shown))
    return "\n".join(
        f"{name.ljust(width)}  {'-' if value is None else value}" for name, value in shown.items()
    )


def _about(job: Json) -> str:
    request = job["request"]
    if "strategy" in request:
        name = request["strategy"].get("name") or request["strategy"].get("strategy_id")
        return f"{name} {' '.join(request['symbols'])} {request['interval']}"
    if request["source"]["type"] == "kafka":
        return "the topic"
    return f"{request['kind']} {request['symbol'] or '(many)'} {request['source']['path'] or '(upload)'}"


def _of_any_kind(ask: Callable[[str], Found]) -> Found:
    for kind in KINDS[:-1]:
        try:
            return ask(kind)
        except ApiRefused as error:
            if error.status != 404:
                raise
    return ask(KINDS[-1])
