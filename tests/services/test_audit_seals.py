"""The seals over the audit trail: whatever is tampered with afterwards shows."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from cift_core.models import AuditLog, AuditSeal
from cift_core.services import audit, audit_seals
from cift_core.services.audit import Actor
from cift_core.services.audit_seals import Verdict, seal_next, verify
from cift_core.stores import Stores


@pytest.fixture(autouse=True)
def _settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are sealed as soon as their transactions have ended."""
    monkeypatch.setattr(audit_seals, "SETTLING", timedelta(0))


def write(session: Any, user_id: UUID, action: str = "make") -> None:
    actor = Actor(user_id=user_id, key_prefix="p", ip="203.0.113.9", user_agent="ua", request_id="r")
    audit.record(
        session,
        actor,
        action=action,
        resource="things",
        resource_id=None,
        result="done",
        details={"é": [1.5]},
    )


def write_rows(stores: Stores, count: int) -> UUID:
    """Whose rows these are, each of a transaction of its own."""
    user_id = uuid4()
    for _ in range(count):
        with stores.postgres.transaction() as session:
            write(session, user_id)
    return user_id


def seal_all(stores: Stores) -> list[AuditSeal]:
    made = []
    while True:
        with stores.postgres.transaction() as session:
            seal = seal_next(session)
        if seal is None:
            return made
        made.append(seal)


def check(stores: Stores, **options: Any) -> Verdict:
    with stores.postgres.transaction() as session:
        return verify(session, **options)


def test_rows_of_one_moment_get_under_several_seals(stores: Stores, sealed: UUID) -> None:
    with stores.postgres.transaction() as session:
        for _ in range(7):
            write(session, sealed)
    write_rows(stores, 1)
    assert [seal.rows for seal in seal_all(stores)] == [3, 3, 2]
    assert check(stores).unsealed == 0


def test_rows_whose_ids_came_late_get_under_seals(stores: Stores, sealed: UUID) -> None:
    with stores.postgres.new_session() as slow:
        slow.execute(text("SELECT now()"))
        write_rows(stores, 3)
        for _ in range(4):
            write(slow, sealed)
        slow.commit()
    write_rows(stores, 1)
    assert [seal.rows for seal in seal_all(stores)] == [3, 3, 2]
    assert check(stores).unsealed == 0


def disarm(session: Session) -> None:
    """Give the owner's role what it has given up, as an attacker with that role could."""
    for table in ("audit_logs", "audit_seals"):
        session.execute(text(f"GRANT ALL ON {table} TO CURRENT_USER"))
        session.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER ALL"))


