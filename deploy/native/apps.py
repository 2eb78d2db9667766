"""The processes of CIFT Markets itself: API, workers, beat, consumer, Flower."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from .environment import port
from .program import Program

GUNICORN = [sys.executable, "-m", "gunicorn", "cift_web.app:create_app()", "--no-control-socket"]
GUNICORN_POOL = [
    "--worker-class",
    "cift_web.gunicorn_worker.ProblemWorker",
    "--workers",
    "2",
    "--threads",
    "8",
]
CELERY = [sys.executable, "-m", "celery", "-A", "cift_tasks.app"]
CONSUMER = [str(Path(sys.executable).with_name("cift")), "consume"]
FLOWER = [sys.executable, "-m", "cift_tasks.flower"]
# Workers have nothing to tell each other, and gossip does not survive a restart of the broker (Celery 5.7).
WORKER = ["worker", "--without-gossip", "--without-mingle"]
JOBS = [*WORKER, "-n", "jobs@%h", "-Q", "backtests,sweeps,ingestion", "-c", "2"]
HEALTH = [*WORKER, "-n", "health@%h", "-Q", "health,maintenance", "-c", "1"]

# Longer than Celery's soft shutdown, which hands a running job back to the queue.
WORKER_STOP_TIMEOUT_S = 45
# Longer than a batch takes that waits for another writer; one that is not finished is delivered again.
CONSUMER_STOP_TIMEOUT_S = 40
# Longer than gunicorn's 30 s for the requests in hand.
API_STOP_TIMEOUT_S = 40


def apps(root: Path, env: Mapping[str, str]) -> list[Program]:
    """The application's processes, as the supervisor runs them."""
    run = root / "run"
    settings = {key: value for key, value in env.items() if key.startswith("CIFT_")}
    # On SIGTERM Celery would wait for the running jobs; on SIGQUIT it hands them back, then ends.
    worker = settings | {"REMAP_SIGTERM": "SIGQUIT"}
    flower = {
        "FLOWER_ADDRESS": "127.0.0.1",
        "FLOWER_PORT": str(port(env, "CIFT_FLOWER_URL")),
        "FLOWER_BASIC_AUTH": f"{env['CIFT_FLOWER_USER']}:{env['CIFT_FLOWER_PASSWORD']}",
    }
    shared = {"PROMETHEUS_MULTIPROC_DIR": str(run / "prometheus")}
    api = [*GUNICORN, *GUNICORN_POOL, "--bind", f"127.0.0.1:{port(env, 'CIFT_URL')}"]
    beat = [*CELERY, "beat", "--schedule", str(run / "beat-schedule")]
    return [
        Program("api", api, run, env=settings | shared, stop_timeout_s=API_STOP_TIMEOUT_S),
        Program("worker", [*CELERY, *JOBS], run, env=worker, stop_timeout_s=WORKER_STOP_TIMEOUT_S),
        Program("worker-health", [*CELERY, *HEALTH], run, env=worker, stop_timeout_s=WORKER_STOP_TIMEOUT_S),
        Program("beat", beat, run, env=settings),
        Program("consumer", CONSUMER, run, env=settings, stop_timeout_s=CONSUMER_STOP_TIMEOUT_S),
        Program("flower", FLOWER, run, env=settings | flower),
    ]
