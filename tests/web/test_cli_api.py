"""The `cift` command as a user runs it: against a real gunicorn, with a key."""

import json
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import select

from cift_core.models import AuditLog, Backtest, Ingestion
from cift_core.stores import Stores
from deploy.native.environment import CHECKOUT
from tests.waiting import wait_for
from tests.web.conftest import Client
from tests.web.test_cli import cift

Run = Callable[..., subprocess.CompletedProcess[str]]
SAMPLE = str(CHECKOUT / "data" / "sample" / "AAPL-1d.csv")
BACKTEST = ("backtest", "sma_cross", "AAPL", "--param", "fast=10", "--param", "slow=20")


@pytest.fixture
def run(gunicorn: str, alice: Client) -> Run:
    """The command as Alice runs it: her URL and key in the environment, and no setting of the service."""

    def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith("CIFT_")}
        env |= {"CIFT_URL": gunicorn, "CIFT_API_KEY": str(alice.token)} | changes
        return cift(*arguments, env=env)

    return run


@pytest.fixture
def served(stores: Stores, alice: Client, work: Callable[[str], None]) -> Callable[..., None]:
    """Does Alice's next job, in a thread, as soon as it is there."""
    threads = []

    def serve(model: type[Backtest] | type[Ingestion]) -> None:
        def waiting() -> str | None:
            with stores.postgres.transaction() as session:
                query = select(model.id).where(model.owner_id == alice.user_id, model.status == "queued")
                found = session.scalar(query)
            return None if found is None else str(found)

        threads.append(threading.Thread(target=lambda: work(wait_for(waiting))))
        threads[-1].start()

    yield serve
    for thread in threads:
        thread.join(60)


def test_a_file_is_sent_and_its_balance_printed(run: Run, served: Callable[..., None]) -> None:
    symbol = f"T{uuid4().hex[:8]}"
    served(Ingestion)
    done = run("ingest", SAMPLE, "--symbol", symbol, "--interval", "1d")
    assert done.returncode == 0, done.stderr
    shown = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert (shown["status"], shown["rows_read"], shown["rows_rejected"]) == ("succeeded", "3270", "0")
    served(Ingestion)
    again = run("ingest", SAMPLE, "--symbol", symbol, "--interval", "1d", "--json")
    assert (json.loads(again.stdout)["rows_duplicate"], again.stderr) == (3270, "")


def test_a_file_with_too_many_rejects_ends_with_1(run: Run, served: Callable[..., None]) -> None:
    sample = str(CHECKOUT / "data" / "sample" / "SPY-1d.csv")  # two of its bars can't have happened
    served(Ingestion)
    done = run("ingest", sample, "--symbol", uuid4().hex[:8], "--interval", "1d", "--max-reject-share", "0")
    assert done.returncode == 1
    assert "2 of 2,519 records (0.08%) were refused, max_reject_share allows 0.00%" in done.stdout
    assert "line 1808: open 209.419998 lies outside low" in done.stdout


def test_a_backtest_is_awaited_and_its_figures_printed(run: Run, served: Callable[..., None]) -> None:
    symbol = f"T{uuid4().hex[:8]}"
    served(Ingestion)
    run("ingest", SAMPLE, "--symbol", symbol, "--interval", "1d")
    served(Backtest)
    done = run("backtest", "sma_cross", symbol, "--execution", "commission_rate=0.0005", "--json")
    assert done.returncode == 0, done.stderr
    job = json.loads(done.stdout)
    assert job["request"]["execution"]["commission_rate"] == 0.0005
    assert run("jobs", "show", job["id"]).stdout.splitlines()[0].split() == ["id", job["id"]]
    assert f"{job['metrics']['sharpe']:.6g}" in run("jobs", "show", job["id"]).stdout


def test_a_failed_job_ends_with_1_and_says_why(run: Run, served: Callable[..., None]) -> None:
    served(Backtest)
    done = run("backtest", "sma_cross", f"T{uuid4().hex[:8]}")
    assert done.returncode == 1
    assert "no_bars" in done.stdout


