"""What the tables themselves allow, whoever writes to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, inspect, text
from sqlalchemy.exc import DBAPIError, InvalidRequestError

from cift_core.models import (
    APIKey,
    AuditLog,
    Backtest,
    Base,
    IdempotencyKey,
    Ingestion,
    IngestionReject,
    JobStatus,
    User,
)
from cift_core.stores import Stores
from tests.models.rows import Add, api_key, audit_log, backtest, count, ingestion, refused, user


def test_an_email_is_in_lower_case_and_unique(add: Add) -> None:
    add(one := user())
    assert refused(add, user(email="Alice@example.com")) == "ck_users_email_lower"
    assert refused(add, user(email=one.email)) == "uq_users_email"


def test_defaults(add: Add, stores: Stores, owner_id: UUID) -> None:
    add(one := user(), job := ingestion(owner_id))
    with stores.postgres.transaction() as session:
        stored = session.get_one(User, one.id)
        stored_job = session.get_one(Ingestion, job.id)
    assert (stored.is_admin, stored.is_active) == (False, True)
    assert stored.created_at.tzinfo is not None
    assert stored.created_at == stored.updated_at
    assert (stored_job.status, stored_job.attempt, stored_job.releases) == ("queued", 0, 0)
    assert stored_job.rows_read == stored_job.rows_written == stored_job.rows_rejected == 0


def test_a_change_moves_updated_at_alone(add: Add, stores: Stores) -> None:
    add(one := user())
    with stores.postgres.transaction() as session:
        stored = session.get_one(User, one.id)
        created_at = stored.created_at
        stored.is_active = False
    assert one.id == stored.id
    with stores.postgres.transaction() as session:
        changed = session.get_one(User, one.id)
    assert changed.created_at == created_at < changed.updated_at


@pytest.mark.parametrize("make", [backtest, ingestion])
def test_a_job_is_in_a_known_state(add: Add, owner_id: UUID, make: Callable[..., Any]) -> None:
    table = make(owner_id).__tablename__
    assert refused(add, make(owner_id, status="lost")) == f"ck_{table}_status"
    for status in JobStatus:
        add(make(owner_id, status=status, lease_token=uuid4() if status == "running" else None))


@pytest.mark.parametrize("make", [backtest, ingestion])
def test_a_job_holds_a_lease_exactly_while_it_runs(
    add: Add, owner_id: UUID, make: Callable[..., Any]
) -> None:
    table = make(owner_id).__tablename__
    assert refused(add, make(owner_id, status="running")) == f"ck_{table}_lease_while_running"
    for status in set(JobStatus) - {JobStatus.RUNNING}:
        row = make(owner_id, status=status, lease_token=uuid4())
        assert refused(add, row) == f"ck_{table}_lease_while_running"


@pytest.mark.parametrize("progress", [-0.01, 1.01, float("nan"), float("inf")])
@pytest.mark.parametrize("make", [backtest, ingestion])
def test_progress_is_a_fraction(add: Add, owner_id: UUID, make: Callable[..., Any], progress: float) -> None:
    assert refused(add, make(owner_id, progress=progress)) == f"ck_{make(owner_id).__tablename__}_progress"


def test_the_rows_of_a_succeeded_ingestion_balance(add: Add, owner_id: UUID) -> None:
    off = {"rows_read": 10, "rows_written": 5, "rows_duplicate": 3, "rows_rejected": 1}
    assert refused(add, ingestion(owner_id, status="succeeded", **off)) == "ck_ingestions_balance"
    add(ingestion(owner_id, status="failed", **off))
    add(ingestion(owner_id, status="running", lease_token=uuid4(), **off))
    add(ingestion(owner_id, status="succeeded", **off | {"rows_rejected": 2}))


def test_a_job_belongs_to_a_user(add: Add) -> None:
    assert refused(add, backtest(uuid4())) == "fk_backtests_owner_id_users"
    assert refused(add, ingestion(uuid4())) == "fk_ingestions_owner_id_users"


def test_a_key_prefix_and_an_idempotency_key_are_unique(add: Add, owner_id: UUID) -> None:
    add(one := api_key(owner_id), two := user())
    assert refused(add, api_key(owner_id, prefix=one.prefix)) == "uq_api_keys_prefix"
    add(IdempotencyKey(owner_id=owner_id, key="k", fingerprint="f"))
    again = IdempotencyKey(owner_id=owner_id, key="k", fingerprint="other")
    assert refused(add, again) == "pk_idempotency_keys"
    add(IdempotencyKey(owner_id=two.id, key="k", fingerprint="f"))


def test_what_is_absent_in_json_is_null_in_sql(add: Add, stores: Stores, owner_id: UUID) -> None:
    add(job := backtest(owner_id, metrics=None, error=None))
    assert count(stores, Backtest, Backtest.id == job.id, Backtest.metrics.is_(None)) == 1
    assert count(stores, Backtest, Backtest.id == job.id, Backtest.error.is_(None)) == 1


def test_a_removed_user_takes_everything_along_but_the_audit_trail(add: Add, stores: Stores) -> None:
    add(gone := user(), kept := user())
    for owner in (gone, kept):
        add(
            backtest(owner.id),
            api_key(owner.id),
            IdempotencyKey(owner_id=owner.id, key="k", fingerprint="f"),
            audit_log(owner.id),
            job := ingestion(owner.id),
        )
        add(IngestionReject(ingestion_id=job.id, attempt=1, line=2, reason="no number", raw="x"))
    rejects_before = count(stores, IngestionReject)
    with stores.postgres.transaction() as session:
        session.execute(delete(User).where(User.id == gone.id))
    for owner, left in ((gone, 0), (kept, 1)):
        assert count(stores, Backtest, Backtest.owner_id == owner.id) == left
        assert count(stores, Ingestion, Ingestion.owner_id == owner.id) == left
        assert count(stores, APIKey, APIKey.user_id == owner.id) == left
        assert count(stores, IdempotencyKey, IdempotencyKey.owner_id == owner.id) == left
        assert count(stores, AuditLog, AuditLog.user_id == owner.id) == 1
    assert count(stores, IngestionReject) == rejects_before - 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_logs SET action = 'nothing' WHERE user_id = :user",
        "DELETE FROM audit_logs WHERE user_id = :user",
        "TRUNCATE audit_logs",
        """INSERT INTO audit_logs (id, action, resource, result)
           SELECT id, 'x', 'x', 'x' FROM audit_logs WHERE user_id = :user
           ON CONFLICT (id) DO UPDATE SET action = 'nothing'""",
    ],
)
def test_the_audit_trail_only_grows(add: Add, stores: Stores, statement: str) -> None:
    somebody = uuid4()
    add(audit_log(somebody))
    values = {"user": somebody} if ":user" in statement else {}
    for granted, refusal in ((False, "permission denied"), (True, "audit_logs only grows")):
        with stores.postgres.new_session() as session:  # never committed
            if granted:
                session.execute(text("GRANT ALL ON audit_logs TO CURRENT_USER"))
            with pytest.raises(DBAPIError, match=refusal):
                session.execute(text(statement), values)
    add(audit_log(somebody))
    assert count(stores, AuditLog, AuditLog.user_id == somebody, AuditLog.action == "create") == 2


def test_no_relationship_is_loaded_by_accident(add: Add, stores: Stores, owner_id: UUID) -> None:
    add(one := api_key(owner_id))
    with stores.postgres.transaction() as session:
        stored = session.get_one(APIKey, one.id)
        with pytest.raises(InvalidRequestError, match="lazy='raise'"):
            _ = stored.user
    for mapper in Base.registry.mappers:
        assert all(relation.lazy == "raise" for relation in inspect(mapper.class_).relationships)
