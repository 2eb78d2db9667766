"""What is asked for again and again, kept in Redis: bounded by its eviction, and never the only copy."""

import json
import time
from typing import Any, Final

from cift_core.errors import StoreUnavailable
from cift_core.stores.redis import RedisPool

TTL_S: Final = 300.0
PAUSE_S: Final = 5.0  # after a failure: a Redis that hangs costs a few requests its time-out, not each


class HotData:
    """JSON values by key in the cache, as if there were none while Redis does not answer.

    What is kept is only as good as its key: put into it, or into the value, the revision it was read at.
    """

    def __init__(self, cache: RedisPool) -> None:
        self._cache = cache
        self._paused_until = 0.0

    def get(self, key: str) -> Any:
        """The value, or None."""
        if time.monotonic() < self._paused_until:
            return None
        try:
            found = self._cache.get(key)
        except StoreUnavailable:
            self._paused_until = time.monotonic() + PAUSE_S
            return None
        return None if found is None else json.loads(found)

    def put(self, key: str, value: Any) -> None:
        """Keep a value for `TTL_S`."""
        if time.monotonic() < self._paused_until:
            return
        try:
            self._cache.set(key, json.dumps(value), ttl_s=TTL_S)
        except StoreUnavailable:
            self._paused_until = time.monotonic() + PAUSE_S
