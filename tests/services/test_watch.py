"""From probes to alerts: n in a row, one alert however many watch, true times, also without PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from cift_core.clock import utc_now
from cift_core.models import Alert, AlertKind
from cift_core.services import alerts
from cift_core.services.health import Health
from cift_core.services.watch import Watch
from cift_core.services.workers import Check
from cift_core.settings import Settings
from cift_core.stores import Stores, open_stores
from deploy.native.stack import Stack
from tests.waiting import wait_for

STEP = timedelta(seconds=5)


class Probers:
    """Probers that look at one thing, at given times; `up` is whether PostgreSQL is said to answer."""

    def __init__(self, stores: Stores, number: int = 1) -> None:
        self.subject = uuid4().hex
        self.now = datetime(2030, 1, 1, tzinfo=UTC)
        self.up = True
        self.watches = [Watch(stores, Health(stores), now=lambda: self.now) for _ in range(number)]
        self._stores = stores

    def see(self, *outcomes: bool, by: int = 0) -> None:
        """The outcomes of rounds of one prober, each 5 seconds after the one before."""
        for healthy in outcomes:
            self.now += STEP
            self.look(healthy, self.watches[by])

    def look(self, healthy: bool | None, watch: Watch) -> None:
        reason = "" if healthy else "It hurts."
        watch.take(
            [
                Check(AlertKind.STORE_UNHEALTHY, "postgres", self.up or None),
                Check(AlertKind.QUEUE_SLOW, self.subject, healthy, reason=reason),
            ]
        )

    def alerts(self) -> list[Alert]:
        with self._stores.postgres.transaction() as session:
            query = select(Alert).where(Alert.subject == self.subject)
            return list(session.scalars(query.order_by(Alert.opened_at)))

    def alert(self) -> Alert:
        (alert,) = self.alerts()
        return alert


@pytest.fixture
def alone(stores: Stores) -> Probers:
    return Probers(stores)


@pytest.fixture
def two(stores: Stores) -> Probers:
    return Probers(stores, 2)


def test_an_alert_opens_after_three_failures_in_a_row(alone: Probers) -> None:
    alone.see(True, False, False, True, False, False)
    assert alone.alerts() == []
    alone.see(False)
    alert = alone.alert()
    assert (alert.kind, alert.severity, alert.status, alert.owner_id) == (
        "queue_slow",
        "warning",
        "open",
        None,
    )
    assert alert.detail == "It hurts."
    assert (alert.opened_at, alert.last_seen_at) == (alone.now - 2 * STEP, alone.now)
    assert alert.occurrences == 3


def test_a_trouble_that_lasts_is_one_alert(alone: Probers) -> None:
    alone.see(*[False] * 10)
    alert = alone.alert()
    assert (alert.opened_at, alert.last_seen_at) == (alone.now - 9 * STEP, alone.now)
    assert alert.occurrences == 10


def test_it_resolves_after_three_successes_with_the_time_of_the_first(alone: Probers) -> None:
    alone.see(False, False, False, False, True, True)
    assert alone.alert().status == "open"
    alone.see(True)
    alert = alone.alert()
    assert (alert.status, alert.resolved_at) == ("resolved", alone.now - 2 * STEP)
    assert alert.duration_s == 4 * STEP.total_seconds()
    alone.see(True, False, False, True)
    assert alone.alert().resolved_at == alert.resolved_at


def test_what_flaps_is_one_alert(alone: Probers) -> None:
    alone.see(*[False, False, False, True, True] * 4)
    alert = alone.alert()
    assert (alert.status, alert.last_seen_at) == ("open", alone.now - 2 * STEP)
    assert alert.occurrences == 12
    alone.see(True, False, False, False)
    assert [alert.status for alert in alone.alerts()] == ["resolved", "open"]


def test_what_is_not_known_neither_opens_nor_resolves(alone: Probers) -> None:
    alone.see(False, False)
    alone.look(None, alone.watches[0])
    assert alone.alerts() == []
    alone.see(False, True, True)
    for _ in range(5):
        alone.look(None, alone.watches[0])
    assert alone.alert().status == "open"


def test_an_acknowledged_alert_resolves_by_itself_and_keeps_who_noted_it(
    alone: Probers, stores: Stores, owner_id: UUID
) -> None:
    alone.see(False, False, False)
    with stores.postgres.transaction() as session:
        alerts.acknowledge(session, owner_id, alone.alert().id, operator=True)
    alone.see(False)
    assert (alone.alert().status, alone.alert().occurrences) == ("acknowledged", 4)
    alone.see(True, True, True)
    alert = alone.alert()
    assert (alert.status, alert.acknowledged_by) == ("resolved", owner_id)


def test_a_new_prober_resolves_what_one_that_ended_opened(two: Probers) -> None:
    two.see(False, False, False)
    two.see(True, True, True, by=1)
    assert two.alert().status == "resolved"


def test_two_probers_at_once_open_and_resolve_one_alert(two: Probers) -> None:
    def both(healthy: bool) -> None:
        two.now += STEP
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(lambda watch: two.look(healthy, watch), two.watches))

    for _ in range(3):
        for healthy in (False, False, False, True, True, True):
            both(healthy)
    found = two.alerts()
    assert [alert.status for alert in found] == ["resolved"] * 3
    assert {alert.duration_s for alert in found} == {3 * STEP.total_seconds()}


def test_a_slower_prober_does_not_open_again_what_is_over(two: Probers) -> None:
    for by in (0, 1):
        two.see(False, False, False, by=by)
    two.see(True, True, True, True)
    assert two.alert().status == "resolved"
    two.see(True, True, True, by=1)
    assert two.alert().status == "resolved"


def test_a_trouble_that_one_of_two_still_sees_is_not_resolved(two: Probers) -> None:
    two.see(False, False, False)
    for _ in range(4):
        two.see(True)
        two.see(False, by=1)
    assert two.alert().status == "open"
    two.see(True, True, True)
    two.see(True, True, True, by=1)
    assert [alert.status for alert in two.alerts()] == ["resolved"]


def test_what_fails_while_postgres_is_away_is_told_when_it_is_back_with_the_true_time(two: Probers) -> None:
    two.up = False
    began = two.now + STEP
    for _ in range(5):
        two.see(False)
        two.look(False, two.watches[1])
    two.up = True
    two.see(False)
    two.look(False, two.watches[1])
    alert = two.alert()
    assert (alert.status, alert.opened_at, alert.last_seen_at) == ("open", began, two.now)
    assert alert.occurrences == 12


def test_what_came_and_went_while_postgres_was_away_is_told_once(two: Probers) -> None:
    two.up = False
    began = two.now + STEP
    for healthy in (False, False, False, False, True, True, True, True):
        two.see(healthy)
        two.look(healthy, two.watches[1])
    two.up = True
    two.see(True)
    two.look(True, two.watches[1])
    alert = two.alert()
    assert (alert.status, alert.opened_at, alert.resolved_at) == ("resolved", began, began + 4 * STEP)


def test_an_outcome_that_could_not_be_written_is_not_lost(
    stores: Stores, alone: Probers, stack: Stack
) -> None:
    stack.stop("postgres")
    try:
        with capture_logs() as logs:
            alone.see(False, False, False)  # it is said to answer, and does not
    finally:
        stack.start("postgres")
    assert {line["event"] for line in logs} == {"alerts.not_written"}
    assert alone.alerts() == []
    alone.see(False)
    assert (alone.alert().occurrences, alone.alert().opened_at) == (4, alone.now - 3 * STEP)


@pytest.fixture
def watch(settings: Settings) -> Iterator[Watch]:
    """A prober of the real servers, that waits half a second for an answer."""
    with closing(open_stores(replace(settings, probe_timeout_s=0.5), "worker")) as opened:
        watch = Watch(opened, Health(opened))
        rounds(watch)
        yield watch
        rounds(watch)


def rounds(watch: Watch) -> None:
    """As many rounds as it takes to open or to resolve."""
    for _ in range(3):
        watch.round()


def latest(stores: Stores, subject: str) -> Alert | None:
    with stores.postgres.transaction() as session:
        return session.scalar(
            select(Alert)
            .where(Alert.kind == "store_unhealthy", Alert.subject == subject)
            .order_by(Alert.opened_at.desc())
        )


@pytest.mark.parametrize("name", ["redis-cache", "redis-broker", "questdb"])
def test_a_store_that_is_down_opens_an_alert_that_resolves_when_it_is_back(
    name: str, watch: Watch, stores: Stores, stack: Stack, stop_server: Callable[[str], None]
) -> None:
    began = utc_now()
    stop_server(name)
    rounds(watch)
    store = name.removeprefix("redis-")
    alert = latest(stores, store)
    assert alert is not None
    assert (alert.status, alert.severity) == ("open", "critical")
    assert alert.opened_at > began
    assert alert.detail.startswith(f"{store} is unhealthy: ")
    stack.start(name)

    def over() -> bool:  # a server that has just started may still be too slow for a probe
        rounds(watch)
        resolved = latest(stores, store)
        assert resolved is not None
        assert resolved.id == alert.id
        return resolved.status == "resolved"

    wait_for(over)


def test_postgres_alerts_of_its_own_outage_as_soon_as_it_is_back(
    watch: Watch, stores: Stores, stack: Stack, stop_server: Callable[[str], None]
) -> None:
    stop_server("postgres")
    began = utc_now()
    rounds(watch)
    back = utc_now()
    stack.start("postgres")
    watch.round()
    alert = latest(stores, "postgres")
    assert alert is not None
    assert alert.status == "open"
    assert began <= alert.opened_at <= alert.last_seen_at <= back
    rounds(watch)
    resolved = latest(stores, "postgres")
    assert resolved is not None
    assert (resolved.id, resolved.status) == (alert.id, "resolved")


def test_a_prober_knows_whether_something_is_about_to_happen(alone: Probers) -> None:
    (watch,) = alone.watches
    alone.see(True, True)
    assert not watch.settled
    alone.see(True)
    assert watch.settled
    alone.see(False, False)
    assert not watch.settled
    alone.see(False)
    assert watch.settled
