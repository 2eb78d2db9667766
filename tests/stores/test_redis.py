"""The Redis pools, on the two real servers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from uuid import uuid4

import pytest
import redis

from cift_core.errors import StoreUnavailable
from cift_core.settings import Settings
from cift_core.stores import Stores
from cift_core.stores.redis import RedisPool
from deploy.native.stack import Stack
from tests.waiting import Deadline, wait_for
from tests.wire import Wire


@pytest.fixture
def cache(stores: Stores) -> RedisPool:
    return stores.cache


@pytest.fixture
def key() -> str:
    return f"test:{uuid4()}"


@pytest.fixture
def server(settings: Settings) -> Iterator[redis.Redis]:
    """The broker without our pool before it."""
    with redis.Redis.from_url(settings.broker_url) as client:
        yield client


def every_call(pool: RedisPool) -> list[Callable[[], object]]:
    return [
        pool.probe,
        pool.evicts,
        lambda: pool.get("key"),
        lambda: pool.set("key", "value", ttl_s=1),
        lambda: pool.delete("key"),
        lambda: pool.ttl_s("key"),
        lambda: pool.queue_length("backtests"),
    ]


@pytest.mark.parametrize("value", [b"", b"\x00\xff\r\n", b"x" * 100_000])
def test_what_is_set_is_got(cache: RedisPool, key: str, value: bytes) -> None:
    cache.set(key, value, ttl_s=60)
    assert cache.get(key) == value


def test_text_is_stored_as_utf8(cache: RedisPool, key: str) -> None:
    cache.set(key, "grün €", ttl_s=60)
    assert cache.get(key) == "grün €".encode()


def test_a_missing_key_is_none(cache: RedisPool, key: str) -> None:
    assert cache.get(key) is None
    assert cache.ttl_s(key) is None
    assert cache.delete(key) == 0


def test_delete_says_how_many_keys_are_gone(cache: RedisPool, key: str) -> None:
    cache.set(key, "a", ttl_s=60)
    cache.set(f"{key}:2", "b", ttl_s=60)
    assert cache.delete(key, f"{key}:2", f"{key}:3") == 2
    assert cache.get(key) is None


def test_a_value_expires(cache: RedisPool, key: str) -> None:
    cache.set(key, "brief", ttl_s=0.2)
    left = cache.ttl_s(key)
    assert left is not None
    assert 0 <= left <= 0.2
    wait_for(lambda: cache.get(key) is None, 10)
    assert cache.ttl_s(key) is None


def test_a_value_set_again_has_its_new_value_and_time(cache: RedisPool, key: str) -> None:
    cache.set(key, "old", ttl_s=1)
    cache.set(key, "new", ttl_s=3600)
    assert cache.get(key) == b"new"
    left = cache.ttl_s(key)
    assert left is not None
    assert 3_590 < left <= 3_600


def test_the_shortest_time_to_live_is_a_millisecond(cache: RedisPool, key: str) -> None:
    cache.set(key, "gone at once", ttl_s=0.0)
    wait_for(lambda: cache.get(key) is None, 10)


def test_the_cache_may_evict_and_the_broker_must_not(stores: Stores, server: redis.Redis) -> None:
    assert stores.cache.evicts()
    assert not stores.broker.evicts()
    server.config_set("maxmemory-policy", "volatile-ttl")
    try:
        assert stores.broker.evicts()
    finally:
        server.config_set("maxmemory-policy", "noeviction")
    assert not stores.broker.evicts()


def test_the_length_of_a_queue(stores: Stores, server: redis.Redis, key: str) -> None:
    assert stores.broker.queue_length(key) == 0
    server.rpush(key, "one", "two")
    assert stores.broker.queue_length(key) == 2
    server.delete(key)


def test_eighty_threads_share_fifty_connections_and_all_finish(settings: Settings, key: str) -> None:
    with Wire(settings.cache_url, latency_s=0.05) as wire, closing(RedisPool(wire.url)) as pool:
        start = threading.Barrier(80)

        def work(number: int) -> bytes | None:
            start.wait(10)
            deadline = Deadline(20)
            left = 2
            while left:  # until the pool has grown, and then a little longer
                pool.set(f"{key}:{number}", str(number), ttl_s=60)
                left -= wire.most >= 50
                deadline.check(wire.most)
            return pool.get(f"{key}:{number}")

        with ThreadPoolExecutor(80) as threads:
            assert list(threads.map(work, range(80))) == [str(number).encode() for number in range(80)]
        assert wire.most == 50


def test_a_pool_opens_nothing_before_its_first_use_and_may_be_used_after_its_end(settings: Settings) -> None:
    with Wire(settings.cache_url) as wire, closing(RedisPool(wire.url)) as pool:
        assert wire.ever == 0
        pool.probe()
        pool.close()
        wait_for(lambda: wire.now == 0, 10)
        pool.probe()
        assert wire.ever == 2


def test_a_server_that_is_too_slow_is_unavailable(settings: Settings) -> None:
    with (
        Wire(settings.cache_url, latency_s=2) as wire,
        closing(RedisPool(wire.url, timeout_s=0.1)) as pool,
        pytest.raises(StoreUnavailable) as caught,
    ):
        pool.probe()
    assert caught.value.code == "redis_unavailable"


def test_a_connection_that_broke_is_replaced_without_a_word(settings: Settings, key: str) -> None:
    with Wire(settings.cache_url) as wire, closing(RedisPool(wire.url)) as pool:
        pool.set(key, "kept", ttl_s=60)
        wire.answers_to_lose = 1
        assert pool.get(key) == b"kept"
        assert wire.ever == 2


def test_a_wrong_password_is_an_error_that_does_not_show_it(settings: Settings) -> None:
    url = settings.cache_url.replace("redis://:", "redis://:wrong", 1)
    with closing(RedisPool(url)) as pool, pytest.raises(StoreUnavailable) as caught:
        pool.probe()
    assert "wrong" not in caught.value.message


@pytest.mark.parametrize("name", ["redis-cache", "redis-broker"])
def test_every_call_fails_while_the_server_is_down_and_works_when_it_is_back(
    name: str, stores: Stores, stack: Stack, stop_server: Callable[[str], None]
) -> None:
    pool = stores.cache if name == "redis-cache" else stores.broker
    calls = every_call(pool)
    for call in calls:
        call()
    stop_server(name)
    for call in calls:
        with pytest.raises(StoreUnavailable) as caught:
            call()
        assert caught.value.code == "redis_unavailable"
        assert not [part for part in ("127.0.0.1", "refused", "Errno") if part in caught.value.message]
    stack.start(name)
    for call in calls:
        call()


def test_after_a_restart_the_next_call_succeeds(stores: Stores, stack: Stack, key: str) -> None:
    stores.cache.set(key, "not kept", ttl_s=60)
    stack.stop("redis-cache")
    stack.start("redis-cache")
    assert stores.cache.get(key) is None


def test_many_values_come_in_the_order_of_their_keys(stores: Stores) -> None:
    one, two = uuid4().hex, uuid4().hex
    stores.cache.set(one, b"1", ttl_s=60)
    stores.cache.set(two, b"2", ttl_s=60)
    assert stores.cache.get_many(two, uuid4().hex, one) == [b"2", None, b"1"]


def test_how_full_a_server_is_and_what_it_dropped(stores: Stores) -> None:
    cache, broker = stores.cache.memory(), stores.broker.memory()
    assert (cache.limit_bytes, broker.limit_bytes) == (256 * 2**20, 0)
    assert 0 < cache.used_bytes < cache.limit_bytes
    assert broker.evicted_keys == 0
