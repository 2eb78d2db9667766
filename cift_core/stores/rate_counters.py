"""Counts of what happens within a window of time: in the cache, or in this process while that is away."""

import math
import time
from collections.abc import Callable
from functools import cached_property
from typing import TypeVar

import redis
from limits.storage import MemoryStorage, RedisStorage
from redis.backoff import NoBackoff
from redis.retry import Retry

from cift_core.logs import logger

TIMEOUT_S = 0.25
PAUSE_S = 5.0  # a server that did not answer is left alone for so long
Answer = TypeVar("Answer")
log = logger(__name__)


class RateCounters:
    """Counters that all processes share through one Redis server; they never fail and never wait for long.

    While the server does not answer each process counts for itself, so that as many times the allowed may
    pass as there are processes.
    """

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(
            url,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 1),
        )
        self._shared = RedisStorage(url, connection_pool=self._client.connection_pool, key_prefix="rate")
        self._try_at = 0.0

    def count(self, key: str, window_s: int) -> int:
        """How often this was called for the key, this call included, since the first began the window."""
        return self._ask(lambda storage: storage.incr(key, window_s))

    def seconds_left(self, key: str) -> int:
        """Until the key's window ends: at least 1."""
        ends_at = self._ask(lambda storage: storage.get_expiry(key))
        return max(1, math.ceil(ends_at - time.time()))

    def close(self) -> None:
        """Close every connection; the counters may be used again afterwards."""
        self._client.close()
        self._client.connection_pool.disconnect()

    def _ask(self, question: Callable[[RedisStorage | MemoryStorage], Answer]) -> Answer:
        now = time.monotonic()
        if self._try_at <= now:
            if self._try_at:
                self._try_at = now + PAUSE_S  # one caller tries, the others need not wait with it
            try:
                answer = question(self._shared)
            except redis.RedisError:
                log.warning("rate_counters.not_shared", exc_info=True)
                self._try_at = time.monotonic() + PAUSE_S
            else:
                self._try_at = 0.0
                return answer
        return question(self._own)

    @cached_property
    def _own(self) -> MemoryStorage:
        return MemoryStorage()
