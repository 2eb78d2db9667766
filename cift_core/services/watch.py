"""From probes to alerts: what one prober sees, round after round, and what PostgreSQL is told of it.

An alert opens after n failures in a row, and resolves after n successes in a row since anybody saw a failure.
Any number of probers may watch at once, each with its own memory: they meet in the rows, one at a time.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from cift_core.clock import utc_now
from cift_core.errors import StoreUnavailable
from cift_core.logs import logger
from cift_core.models import Alert, AlertKind, AlertSeverity, AlertStatus
from cift_core.services import workers
from cift_core.services.health import Health, stores_checked, told
from cift_core.services.workers import Check
from cift_core.stores import Stores

log = logger(__name__)
REMEMBERED = 100
SEVERITY = {
    AlertKind.STORE_UNHEALTHY: AlertSeverity.CRITICAL,
    AlertKind.BROKER_FULL: AlertSeverity.WARNING,
    AlertKind.BEAT_SILENT: AlertSeverity.CRITICAL,
    AlertKind.QUEUE_UNSERVED: AlertSeverity.CRITICAL,
    AlertKind.QUEUE_SLOW: AlertSeverity.WARNING,
    AlertKind.CONSUMER_STALLED: AlertSeverity.WARNING,
}
_UNRESOLVED = (Alert.owner_id.is_(None), Alert.resolved_at.is_(None))
# a prober that freezes in here must not keep the others out
_ALONE = text(
    "SELECT set_config('idle_in_transaction_session_timeout', '5s', true),"
    " pg_advisory_xact_lock(hashtextextended('cift alerts', 0))"
)


@dataclass
class Trouble:
    """What failed n times in a row; `untold` counts the failures that PostgreSQL does not know of yet."""

    kind: AlertKind
    subject: str
    since: datetime
    last: datetime
    reason: str
    untold: int
    until: datetime | None = None


@dataclass
class Seen:
    """What was seen of one check: the streak it is in, and the trouble that only n successes end."""

    times: deque[datetime]  # of the last n outcomes of the streak
    healthy: bool | None = None
    since: datetime | None = None
    count: int = 0
    trouble: Trouble | None = None


@dataclass
class Watch:
    """The memory of one prober."""

    stores: Stores
    health: Health
    now: Callable[[], datetime] = utc_now
    seen: dict[tuple[str, str], Seen] = field(default_factory=dict)
    over: deque[Trouble] = field(default_factory=lambda: deque(maxlen=REMEMBERED))  # before it could be told

    @property
    def settled(self) -> bool:
        """Whether no check is on its way to open or to resolve an alert."""
        return all(seen.count >= self._enough for seen in self.seen.values())

    @property
    def _enough(self) -> int:
        return self.stores.settings.alert_after_failures

    def round(self) -> list[Check]:
        """What a look at everything told."""
        found = self._look()
        self.take(found)
        return found

    def take(self, found: Iterable[Check]) -> None:
        """Remember the outcomes of one round; PostgreSQL is told what follows as soon as it answers."""
        found = list(found)
        self._note(found)
        if answers("postgres", found):
            try:
                with self.stores.postgres.transaction() as session:
                    self._tell(session)
            except StoreUnavailable:
                log.warning("alerts.not_written", exc_info=True)
            else:
                self.over.clear()
                for trouble in self._troubles():
                    trouble.untold = 0

    def _note(self, found: Iterable[Check]) -> None:
        now = self.now()
        for check in found:
            if check.healthy is None:
                continue
            seen = self.seen.setdefault((check.kind, check.subject), Seen(deque(maxlen=self._enough)))
            if seen.healthy != check.healthy:
                seen.healthy, seen.since, seen.count = check.healthy, now, 0
            seen.count += 1
            seen.times.append(now)
            if check.healthy:
                self._well(seen)
            else:
                self._badly(seen, check, now)

    def _look(self) -> list[Check]:
        outcomes = self.health.probe()
        up = {outcome.store for outcome in outcomes if outcome.healthy}
        found = [*stores_checked(outcomes), *told(outcomes)]
        try:
            if "broker" in up:
                found += [*workers.checks(self.stores), workers.fullness(self.stores.broker)]
            if "postgres" in up:
                with self.stores.postgres.transaction() as session:
                    found += workers.waiting(session)
        except StoreUnavailable:
            log.warning("checks.not_done", exc_info=True)  # it went away since it was probed
        return found

    def _badly(self, seen: Seen, check: Check, now: datetime) -> None:
        if seen.trouble is not None:
            seen.trouble.last, seen.trouble.reason = now, check.reason
            seen.trouble.untold += 1
        elif seen.count >= self._enough:
            since = seen.since or now
            seen.trouble = Trouble(check.kind, check.subject, since, now, check.reason, seen.count)

    def _well(self, seen: Seen) -> None:
        if seen.trouble is None or seen.count < self._enough:
            return
        if seen.trouble.untold:
            seen.trouble.until = seen.since
            self.over.append(seen.trouble)
        seen.trouble = None

    def _troubles(self) -> list[Trouble]:
        return [seen.trouble for seen in self.seen.values() if seen.trouble is not None]

    def _tell(self, session: Session) -> None:
        untold = [*self.over, *(trouble for trouble in self._troubles() if trouble.untold)]
        if not untold and session.scalar(select(Alert.id).where(*_UNRESOLVED).limit(1)) is None:
            return
        session.execute(_ALONE)
        alerts = {
            (alert.kind, alert.subject): alert for alert in session.scalars(select(Alert).where(*_UNRESOLVED))
        }
        for trouble in untold:
            alert = alerts.get((trouble.kind, trouble.subject))
            if alert is None:
                _open(session, trouble)
            else:
                _see_again(alert, trouble)
        for key, alert in alerts.items():
            seen = self.seen.get(key)
            if seen is None:
                continue
            if not seen.healthy:
                alert.last_seen_at = max(alert.last_seen_at, seen.times[-1])
            elif seen.trouble is None and seen.count >= self._enough:
                _resolve(alert, seen)


def answers(store: str, found: Iterable[Check]) -> bool:
    """Whether this store was found to be healthy."""
    return any(check.name == store and check.healthy for check in found)


def _open(session: Session, trouble: Trouble) -> None:
    over_at = session.scalar(
        select(func.max(Alert.resolved_at)).where(
            Alert.kind == trouble.kind, Alert.subject == trouble.subject, Alert.owner_id.is_(None)
        )
    )
    if over_at is not None and over_at >= trouble.last:
        return  # another prober told of it, and of its end
    session.add(
        Alert(
            kind=trouble.kind,
            subject=trouble.subject,
            severity=SEVERITY[trouble.kind],
            status=AlertStatus.OPEN if trouble.until is None else AlertStatus.RESOLVED,
            detail=_sentence(trouble),
            opened_at=trouble.since if over_at is None else max(trouble.since, over_at),
            last_seen_at=trouble.last,
            occurrences=trouble.untold,
            resolved_at=trouble.until,
        )
    )
    log.error("alert.opened", kind=trouble.kind, subject=trouble.subject, reason=trouble.reason)


def _see_again(alert: Alert, trouble: Trouble) -> None:
    if trouble.last < alert.opened_at:
        return  # of an earlier trouble
    alert.last_seen_at = max(alert.last_seen_at, trouble.last)
    alert.occurrences += trouble.untold
    alert.detail = _sentence(trouble)


def _resolve(alert: Alert, seen: Seen) -> None:
    if alert.last_seen_at > seen.times[0]:
        return  # another prober has seen it fail since
    alert.status = AlertStatus.RESOLVED
    alert.resolved_at = max(seen.since or alert.last_seen_at, alert.last_seen_at)
    log.info("alert.resolved", kind=alert.kind, subject=alert.subject, duration_s=alert.duration_s)


def _sentence(trouble: Trouble) -> str:
    if trouble.kind == AlertKind.STORE_UNHEALTHY:
        return f"{trouble.subject} is unhealthy: {trouble.reason}"
    return trouble.reason
