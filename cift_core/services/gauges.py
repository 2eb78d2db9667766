"""What a monitoring system asks for: figures of the whole service, taken from the stores when it asks.

They are the same whichever process answers. What a store that is away would tell is left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cift_core.errors import StoreUnavailable
from cift_core.models import FINAL, Alert, JobStatus
from cift_core.services import workers
from cift_core.services.health import Health, stores_checked, told
from cift_core.services.workers import Check
from cift_core.stores import Stores

LATELY = timedelta(hours=1)
Values = list[tuple[dict[str, str], float]]


@dataclass(frozen=True)
class Gauge:
    """One figure: its value for each set of labels."""

    name: str
    help: str
    values: Values


def gauges(stores: Stores, health: Health, session: Session) -> Iterator[Gauge]:
    """Everything that can be had now.

    Raises:
        StoreUnavailable: PostgreSQL does not answer.
    """
    yield from _unfinished(session)
    yield _ended(session)
    yield _alerts(session)
    outcomes = health.probe()
    yield from _checks([*stores_checked(outcomes), *told(outcomes), *_behind_the_broker(stores)])
    up = {outcome.store for outcome in outcomes if outcome.healthy}
    yield from _redis(stores, up)
    if "kafka" in up:
        yield from _lag(stores)


def _unfinished(session: Session) -> Iterator[Gauge]:
    counts: Values = []
    ages: Values = []
    for kind, model in workers.JOBS.items():
        for status in (JobStatus.QUEUED, JobStatus.RUNNING):
            query = select(func.count(), func.now(), func.min(model.created_at)).where(model.status == status)
            count, now, oldest = session.execute(query).one()
            counts.append(({"kind": kind, "status": status}, count))
            if status == JobStatus.QUEUED:
                ages.append(({"kind": kind}, (now - oldest).total_seconds() if oldest else 0.0))
    yield Gauge("cift_jobs", "Jobs that are not finished.", counts)
    yield Gauge("cift_jobs_oldest_queued_seconds", "How long the oldest queued job has waited.", ages)


def _ended(session: Session) -> Gauge:
    values: Values = []
    for kind, model in workers.JOBS.items():
        lately = select(model.status, func.count()).where(model.finished_at > func.now() - LATELY)
        found = {row[0]: row[1] for row in session.execute(lately.group_by(model.status))}
        values += [({"kind": kind, "status": status}, found.get(status, 0)) for status in FINAL]
    return Gauge("cift_jobs_ended_last_hour", "Jobs that ended within the last hour.", values)


def _alerts(session: Session) -> Gauge:
    unresolved = (
        select(Alert.kind, Alert.severity, func.count())
        .where(Alert.owner_id.is_(None), Alert.resolved_at.is_(None))
        .group_by(Alert.kind, Alert.severity)
    )
    found = session.execute(unresolved)
    values: Values = [({"kind": kind, "severity": severity}, count) for kind, severity, count in found]
    return Gauge("cift_alerts_unresolved", "Alerts of the operators that are not over.", values)


def _behind_the_broker(stores: Stores) -> list[Check]:
    try:
        return workers.checks(stores)
    except StoreUnavailable:
        return []


def _checks(found: list[Check]) -> Iterator[Gauge]:
    known = [
        (check, {"kind": check.kind, "subject": check.subject})
        for check in found
        if check.healthy is not None
    ]
    yield Gauge(
        "cift_check_healthy",
        "1 while the check succeeds, 0 while it fails; absent while nothing is known.",
        [(labels, float(bool(check.healthy))) for check, labels in known],
    )
    yield Gauge(
        "cift_check_latency_seconds",
        "A store's answer, the round trip of a queue's canary, the age of beat's last message.",
        [(labels, check.latency_ms / 1000) for check, labels in known],
    )


def _redis(stores: Stores, up: set[str]) -> Iterator[Gauge]:
    lengths: Values = []
    memory: dict[str, Values] = {"used_bytes": [], "limit_bytes": [], "evicted_keys": []}
    try:
        for name, server in (("broker", stores.broker), ("cache", stores.cache)):
            if name in up:
                found = server.memory()
                for figure, values in memory.items():
                    values.append(({"server": name}, getattr(found, figure)))
        if "broker" in up:
            lengths += [({"queue": queue}, stores.broker.queue_length(queue)) for queue in workers.QUEUES]
    except StoreUnavailable:
        pass  # it went away since it was probed: the next time it is told to be unhealthy
    yield Gauge("cift_queue_messages", "Messages that wait in a queue of the broker.", lengths)
    yield Gauge("cift_redis_used_bytes", "Memory in use.", memory["used_bytes"])
    yield Gauge("cift_redis_limit_bytes", "Memory there may be; 0 is no limit.", memory["limit_bytes"])
    yield Gauge("cift_redis_evicted_keys", "Keys dropped for room since the start.", memory["evicted_keys"])


def _lag(stores: Stores) -> Iterator[Gauge]:
    try:
        positions = stores.kafka.positions()
    except StoreUnavailable:
        return
    lags: Values = [({"partition": str(position.partition)}, position.lag) for position in positions]
    yield Gauge("cift_kafka_lag_messages", "Messages of market-data that the consumer has not taken.", lags)
