"""The web application on the real servers: in this process, and as a real gunicorn."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import requests
from flask import Flask
from sqlalchemy import select
from werkzeug.test import TestResponse

from cift_core.errors import InvalidInput
from cift_core.models import AuditLog, Backtest, Ingestion, JobStatus
from cift_core.services import api_keys, backtest_runs, ingestion_runs, jobs, users
from cift_core.services.leases import Lease
from cift_core.settings import Settings
from cift_core.settings import settings as process_settings
from cift_core.stores import Stores
from cift_web.app import create_app
from deploy.native.apps import GUNICORN_POOL
from deploy.native.stack import Stack
from tests.conftest import QUICK

SCOPES = tuple(scope for scope in api_keys.SCOPES if scope != "admin")
PROBLEM_FIELDS = {"type", "title", "status", "detail", "instance", "code", "errors", "request_id"}
BACKTEST: dict[str, Any] = {
    "strategy": {"name": "sma_cross", "params": {"fast": 10, "slow": 20}},
    "symbols": ["AAPL"],
    "interval": "1d",
    "cash": 10_000,
}


@dataclass(frozen=True)
class Client:
    """The requests of one user; every error must be a problem."""

    app: Flask
    token: str | None
    user_id: UUID | None = None

    def send(self, method: str, path: str, **options: Any) -> TestResponse:
        headers = dict(options.pop("headers", {}))
        if self.token is not None:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        response = self.app.test_client().open(path, method=method, headers=headers, buffered=True, **options)
        if response.status_code >= 400 and path != "/ready":
            assert_problem(response)
        return response

    def get(self, path: str, **options: Any) -> TestResponse:
        return self.send("GET", path, **options)

    def post(self, path: str, **options: Any) -> TestResponse:
        return self.send("POST", path, **options)

    def patch(self, path: str, **options: Any) -> TestResponse:
        return self.send("PATCH", path, **options)

    def delete(self, path: str, **options: Any) -> TestResponse:
        return self.send("DELETE", path, **options)


def assert_problem(response: TestResponse) -> None:
    """The answer is an RFC 9457 problem, whole and consistent."""
    assert response.content_type == "application/problem+json"
    body = response.json
    assert set(body) == PROBLEM_FIELDS
    assert body["status"] == response.status_code
    assert body["request_id"] == response.headers["X-Request-ID"]
    assert body["instance"] == response.request.path
    assert len(body["detail"]) > 10
    for field in body["errors"]:
        assert set(field) == {"pointer", "detail"}
        assert field["pointer"] == "" or field["pointer"].startswith("/")


@pytest.fixture(scope="session")
def settings(settings: Settings, stack: Stack) -> Iterator[Settings]:
    """The same settings, also in the environment: Celery's producer reads them there."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (stack.env | QUICK | {"CIFT_LOG_LEVEL": "error"}).items():
            patch.setenv(name, value)
        process_settings.cache_clear()
        yield process_settings()
    process_settings.cache_clear()


@pytest.fixture(scope="session")
def app(settings: Settings) -> Iterator[Flask]:
    """The application in this process."""
    app = create_app(settings)
    yield app
    close(app)


def close(app: Flask) -> None:
    """Close the connections of an app."""
    with app.app_context():
        app.extensions["sqlalchemy"].engine.dispose()
    app.extensions["stores"].close()


MakeClient = Callable[..., Client]


@pytest.fixture
def make_client(app: Flask, stores: Stores) -> MakeClient:
    """Makes a client with a user and a key of its own."""

    def make(*scopes: str, is_admin: bool = False) -> Client:
        with stores.postgres.transaction() as session:
            user = users.create_user(
                session,
                stores.settings,
                f"{uuid4()}@example.org",
                "correct horse battery",
                is_admin=is_admin or "admin" in scopes,
            )
            _, token = api_keys.create_key(
                session, stores.settings, user, name="test", scopes=scopes or SCOPES
            )
        return Client(app, token, user.id)

    return make


@pytest.fixture
def alice(make_client: MakeClient) -> Client:
    """The owner."""
    return make_client()


@pytest.fixture
def bob(make_client: MakeClient) -> Client:
    """Another tenant."""
    return make_client()


@pytest.fixture
def admin(make_client: MakeClient) -> Client:
    """An administrator, with every scope."""
    return make_client(*api_keys.SCOPES)


@pytest.fixture
def charlie(app: Flask) -> Client:
    """Somebody without a key."""
    return Client(app, None)


@pytest.fixture
def trail(stores: Stores) -> Callable[..., list[AuditLog]]:
    """The audit rows with the given column values, oldest first."""

    def read(**where: Any) -> list[AuditLog]:
        with stores.postgres.transaction() as session:
            return list(session.scalars(select(AuditLog).filter_by(**where).order_by(AuditLog.id)))

    return read


@pytest.fixture
def work(stores: Stores) -> Callable[[str], None]:
    """Does a queued job in this process, as a worker does: claim, lease, run, finish."""

    def run(job_id: str) -> None:
        with stores.postgres.transaction() as session:
            model = Backtest if session.get(Backtest, job_id) else Ingestion
            claim = jobs.claim(session, model, UUID(job_id), lease_s=60, task_id=job_id)
        assert claim is not None
        status, values = JobStatus.SUCCEEDED, {}
        with Lease(stores.postgres, claim, 60) as lease:
            try:
                values = (backtest_runs if model is Backtest else ingestion_runs).run(stores, lease)
            except InvalidInput as error:
                status, values = JobStatus.FAILED, {"error": {"code": error.code, "detail": error.message}}
        with stores.postgres.transaction() as session:
            assert jobs.finish(session, claim, status, **values)

    return run


@pytest.fixture(scope="module")
def gunicorn(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real server: gunicorn, two processes of eight threads."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url, log = f"http://127.0.0.1:{port}", tmp_path_factory.mktemp("gunicorn") / "log"
    argv = [str(Path(sys.executable).with_name("gunicorn")), "--bind", f"127.0.0.1:{port}"]
    argv += [*GUNICORN_POOL, "cift_web.app:create_app()"]
    env = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path_factory.mktemp("prometheus"))}
    with log.open("wb") as out, subprocess.Popen(argv, stdout=out, stderr=out, env=env) as server:
        try:
            deadline = time.monotonic() + 60
            while not _answers(url):
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            yield url
        finally:
            server.terminate()


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/live", timeout=1).ok
    except requests.RequestException:
        return False
