"""Idempotency keys: one does the work, the others wait for its answer."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text, update

from cift_core.errors import InvalidInput
from cift_core.models import IdempotencyKey
from cift_core.services import idempotency
from cift_core.stores import Stores
from cift_core.stores.postgres import transaction


def age(stores: Stores, owner_id: UUID, by: timedelta) -> None:
    with stores.postgres.transaction() as session:
        mine = update(IdempotencyKey).where(IdempotencyKey.owner_id == owner_id)
        session.execute(mine.values(created_at=func.now() - by))


def take(stores: Stores, owner_id: UUID, answer: dict[str, object], asked: str = "a") -> object:
    with stores.postgres.transaction() as session:
        found = idempotency.begin(session, owner_id, "k", asked)
        if found is None:
            idempotency.store_answer(session, owner_id, "k", answer)
        return found


def test_the_first_answer_is_kept(stores: Stores, owner_id: UUID) -> None:
    assert take(stores, owner_id, {"id": 1}) is None
    assert take(stores, owner_id, {"id": 2}) == {"id": 1}


def test_another_request_is_refused(stores: Stores, owner_id: UUID) -> None:
    take(stores, owner_id, {"id": 1})
    with pytest.raises(InvalidInput) as raised:
        take(stores, owner_id, {"id": 2}, asked="b")
    assert raised.value.code == "idempotency_key_reused"


def test_what_failed_leaves_the_key_free(stores: Stores, owner_id: UUID) -> None:
    def fail() -> None:
        with stores.postgres.transaction() as session:
            assert idempotency.begin(session, owner_id, "k", "a") is None
            raise RuntimeError("undone")

    with pytest.raises(RuntimeError):
        fail()
    assert take(stores, owner_id, {"id": 1}, asked="b") is None


def test_an_equal_request_waits_for_the_one_before(stores: Stores, owner_id: UUID) -> None:
    began, go_on = threading.Event(), threading.Event()

    def first() -> None:
        with stores.postgres.new_session() as session, transaction(session):
            assert idempotency.begin(session, owner_id, "k", "a") is None
            began.set()
            assert go_on.wait(10)
            idempotency.store_answer(session, owner_id, "k", {"id": 1})

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(first)
        assert began.wait(10)
        other = pool.submit(take, stores, owner_id, {"id": 2})
        deadline = time.monotonic() + 10
        while not waiting(stores):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert not other.done()
        go_on.set()
        one.result(10)
        assert other.result(10) == {"id": 1}


def waiting(stores: Stores) -> bool:
    """Whether a statement on the keys waits for a lock."""
    with stores.postgres.transaction() as session:
        return bool(
            session.scalar(
                text(
                    "SELECT count(*) FROM pg_stat_activity"
                    " WHERE wait_event_type = 'Lock' AND query LIKE '%idempotency_keys%'"
                )
            )
        )


def test_a_day_later_the_key_is_taken_over(stores: Stores, owner_id: UUID) -> None:
    take(stores, owner_id, {"id": 1})
    age(stores, owner_id, timedelta(hours=23, minutes=59))
    assert take(stores, owner_id, {"id": 2}) == {"id": 1}
    age(stores, owner_id, timedelta(hours=24, seconds=1))
    assert take(stores, owner_id, {"id": 2}, asked="b") is None
    assert take(stores, owner_id, {"id": 3}, asked="b") == {"id": 2}


def test_what_expired_is_forgotten(stores: Stores, owner_id: UUID) -> None:
    take(stores, owner_id, {"id": 1})
    with stores.postgres.transaction() as session:
        idempotency.forget_expired(session)
        assert session.scalar(select(IdempotencyKey.key).where(IdempotencyKey.owner_id == owner_id)) == "k"
    age(stores, owner_id, timedelta(hours=25))
    with stores.postgres.transaction() as session:
        assert idempotency.forget_expired(session) >= 1
        assert session.scalar(select(IdempotencyKey.key).where(IdempotencyKey.owner_id == owner_id)) is None


def test_the_fingerprint_is_of_the_meaning(owner_id: UUID) -> None:
    one = idempotency.fingerprint("POST /x", {"a": 1, "b": {"c": 2, "d": 3}})
    assert one == idempotency.fingerprint("POST /x", {"b": {"d": 3, "c": 2}, "a": 1})
    others = [
        idempotency.fingerprint("POST /y", {"a": 1, "b": {"c": 2, "d": 3}}),
        idempotency.fingerprint("POST /x", {"a": 1, "b": {"c": 2, "d": 4}}),
        idempotency.fingerprint("POST /x", {"a": 1, "b": {"c": 2, "d": 3}}, uuid4().hex),
    ]
    assert len({one, *others}) == 4
