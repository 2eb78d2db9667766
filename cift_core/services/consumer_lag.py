"""Whether the topic's messages are taken: told by the offsets that their consumer commits."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from cift_core.models import AlertKind
from cift_core.services.workers import Check
from cift_core.stores.kafka import MARKET_DATA, Kafka, Position

STALLED_S = 60.0


@dataclass
class Standing:
    """The offset that a partition's reader stands at, and since when (monotonic seconds)."""

    next: int
    since: float


class Progress:
    """Remembers since when each partition's reader has stood where it stands."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._standing: dict[int, Standing] = {}

    def stalled_s(self, positions: list[Position]) -> float:
        """For how long some reader has had messages to take and has not moved; 0 if none."""
        now, longest = self._now(), 0.0
        for position in positions:
            known = self._standing.get(position.partition)
            if known is None or known.next != position.next or position.lag == 0:
                known = self._standing[position.partition] = Standing(position.next, now)
            longest = max(longest, now - known.since)
        return longest


class ConsumerLag:
    """The checks of the consumer, as one prober sees them round after round."""

    def __init__(self, kafka: Kafka, progress: Progress | None = None) -> None:
        self._kafka = kafka
        self._progress = progress or Progress()

    def checks(self) -> list[Check]:
        """Whether messages wait that nobody takes.

        Raises:
            StoreUnavailable: Kafka does not answer.
        """
        positions = self._kafka.positions()
        stalled_s = self._progress.stalled_s(positions)
        reason = ""
        if stalled_s > STALLED_S:
            lag = sum(position.lag for position in positions)
            reason = f"{MARKET_DATA} has {lag:,} messages waiting; none was taken for {stalled_s:.0f} s."
        return [Check(AlertKind.CONSUMER_STALLED, MARKET_DATA, not reason, reason=reason)]
