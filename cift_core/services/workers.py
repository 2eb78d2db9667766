"""Whether beat and the workers do their work, told by what they leave in the broker.

Beat notes each message that it sends. A canary is a task that a prober sends to every queue, and that a
worker notes as returned. A process that only lives leaves nothing.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from cift_core.errors import StoreUnavailable
from cift_core.models import AlertKind, Backtest, Ingestion, JobColumns, JobStatus
from cift_core.settings import Settings
from cift_core.stores import Stores
from cift_core.stores.redis import RedisPool

JOBS: dict[str, type[JobColumns]] = {"backtests": Backtest, "ingestion": Ingestion}
UPKEEP = ("health", "maintenance")
QUEUES = ("backtests", "sweeps", "ingestion", *UPKEEP)
SLOW_S = 300
FULL = 0.9
_KEPT_S = 7 * 86_400.0
_BEAT = "cift:beat"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at; `healthy` is None where nothing can be said now.

    `latency_ms` is the time of a store's answer, a canary's round trip, the age of beat's last tick.
    """

    kind: AlertKind
    subject: str
    healthy: bool | None
    latency_ms: float = 0.0
    reason: str = ""

    @property
    def name(self) -> str:
        """`postgres`, `beat`, `queue_unserved:backtests`, ..."""
        alone = self.kind in (AlertKind.STORE_UNHEALTHY, AlertKind.BEAT_SILENT)
        return self.subject if alone else f"{self.kind}:{self.subject}"


@dataclass(frozen=True)
class Canary:
    """When the last one was sent to a queue, and when it came back (seconds since the epoch)."""

    sent: float
    back: float | None = None

    @classmethod
    def read(cls, note: bytes | None) -> "Canary | None":
        """What was noted of it."""
        return None if note is None else cls(*map(float, note.split()))


def note_tick(broker: RedisPool) -> None:
    """Note that beat sent a message just now."""
    broker.set(_BEAT, str(time.time()), ttl_s=_KEPT_S)


def note_return(broker: RedisPool, queue: str, sent: float) -> None:
    """Note that a worker ran the canary that was sent to the queue."""
    broker.set(_key(queue), f"{sent} {time.time()}", ttl_s=_KEPT_S)


def take_due(broker: RedisPool, settings: Settings) -> list[tuple[str, float]]:
    """The queues that want a canary and the time to send with it, noted as sent: the caller sends them.

    One that did not come back is followed by another only when the queue is empty: it must be lost.
    """
    now = time.time()
    ticked, *notes = broker.get_many(_BEAT, *map(_key, QUEUES))
    if ticked is None:
        note_tick(broker)  # from now on a tick is expected
    due = []
    for queue, note in zip(QUEUES, notes, strict=True):
        canary = Canary.read(note)
        if canary is not None:
            lost = now - canary.sent > settings.canary_timeout_s and broker.queue_length(queue) == 0
            rested = canary.back is not None and now - canary.sent > settings.canary_timeout_s / 2
            if not (lost or rested):
                continue
        broker.set(_key(queue), str(now), ttl_s=_KEPT_S)
        due.append((queue, now))
    return due


def checks(stores: Stores) -> list[Check]:
    """Beat, and each queue's workers.

    Raises:
        StoreUnavailable: the broker does not answer.
    """
    now = time.time()
    ticked, *notes = stores.broker.get_many(_BEAT, *map(_key, QUEUES))
    found = [_beat(None if ticked is None else now - float(ticked), stores.settings)]
    for queue, note in zip(QUEUES, notes, strict=True):
        check = _queue(queue, Canary.read(note), now, stores.settings.canary_timeout_s)
        found.append(check if check.healthy is not False else _unless_busy(check, stores))
    return found


def waiting(session: Session) -> Iterator[Check]:
    """Whether jobs that were sent to a worker wait there for too long, queue by queue."""
    for queue, model in JOBS.items():
        oldest = select(func.now(), func.min(model.dispatched_at)).where(model.status == JobStatus.QUEUED)
        now, since = session.execute(oldest).one()
        waited_s = 0.0 if since is None else (now - since).total_seconds()
        reason = f"A job has waited in the queue {queue} for {waited_s:.0f} s." if waited_s > SLOW_S else ""
        yield Check(AlertKind.QUEUE_SLOW, queue, not reason, reason=reason)


def fullness(broker: RedisPool) -> Check:
    """Whether the broker has room for more messages; nothing can be said without a limit.

    Raises:
        StoreUnavailable: it does not answer.
    """
    memory = broker.memory()
    if not memory.limit_bytes:
        return Check(AlertKind.BROKER_FULL, "broker", None)
    share = memory.used_bytes / memory.limit_bytes
    reason = f"The broker uses {share:.0%} of its {memory.limit_bytes:,} bytes." if share > FULL else ""
    return Check(AlertKind.BROKER_FULL, "broker", not reason, reason=reason)


def _beat(age_s: float | None, settings: Settings) -> Check:
    shortest_s = min(settings.probe_interval_s, settings.requeue_interval_s)
    silent = age_s is not None and age_s > 3 * shortest_s + 2
    reason = f"Beat has sent nothing for {age_s:.0f} s." if silent else ""
    return Check(
        AlertKind.BEAT_SILENT,
        "beat",
        None if age_s is None else not silent,
        latency_ms=round(1000 * (age_s or 0.0), 3),
        reason=reason,
    )


def _queue(queue: str, canary: Canary | None, now: float, timeout_s: float) -> Check:
    if canary is None or (canary.back is None and now - canary.sent <= timeout_s):
        return Check(AlertKind.QUEUE_UNSERVED, queue, None)
    if canary.back is None:
        reason = f"No worker has taken a task from the queue {queue} for {now - canary.sent:.0f} s."
        return Check(AlertKind.QUEUE_UNSERVED, queue, healthy=False, reason=reason)
    latency_ms = round(max(0.0, canary.back - canary.sent) * 1000, 3)
    fresh = now - canary.back <= 2 * timeout_s
    return Check(AlertKind.QUEUE_UNSERVED, queue, True if fresh else None, latency_ms)


def _unless_busy(silent: Check, stores: Stores) -> Check:
    """A worker whose every process has a job takes no canary; its jobs' leases tell that it works."""
    if silent.subject in UPKEEP:
        return silent
    try:
        with stores.postgres.transaction() as session:
            busy = session.scalar(select(or_(*(_held(model) for model in JOBS.values()))))
    except StoreUnavailable:
        return Check(silent.kind, silent.subject, None)
    return Check(silent.kind, silent.subject, healthy=True) if busy else silent


def _held(model: type[JobColumns]) -> ColumnElement[bool]:
    held = select(model.id).where(model.status == JobStatus.RUNNING, model.lease_expires_at >= func.now())
    return held.exists()


def _key(queue: str) -> str:
    return f"cift:canary:{queue}"