@pytest.fixture
def sealed(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> Iterator[UUID]:
    """Whose nine rows are under the last three seals; the chain holds before and after the test."""
    seal_all(stores)
    monkeypatch.setattr(audit_seals, "ROWS_PER_SEAL", 3)
    user_id = write_rows(stores, 9)
    assert [seal.rows for seal in seal_all(stores)] == [3, 3, 3]
    assert check(stores).broken == ()
    yield user_id
    assert check(stores).broken == ()


def test_every_row_gets_under_one_seal_in_a_chain(stores: Stores, sealed: UUID) -> None:
    with stores.postgres.transaction() as session:
        seals = session.scalars(select(AuditSeal).order_by(AuditSeal.id)).all()
        rows = len(session.scalars(select(AuditLog.id)).all())
    assert seals[0].previous_hash == audit_seals.GENESIS
    assert [seal.previous_hash for seal in seals[1:]] == [seal.hash for seal in seals[:-1]]
    verdict = check(stores)
    assert (verdict.seals, verdict.rows, verdict.unsealed) == (len(seals), rows, 0)
    assert verdict.head == seals[-1].hash
    assert seal_all(stores) == []
    write_rows(stores, 2)
    assert check(stores).unsealed == 2


MINE = "(SELECT id FROM audit_logs WHERE user_id = :user ORDER BY id LIMIT 1 OFFSET 4)"
MIDDLE = "(SELECT max(id) - 1 FROM audit_seals)"


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE audit_logs SET result = 'refused' WHERE id = MINE", "was changed"),
        ("UPDATE audit_logs SET details = '{}' WHERE id = MINE", "was changed"),
        ("UPDATE audit_logs SET user_id = NULL WHERE id = MINE", "was changed"),
        ("UPDATE audit_logs SET created_at = now() WHERE id = MINE", "2 now"),
        ("DELETE FROM audit_logs WHERE id = MINE", "2 now"),
        (
            (
                "INSERT INTO audit_logs (created_at, action, resource, result) "
                "SELECT created_at, 'x', 'x', 'done' FROM audit_logs WHERE id = MINE"
            ),
            "4 now",
        ),
        ("UPDATE audit_seals SET rows = 4 WHERE id = MIDDLE", "over 4 rows"),
        ("UPDATE audit_seals SET hash = sha256('x') WHERE id = MIDDLE", "the seal was"),
        ("UPDATE audit_seals SET last_id = last_id - 1 WHERE id = MIDDLE", "now"),
        ("DELETE FROM audit_seals WHERE id = MIDDLE", "does not follow"),
    ],
)
def test_tampering_shows(stores: Stores, sealed: UUID, statement: str, reason: str) -> None:
    with stores.postgres.new_session() as session:  # never committed
        disarm(session)
        sql = statement.replace("MINE", MINE).replace("MIDDLE", MIDDLE)
        changed = session.execute(text(sql), {"user": sealed} if ":user" in sql else {})
        assert changed.rowcount == 1  # type: ignore[attr-defined]  # of a statement that changes rows
        broken = verify(session).broken
        session.rollback()
    assert reason in broken[0].reason


def test_a_chain_that_was_cut_or_made_anew_lacks_the_noted_seal(stores: Stores, sealed: UUID) -> None:
    noted = check(stores).head
    write_rows(stores, 1)
    seal_all(stores)
    assert check(stores, noted=noted).broken == ()
    with stores.postgres.new_session() as session:  # never committed
        disarm(session)
        session.execute(text("DELETE FROM audit_seals WHERE id > (SELECT max(id) - 2 FROM audit_seals)"))
        assert verify(session).broken == ()
        assert "noted" in verify(session, noted=noted).broken[0].reason
        session.execute(text("DELETE FROM audit_seals"))
        assert all(seal_next(session) for _ in range(3))
        assert verify(session).broken == ()
        assert "noted" in verify(session, noted=noted).broken[0].reason
        session.rollback()


def test_rows_of_open_transactions_are_waited_for(stores: Stores, sealed: UUID) -> None:
    head = check(stores).head
    with stores.postgres.new_session() as slow:
        write(slow, sealed, "slow")
        later = write_rows(stores, 2)
        assert seal_all(stores) == []
        assert check(stores).head == head
        slow.commit()
    seals = seal_all(stores)
    assert sum(seal.rows for seal in seals) == 3
    with stores.postgres.transaction() as session:
        actions = session.execute(
            select(AuditLog.action).where(AuditLog.user_id.in_([sealed, later])).order_by(AuditLog.created_at)
        ).scalars()
        assert list(actions)[-3:] == ["slow", "make", "make"]
    assert check(stores).unsealed == 0


def test_sealers_at_once_make_one_chain_and_no_writer_waits(stores: Stores, sealed: UUID) -> None:
    write_rows(stores, 12)
    with stores.postgres.new_session() as first:
        assert seal_next(first) is not None
        write_rows(stores, 1)  # while the seal is not committed yet
        others = [threading.Thread(target=seal_all, args=(stores,)) for _ in range(2)]
        for other in others:
            other.start()
        first.commit()
    for other in others:
        other.join()
    seal_all(stores)
    verdict = check(stores)
    assert (verdict.broken, verdict.unsealed) == ((), 0)
