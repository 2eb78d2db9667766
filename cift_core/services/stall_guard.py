"""Ends a consumer that makes no progress while messages wait, so that its supervisor starts it again.

It looks from outside, over a connection of its own: a client that hangs can't tell that it does.
"""

import faulthandler
import os
import threading
from collections.abc import Callable

from cift_core.errors import StoreUnavailable
from cift_core.logs import logger
from cift_core.services.consumer_lag import Progress
from cift_core.services.market_stream import Stream
from cift_core.stores.kafka import Kafka

log = logger(__name__)
LOOK_S, STALLED_S = 5.0, 60.0
EXIT_STALLED = 75  # EX_TEMPFAIL


class StallGuard:
    """Watches the stream until the block ends, and calls `end` with a sentence when it stands still."""

    def __init__(
        self,
        kafka: Kafka,
        stream: Stream,
        end: Callable[[str], None],
        *,
        look_s: float = LOOK_S,
        stalled_s: float = STALLED_S,
    ) -> None:
        self._kafka = kafka
        self._stream = stream
        self._end = end
        self._look_s = look_s
        self._stalled_s = stalled_s
        self.looks = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stall-guard", daemon=True)

    def __enter__(self) -> "StallGuard":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        progress = Progress()
        while not self._over.wait(self._look_s):
            self.looks += 1
            try:
                positions = self._kafka.positions()
            except StoreUnavailable:
                progress = Progress()  # nobody can take a message now
                continue
            if self._stream.waiting:
                progress = Progress()  # for a store, or for another writer: a new process would wait, too
                continue
            ours = self._stream.partitions or {position.partition for position in positions}
            stood_s = progress.stalled_s([each for each in positions if each.partition in ours])
            if stood_s > self._stalled_s:
                self._end(f"Messages wait, and none was taken for {stood_s:.0f} s.")
                return


def end_process(reason: str) -> None:
    """Log where each thread stands, and leave without a further word: what hangs would not let us."""
    log.critical("consumer.stalled", reason=reason)
    faulthandler.dump_traceback(all_threads=True)
    os._exit(EXIT_STALLED)
