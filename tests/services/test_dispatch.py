"""At most so many jobs of one owner at the broker, the others waiting in fair order: on a real PostgreSQL."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text, update

from cift_core.models import Backtest, JobStatus, User
from cift_core.services import backtests, dispatch, jobs
from cift_core.settings import Settings
from cift_core.stores import Stores, open_stores
from tests.waiting import wait_for

REQUEST: dict[str, Any] = {
    "strategy": {"name": "sma_cross"},
    "symbols": ["AAPL"],
    "interval": "1d",
    "cash": 10_000.0,
}
PLACES = 3


@pytest.fixture
def stores(settings: Settings) -> Iterator[Stores]:
    """Stores with the pool of a web process, for tests with many threads."""
    opened = open_stores(settings, "web")
    with opened.postgres.transaction() as session:
        session.execute(text("DELETE FROM backtests"))  # other tests leave jobs, which would be sent too
    yield opened
    opened.close()


@pytest.fixture
def other_id(stores: Stores) -> UUID:
    with stores.postgres.transaction() as session:
        user = User(email=f"{uuid4()}@example.com", password_hash="-")
        session.add(user)
    return user.id


def submit(stores: Stores, owner_id: UUID, max_in_flight: int = PLACES) -> Backtest:
    with stores.postgres.transaction() as session:
        return backtests.submit(session, owner_id, REQUEST, max_in_flight=max_in_flight)


def fill_up(stores: Stores, max_in_flight: int = PLACES, **changes: Any) -> list[UUID]:
    """What a turn of requeue_stale would send now."""
    options = {"queued_too_long_s": 30.0, "waiting_messages": 10_000} | changes
    with stores.postgres.transaction() as session:
        jobs.requeue_stale(session, Backtest)
        return dispatch.take_undispatched(session, Backtest, max_in_flight=max_in_flight, **options)


def in_flight(stores: Stores, owner_id: UUID) -> list[UUID]:
    with stores.postgres.transaction() as session:
        return list(
            session.scalars(
                select(Backtest.id)
                .where(
                    Backtest.owner_id == owner_id,
                    Backtest.status.in_(["queued", "running"]),
                    Backtest.dispatched_at.is_not(None),
                )
                .order_by(Backtest.created_at)
            )
        )


def run(stores: Stores, job_id: UUID) -> UUID | None:
    """Do the job; the one that its place went on to."""
    with stores.postgres.transaction() as session:
        claim = jobs.claim(session, Backtest, job_id, lease_s=60, task_id=str(uuid4()))
    assert claim is not None
    with stores.postgres.transaction() as session:
        ended = jobs.finish(session, claim, JobStatus.SUCCEEDED)
    assert ended is not None
    return ended.next_id


def test_what_is_above_the_cap_waits_queued(stores: Stores, owner_id: UUID, other_id: UUID) -> None:
    made = [submit(stores, owner_id) for _ in range(PLACES + 2)]
    assert [job.dispatched_at is not None for job in made] == [True] * PLACES + [False] * 2
    assert {job.status for job in made} == {"queued"}
    assert submit(stores, other_id).dispatched_at is not None, "a user's places are the user's own"


def test_a_job_that_ends_passes_its_place_on_to_the_oldest_waiting_of_its_owner(
    stores: Stores, owner_id: UUID, other_id: UUID
) -> None:
    hers = [submit(stores, owner_id).id for _ in range(PLACES + 2)]
    his = [submit(stores, other_id).id for _ in range(PLACES)]
    assert run(stores, his[0]) is None, "he has none that waits"
    assert run(stores, hers[1]) == hers[PLACES]
    assert in_flight(stores, owner_id) == [hers[0], hers[2], hers[PLACES]]
    assert run(stores, hers[PLACES]) == hers[PLACES + 1]
    assert run(stores, hers[0]) is None
    assert in_flight(stores, owner_id) == [hers[2], hers[PLACES + 1]]


def test_a_lost_lease_passes_nothing_on(stores: Stores, owner_id: UUID) -> None:
    first, waiting = (submit(stores, owner_id, 1).id for _ in range(2))
    with stores.postgres.transaction() as session:
        claim = jobs.claim(session, Backtest, first, lease_s=60, task_id="t")
    assert claim is not None
    with stores.postgres.transaction() as session:
        session.execute(update(Backtest).where(Backtest.id == first).values(lease_token=uuid4()))
        assert jobs.finish(session, claim, JobStatus.SUCCEEDED) is None
    assert waiting not in in_flight(stores, owner_id)


def test_free_places_are_filled_in_fair_order(stores: Stores, owner_id: UUID, other_id: UUID) -> None:
    hers = [submit(stores, owner_id, 1).id for _ in range(6)]
    his = [submit(stores, other_id, 1).id for _ in range(3)]
    assert fill_up(stores) == [hers[1], his[1], hers[2], his[2]]
    assert fill_up(stores) == []
    assert in_flight(stores, owner_id) == hers[:3]


def test_running_jobs_have_a_place_and_ended_ones_have_none(stores: Stores, owner_id: UUID) -> None:
    made = [submit(stores, owner_id, 2).id for _ in range(4)]
    with stores.postgres.transaction() as session:
        jobs.claim(session, Backtest, made[0], lease_s=60, task_id="t")
        jobs.request_cancel(session, Backtest, owner_id, made[1])
    assert fill_up(stores, 2) == [made[2]]
    assert fill_up(stores, 1) == [], "a lowered cap takes nobody's place away"
    assert in_flight(stores, owner_id) == [made[0], made[2]]


def test_a_dead_workers_job_gets_its_place_back_before_the_waiting_ones(
    stores: Stores, owner_id: UUID
) -> None:
    made = [submit(stores, owner_id, 2).id for _ in range(4)]
    with stores.postgres.transaction() as session:
        jobs.claim(session, Backtest, made[0], lease_s=60, task_id="t")
        session.execute(
            update(Backtest)
            .where(Backtest.id == made[0])
            .values(lease_expires_at=func.now() - timedelta(seconds=1))
        )
    assert fill_up(stores, 2) == [made[0]]
    assert in_flight(stores, owner_id) == made[:2]


def test_a_worker_that_dies_before_it_sends_the_next_job_loses_nothing(
    stores: Stores, owner_id: UUID
) -> None:
    first, second, third = (submit(stores, owner_id, 1).id for _ in range(3))
    assert run(stores, first) == second, "and its message is never sent"
    with stores.postgres.transaction() as session:
        session.execute(
            update(Backtest)
            .where(Backtest.id == second)
            .values(dispatched_at=func.now() - timedelta(seconds=40))
        )
    assert fill_up(stores, 1, waiting_messages=1) == [], "it may only wait its turn"
    assert fill_up(stores, 1, waiting_messages=0) == [second]
    assert third not in in_flight(stores, owner_id)


def test_the_upkeep_waits_for_a_submit_that_takes_the_last_place(stores: Stores, owner_id: UUID) -> None:
    waiting = submit(stores, owner_id, 1)
    with stores.postgres.transaction() as session:
        dispatch.mark_undispatched(session, Backtest, waiting.id)
    with ThreadPoolExecutor(1) as threads:
        with stores.postgres.transaction() as session:
            backtests.submit(session, owner_id, REQUEST, max_in_flight=1)
            upkeep = threads.submit(fill_up, stores, 1)
            wait_for(lambda: upkeep.done() or waits_for_a_lock(stores))
        assert upkeep.result(10) == []


def waits_for_a_lock(stores: Stores) -> bool:
    with stores.postgres.transaction() as session:
        return bool(
            session.scalar(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"))
        )


def test_40_submits_at_once_take_no_place_twice(stores: Stores, owner_id: UUID) -> None:
    start = threading.Barrier(40)

    def submit_some(_: int) -> list[bool]:
        start.wait(10)
        return [submit(stores, owner_id, 10).dispatched_at is not None for _ in range(5)]

    with ThreadPoolExecutor(40) as threads:
        sent = [one for some in threads.map(submit_some, range(40)) for one in some]
    assert (len(sent), sum(sent)) == (200, 10)
    assert len(in_flight(stores, owner_id)) == 10


class Traffic:
    """Submits, workers and upkeep, each in threads of their own, with a queue for the broker."""

    def __init__(self, stores: Stores, owners: tuple[UUID, ...]) -> None:
        self.done: list[UUID] = []
        self.most = dict.fromkeys(owners, 0)
        self.over = threading.Event()
        self._stores = stores
        self._messages: queue.Queue[UUID] = queue.Queue()

    def submit(self, owner_id: UUID) -> None:
        for _ in range(5):
            job = submit(self._stores, owner_id)
            if job.dispatched_at is not None:
                self._messages.put(job.id)

    def work(self) -> None:
        while not self.over.is_set():
            try:
                job_id = self._messages.get(timeout=0.05)
            except queue.Empty:
                continue
            following = run(self._stores, job_id)
            self.done.append(job_id)
            if following is not None:
                self._messages.put(following)

    def keep_up(self) -> None:
        while not self.over.is_set():
            for job_id in fill_up(self._stores):
                self._messages.put(job_id)
            for owner_id, most in self.most.items():
                self.most[owner_id] = max(most, len(in_flight(self._stores, owner_id)))


def test_submits_ends_and_upkeep_at_once_lose_no_job_and_keep_the_cap(
    stores: Stores, owner_id: UUID, other_id: UUID
) -> None:
    """Every job runs once, and never more at a time than its owner has places."""
    owners = (owner_id, other_id)
    traffic = Traffic(stores, owners)
    with ThreadPoolExecutor(39) as threads:
        served = [threads.submit(traffic.work) for _ in range(8)] + [threads.submit(traffic.keep_up)]
        submits = [threads.submit(traffic.submit, owners[number % 2]) for number in range(30)]
        try:
            for submitted in submits:
                submitted.result(60)
            wait_for(lambda: len(traffic.done) >= 150, what=traffic.done)
        finally:
            traffic.over.set()
        for ended in served:
            ended.result(10)
    assert len(set(traffic.done)) == len(traffic.done) == 150
    assert traffic.most == dict.fromkeys(owners, PLACES)
