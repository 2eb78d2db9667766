"""Redis: the cache, and the broker's health. Nothing here is the truth about a job."""

from dataclasses import dataclass
from typing import cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from cift_core.errors import StoreUnavailable

MAX_CONNECTIONS = 50


@dataclass(frozen=True)
class Memory:
    """A server's memory; a limit of 0 is none."""

    used_bytes: int
    limit_bytes: int
    evicted_keys: int


class RedisPool:
    """A lazy pool of at most 50 connections of one process to one Redis server."""

    def __init__(self, url: str, *, timeout_s: float = 2.0) -> None:
        self._client: redis.Redis = redis.Redis(
            connection_pool=redis.BlockingConnectionPool.from_url(
                url,
                max_connections=MAX_CONNECTIONS,
                timeout=timeout_s,
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                health_check_interval=30,
                retry=Retry(NoBackoff(), 1),
            )
        )

    def get(self, key: str) -> bytes | None:
        """The value, or None when there is none (any more)."""
        try:
            return cast("bytes | None", self._client.get(key))
        except redis.RedisError as error:
            raise _unavailable(error) from error

    def set(self, key: str, value: bytes | str, *, ttl_s: float) -> None:
        """Store a value that expires after `ttl_s` seconds: a cache holds nothing for ever."""
        try:
            self._client.set(key, value, px=max(1, round(ttl_s * 1000)))
        except redis.RedisError as error:
            raise _unavailable(error) from error

    def delete(self, *keys: str) -> int:
        """How many of the keys existed and are now gone."""
        try:
            return int(self._client.delete(*keys))
        except redis.RedisError as error:
            raise _unavailable(error) from error

    def ttl_s(self, key: str) -> float | None:
        """Seconds until the key expires; None when there is no such key."""
        try:
            ttl_ms = int(self._client.pttl(key))
        except redis.RedisError as error:
            raise _unavailable(error) from error
        return ttl_ms / 1000 if ttl_ms >= 0 else None

    def get_many(self, *keys: str) -> list[bytes | None]:
        """The values in the order of the keys, None for each there is none of."""
        try:
            return cast("list[bytes | None]", self._client.mget(keys))
        except redis.RedisError as error:
            raise _unavailable(error) from error

    def evicts(self) -> bool:
        """Whether the server may drop keys when its memory is full (a broker must not)."""
        try:
            return str(self._client.info("memory")["maxmemory_policy"]) != "noeviction"
        except redis.RedisError as error:
            raise _unavailable(error) from error

    def memory(self) -> Memory:
        """How full the server is, and how many keys it dropped for room since it was started."""
        try:
            info = self._client.info()  # before Redis 7 one section or the usual ones
        except redis.RedisError as error:
            raise _unavailable(error) from error
        return Memory(int(info["used_memory"]), int(info["maxmemory"]), int(info["evicted_keys"]))

    def queue_length(self, queue: str) -> int:
        """How many messages wait in a Celery queue."""
        try:
            return int(self._client.llen(queue))
        except redis.RedisError as error:
            raise _unavailable(error) from error

    def probe(self) -> None:
        """Return when the server answers.

        Raises:
            StoreUnavailable: it does not.
        """
        try:
            self._client.ping()
        except redis.RedisError as error:
            raise _unavailable(error) from error

    def close(self) -> None:
        """Close every connection; the pool may be used again afterwards."""
        self._client.close()
        self._client.connection_pool.disconnect()


def _unavailable(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(
        "redis_unavailable", f"Redis does not answer ({type(error).__name__}); try again."
    )
