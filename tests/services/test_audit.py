"""The audit trail: with the change or not at all, and never rewritten."""

from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.exc import DBAPIError

from cift_core.models import AuditLog, User
from cift_core.services import audit
from cift_core.services.audit import Actor
from cift_core.stores import Stores


def actor(user_id: UUID | None) -> Actor:
    return Actor(user_id=user_id, key_prefix="p", ip="203.0.113.9", user_agent="ua", request_id="r")


def rows(stores: Stores, user_id: UUID) -> list[AuditLog]:
    with stores.postgres.transaction() as session:
        return list(session.scalars(select(AuditLog).where(AuditLog.user_id == user_id)))


def test_a_row_says_who_what_and_when(stores: Stores, owner_id: UUID) -> None:
    thing = uuid4()
    with stores.postgres.transaction() as session:
        audit.record(
            session,
            actor(owner_id),
            action="make",
            resource="things",
            resource_id=thing,
            result="done",
            details={"a": [1]},
        )
    (row,) = rows(stores, owner_id)
    assert (row.action, row.resource, row.resource_id, row.result) == ("make", "things", str(thing), "done")
    assert (row.key_prefix, row.ip, row.user_agent, row.request_id) == ("p", "203.0.113.9", "ua", "r")
    assert row.details == {"a": [1]}
    assert row.created_at.tzinfo is not None


def test_a_change_undone_leaves_no_row(stores: Stores, owner_id: UUID) -> None:
    def change() -> None:
        with stores.postgres.transaction() as session:
            audit.record(
                session, actor(owner_id), action="make", resource="things", resource_id=None, result="done"
            )
            raise RuntimeError("undone")

    with pytest.raises(RuntimeError):
        change()
    assert rows(stores, owner_id) == []


def test_the_trail_outlives_the_user(stores: Stores, owner_id: UUID) -> None:
    with stores.postgres.transaction() as session:
        audit.record(
            session, actor(owner_id), action="make", resource="things", resource_id=None, result="done"
        )
    with stores.postgres.transaction() as session:
        session.execute(delete(User).where(User.id == owner_id))
    assert len(rows(stores, owner_id)) == 1


@pytest.mark.parametrize("statement", [update(AuditLog).values(action="other"), delete(AuditLog)])
def test_a_row_is_never_rewritten(stores: Stores, owner_id: UUID, statement: object) -> None:
    with stores.postgres.transaction() as session:
        audit.record(
            session, actor(owner_id), action="make", resource="things", resource_id=None, result="done"
        )
    with pytest.raises(DBAPIError), stores.postgres.transaction() as session:
        session.execute(statement)
    assert [row.action for row in rows(stores, owner_id)] == ["make"]
