"""A QuestDB that lives and does not answer holds nobody for long."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from cift_core.errors import StoreUnavailable
from cift_core.settings import Settings
from cift_core.stores.questdb import CONNECTION_TIMEOUT_S, REFUSAL_TIMEOUT_S, QuestDBPool
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
        assert time.monotonic() - began < 3


def test_a_server_that_refuses_connections_is_told_at_once(settings: Settings, stack: Stack) -> None:
    with closing(QuestDBPool(settings.questdb_pg_url, settings.questdb_http_url)) as pool:
        assert pool.fetch("SELECT 1") == [(1,)]
        stack.stop("questdb")
        try:
            for _ in range(2):  # with idle connections that are dead, and with none
                began = time.monotonic()
                with pytest.raises(StoreUnavailable):
                    pool.fetch("SELECT 1")
                assert time.monotonic() - began < CONNECTION_TIMEOUT_S - 1
        finally:
            stack.start("questdb")
        assert pool.fetch("SELECT 2") == [(2,)]


def test_a_pool_in_use_is_waited_for(settings: Settings) -> None:
    with closing(
        QuestDBPool(settings.questdb_pg_url, settings.questdb_http_url, min_size=1, max_size=1)
    ) as pool:
        with ThreadPoolExecutor(1) as threads, pool._connection():
            second = threads.submit(pool.fetch, "SELECT 1")
            with pytest.raises(TimeoutError):
                second.result(timeout=2 * REFUSAL_TIMEOUT_S)
        assert second.result() == [(1,)]