def test_jobs_are_listed_shown_and_cancelled(run: Run, tmp_path: Path) -> None:
    first = run(*BACKTEST, "--no-wait").stdout.strip()
    request = tmp_path / "request.json"
    request.write_text(json.dumps(json.loads(run("jobs", "show", first, "--json").stdout)["request"]))
    second = run("backtest", "--file", str(request), "--no-wait").stdout.strip()
    names, *lines = run("jobs", "ls").stdout.splitlines()
    assert names.split() == ["id", "status", "done", "what", "created_at"]
    assert [line.split()[:3] for line in lines] == [[job, "queued", "0%"] for job in (second, first)]
    assert run("jobs", "cancel", first).stdout.split() == [first, "cancelled"]
    listed = json.loads(run("jobs", "ls", "--status", "cancelled", "--json").stdout)
    assert [job["id"] for job in listed] == [first]
    assert run("jobs", "ls", "--kind", "ingestions").returncode == 0


def test_what_the_api_refuses_ends_with_1_and_names_the_field(run: Run, tmp_path: Path) -> None:
    done = run("backtest", "sma_cros", "AAPL")
    assert (done.returncode, done.stdout) == (1, "")
    assert "/strategy/name: there is no strategy 'sma_cros' (did you mean \"sma_cross\"?)" in done.stderr
    assert run("jobs", "show", str(uuid4())).returncode == 1
    assert "mistyped" in run("jobs", "ls", CIFT_API_KEY="cift_" + "a" * 12 + "_" + "b" * 49).stderr
    nonsense = tmp_path / "bars.csv"
    nonsense.write_text("one,two\n1,2\n")
    refused = run("ingest", str(nonsense), "--symbol", "T", "--interval", "1d")
    assert (refused.returncode, "/file" in refused.stderr or "timestamp" in refused.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "changes"),
    [
        (("backtest", "sma_cross"), {}),
        (("backtest", "sma_cross", "AAPL", "--param", "fast"), {}),
        (("backtest", "sma_cross", "AAPL", "--file", SAMPLE), {}),
        (("backtest", "--file", SAMPLE), {}),
        (("ingest", "/no/such/file", "--symbol", "T"), {}),
        (("jobs", "show", "7"), {}),
        (("jobs", "ls"), {"CIFT_API_KEY": ""}),
        (("jobs", "ls"), {"CIFT_URL": "ftp://example.org"}),
    ],
)
def test_wrong_usage_ends_with_2(run: Run, arguments: tuple[str, ...], changes: dict[str, str]) -> None:
    done = run(*arguments, **changes)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Error:" in done.stderr


def test_an_api_that_does_not_answer_ends_with_3(run: Run, settings: object) -> None:
    done = run("jobs", "ls", CIFT_URL="http://127.0.0.1:9")
    assert (done.returncode, "does not answer" in done.stderr) == (3, True)
    assert run("health", CIFT_URL="http://127.0.0.1:9").returncode == 3


def test_health_tells_of_every_store(run: Run, stop_server: Callable[[str], None]) -> None:
    done = run("health", CIFT_API_KEY="")
    assert done.returncode == 0, done.stderr
    assert {line.split()[0] for line in done.stdout.splitlines()[1:]} >= {"postgres", "questdb", "cache"}
    stop_server("redis-cache")
    down = run("health", "--json")
    assert (down.returncode, json.loads(down.stdout)["checks"]["redis"]) == (3, "unhealthy")


def test_a_job_is_taken_from_its_worker_by_an_operator(
    run: Run, alice: Client, stores: Stores, trail: Callable[..., list[AuditLog]]
) -> None:
    job_id = run(*BACKTEST, "--no-wait").stdout.strip()
    done = cift("jobs", "requeue", job_id)
    assert done.returncode == 0, done.stderr
    with stores.postgres.transaction() as session:
        job = session.get_one(Backtest, job_id)
    assert (job.status, job.dispatched_at) == ("queued", None)
    assert [row.action for row in trail(resource_id=job_id)] == ["submit_backtest", "requeue_job"]
    run("jobs", "cancel", job_id)
    again = cift("jobs", "requeue", job_id)
    assert (again.returncode, "no queued or running job" in again.stderr) == (1, True)
