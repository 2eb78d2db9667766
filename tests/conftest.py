"""Fixtures for every test: the real servers, started once per run on free ports in a folder of their own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import hypothesis
import pytest
from xdist.scheduler import LoadFileScheduling

from cift_core.models import User
from cift_core.settings import Settings, load_settings
from cift_core.stores import Stores, open_stores
from cift_core.stores.kafka import Kafka
from deploy.native.stack import Stack

hypothesis.settings.register_profile("cift", deadline=None)  # a busy machine makes no example wrong
hypothesis.settings.load_profile("cift")

QUICK = {
    "CIFT_BCRYPT_ROUNDS": "4",
    "CIFT_LEASE_S": "3",
    "CIFT_REQUEUE_INTERVAL_S": "1",
    "CIFT_QUEUED_TOO_LONG_S": "2",
    "CIFT_PROBE_INTERVAL_S": "2",
    "CIFT_CANARY_TIMEOUT_S": "2",
    "CIFT_REQUESTS_PER_MINUTE": "1000000",
    "CIFT_SUBMITS_PER_MINUTE": "1000000",
    "CIFT_FAILED_LOGINS_PER_MINUTE": "1000000",
}


class ByFileOrFolder(LoadFileScheduling):
    """File by file, but in one process all end-to-end tests, for they share a stack, and all that ask peers,
    which take long to compile."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((folder for folder in ("/e2e/", "/peers/") if folder in file), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFileOrFolder:
    """The scheduler of `make test`."""
    return ByFileOrFolder(config, log)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """PostgreSQL, two Redis servers and QuestDB, migrated; neither Kafka nor the application is started."""
    stack = Stack(Path(tempfile.mkdtemp(prefix="cift-test-")))
    stack.up(stores_only=True)
    yield stack
    stack.delete()


@pytest.fixture(scope="session")
def kafka(stack: Stack, stores: Stores) -> Kafka:
    """Kafka beside the other servers, for the tests that ask for it; its topics are there."""
    stack.start("kafka")
    stores.kafka.create_topics()
    return stores.kafka


@pytest.fixture
def stop_server(stack: Stack) -> Iterator[Callable[[str], None]]:
    """Stops a server by name for the length of one test; it answers again before the next one."""
    stopped = []

    def stop(name: str) -> None:
        stopped.append(name)
        stack.stop(name)

    yield stop
    for name in stopped:
        stack.start(name)


@pytest.fixture(scope="session")
def settings(stack: Stack) -> Settings:
    """The settings of the test stack, with cheap passwords, short leases and no limits."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("CIFT_")]:
            patch.delenv(name)
        for name, value in (stack.env | QUICK).items():
            patch.setenv(name, value)
        return load_settings()


@pytest.fixture(scope="session")
def stores(settings: Settings) -> Iterator[Stores]:
    """The stores as a worker process opens them."""
    opened = open_stores(settings, "worker")
    yield opened
    opened.close()


@pytest.fixture
def owner_id(stores: Stores) -> UUID:
    """A user of this test's own."""
    with stores.postgres.transaction() as session:
        user = User(email=f"{uuid4()}@example.com", password_hash="-")
        session.add(user)
    return user.id
