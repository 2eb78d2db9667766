"""A PostgreSQL that lives and does not answer holds nobody for long."""

import time
from contextlib import closing

import pytest
from sqlalchemy import text

from cift_core.errors import StoreUnavailable
from cift_core.settings import Settings
from cift_core.stores.postgres import STATEMENT_TIMEOUT_S, PostgresPool
from deploy.native.stack import Stack
from tests.processes import frozen


def select_one(pool: PostgresPool) -> object:
    with pool.transaction() as session:
        return session.scalar(text("SELECT 1"))


def test_a_unit_of_work_that_begins_is_refused_soon(settings: Settings, stack: Stack) -> None:
    with closing(PostgresPool(settings.postgres_url)) as pool:
        assert select_one(pool) == 1
        with frozen(stack.pid("postgres")):
            began = time.monotonic()
            with pytest.raises(StoreUnavailable):
                select_one(pool)
            assert time.monotonic() - began < 8, "1 s for the kept connection, 3 s for a new one"
        assert select_one(pool) == 1


def test_a_statement_ends_though_the_server_hangs(settings: Settings, stack: Stack) -> None:
    with closing(PostgresPool(settings.postgres_url)) as pool:
        with pytest.raises(StoreUnavailable), pool.transaction() as session:  # noqa: PT012  a unit of work
            connection = session.connection().connection.driver_connection
            assert connection.timeout_s > STATEMENT_TIMEOUT_S, "the server's own limit comes first"
            connection.timeout_s = 0.5
            with frozen(stack.pid("postgres")):
                session.execute(text("SELECT 1"))
        assert select_one(pool) == 1
