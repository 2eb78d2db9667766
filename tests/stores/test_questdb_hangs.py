"""A QuestDB that lives and does not answer holds nobody for long."""

import os
import signal
import time
from contextlib import closing

import pytest

from cift_core.errors import StoreUnavailable
from cift_core.settings import Settings
from cift_core.stores.questdb import CONNECTION_TIMEOUT_S, QuestDBPool
from deploy.native.stack import Stack
from tests.waiting import freeze

QUERY_TIMEOUT_S = 0.5


def test_a_query_ends_though_the_server_hangs(settings: Settings, stack: Stack) -> None:
    pid = stack.pid("questdb")
    with closing(
        QuestDBPool(settings.questdb_pg_url, settings.questdb_http_url, query_timeout_s=QUERY_TIMEOUT_S)
    ) as pool:
        assert pool.fetch("SELECT 1") == [(1,)]
        freeze(pid)
        try:
            began = time.monotonic()
            with pytest.raises(StoreUnavailable):
                pool.fetch("SELECT 1")
            assert time.monotonic() - began < QUERY_TIMEOUT_S + CONNECTION_TIMEOUT_S + 2
        finally:
            os.kill(pid, signal.SIGCONT)
        assert pool.fetch("SELECT 2") == [(2,)]


def test_idle_connections_of_a_server_that_died_cost_nobody_a_pause(settings: Settings, stack: Stack) -> None:
    with closing(QuestDBPool(settings.questdb_pg_url, settings.questdb_http_url)) as pool:
        assert pool.fetch("SELECT 1") == [(1,)]
        stack.stop("questdb")
        stack.start("questdb")
        began = time.monotonic()
        assert pool.fetch("SELECT 2") == [(2,)]
        assert time.monotonic() - began < 1
