"""The whole service, once per run: real servers, gunicorn, workers, beat, Flower; Alice and Bob with keys."""

import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
import redis
from celery import Celery

from cift_core.services import api_keys, users
from cift_core.settings import load_settings
from cift_core.stores import open_stores
from deploy.native.environment import CHECKOUT
from deploy.native.stack import Stack
from tests.conftest import QUICK
from tests.e2e.client import Client, ingestion
from tests.e2e.service import Service

LINES, LINE = 25, 600
SCOPES = ("backtests:read", "backtests:write", "data:read", "data:write")
IMPORTED = {
    "AAPL": ("sample/AAPL-1d.csv", "1d"),
    "SPY": ("sample/SPY-1d.csv", "1d"),
    "XAUUSD": ("sample/XAUUSD-1h.csv.gz", "1h"),
}


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """Every process of the service, on quick leases and intervals, in a folder of its own."""
    overrides = QUICK | {"CIFT_DATA_DIR": str(CHECKOUT / "data")}
    stack = Stack(Path(tempfile.mkdtemp(prefix="cift-e2e-")), overrides)
    try:
        stack.up()
        env = stack.env | overrides
        with pytest.MonkeyPatch.context() as patch:
            for name, value in env.items():
                patch.setenv(name, value)
            settings = load_settings()
        stores = open_stores(settings, "worker")
        tasks = Celery("sender", broker=env["CIFT_BROKER_URL"], set_as_current=False)
        with redis.Redis.from_url(env["CIFT_BROKER_URL"]) as broker:
            yield Service(stack, stores, broker, tasks)
        tasks.close()
        stores.close()
        assert_clean(stack)
    finally:
        stack.delete()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that failed shows what each program wrote last."""
    report = yield
    service = getattr(item, "funcargs", {}).get("service")
    if report.failed and isinstance(service, Service):
        for path in sorted((service.stack.root / "log").glob("*.log")):
            lines = path.read_text(errors="replace").splitlines()
            told = [line[:LINE] for line in lines if not line.startswith('{"method"')][-LINES:]
            report.sections.append((path.name, "\n".join(told)))
    return report


def assert_clean(stack: Stack) -> None:
    """No request or job met an error of ours, and no secret is in a log."""
    secrets = [value for key, value in stack.env.items() if "SECRET" in key or "PASSWORD" in key]
    for path in (stack.root / "log").iterdir():
        text = path.read_text(errors="replace")
        assert '"event": "unexpected_error"' not in text, path
        assert '"code": "internal_error"' not in text, path
        assert not any(secret in text for secret in secrets), path


@contextmanager
def _user(service: Service, name: str) -> Iterator[Client]:
    with service.stores.postgres.transaction() as session:
        settings = service.stores.settings
        user = users.create_user(session, settings, f"{name}@example.org", uuid4().hex)
        _, token = api_keys.create_key(session, settings, user, name="tests", scopes=SCOPES)
    with Client(service.stack.env["CIFT_URL"], token, str(user.id)) as client:
        yield client


@pytest.fixture(scope="session")
def alice(service: Service) -> Iterator[Client]:
    """The owner of what the tests make; the sample data is hers."""
    with _user(service, "alice") as client:
        yield client


@pytest.fixture(scope="session")
def bob(service: Service) -> Iterator[Client]:
    """Another user."""
    with _user(service, "bob") as client:
        yield client


@pytest.fixture(scope="session")
def imported(alice: Client) -> dict[str, str]:
    """The ids of the ingestions that brought the sample data in, by symbol."""
    jobs = {
        symbol: str(alice.post("/ingestions", ingestion(symbol, path, interval))["id"])
        for symbol, (path, interval) in IMPORTED.items()
    }
    for job_id in jobs.values():
        alice.succeeded(job_id, "ingestions", timeout_s=90)
    return jobs
