"""The things that users make and keep: strategies, model configurations, trading accounts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, InvalidRequestError
from sqlalchemy.orm import joinedload, selectinload, undefer

from cift_core.clock import utc_now
from cift_core.models import (
    AuditLog,
    AuditSeal,
    Backtest,
    ModelConfig,
    OwnedColumns,
    TradingAccount,
    TradingStrategy,
    TradingStrategyVersion,
    User,
)
from cift_core.stores import Stores
from tests.models.rows import (
    DEFINITION,
    Add,
    account,
    audit_log,
    backtest,
    count,
    model_config,
    refused,
    strategy,
    user,
    version,
)

Make = Callable[..., Any]
OWNED: dict[type[OwnedColumns], Make] = {
    TradingStrategy: strategy,
    ModelConfig: model_config,
    TradingAccount: account,
}
MAKERS = pytest.mark.parametrize("make", OWNED.values(), ids=lambda make: make.__name__)


@MAKERS
def test_a_new_row_has_its_defaults(add: Add, stores: Stores, owner_id: UUID, make: Make) -> None:
    add(made := make(owner_id))
    with stores.postgres.transaction() as session:
        stored = session.get_one(type(made), made.id)
    assert (stored.version, stored.description, stored.owner_id) == (1, "", owner_id)
    assert stored.created_at.tzinfo is not None
    assert stored.created_at == stored.updated_at


@MAKERS
def test_constraints_have_their_names(add: Add, owner_id: UUID, make: Make) -> None:
    add(made := make(owner_id), other := user())
    table = made.__tablename__
    assert refused(add, make(owner_id, name=made.name)) == f"uq_{table}_owner_id_name"
    assert refused(add, make(owner_id, name="")) == f"ck_{table}_name"
    assert refused(add, make(owner_id, version=0)) == f"ck_{table}_version"
    assert refused(add, make(uuid4())) == f"fk_{table}_owner_id_users"
    add(make(other.id, name=made.name))


def test_constraints_of_versions_and_results_have_their_names(add: Add, owner_id: UUID) -> None:
    add(made := strategy(owner_id))
    add(version(made.id))
    assert refused(add, version(made.id)) == "uq_trading_strategy_versions_strategy_id_version"
    assert refused(add, version(made.id, version=0)) == "ck_trading_strategy_versions_version"
    orphan = "fk_trading_strategy_versions_strategy_id_trading_strategies"
    assert refused(add, version(uuid4())) == orphan
    assert (
        refused(add, backtest(owner_id, strategy_id=uuid4())) == "fk_backtests_strategy_id_trading_strategies"
    )


def test_a_removed_user_takes_what_is_owned_along_but_not_the_trail(add: Add, stores: Stores) -> None:
    add(gone := user(), kept := user())
    for owner in (gone, kept):
        add(made := strategy(owner.id), model_config(owner.id), account(owner.id), audit_log(owner.id))
        add(version(made.id), backtest(owner.id, strategy_id=made.id, strategy_version=1))
    versions_before = count(stores, TradingStrategyVersion)
    with stores.postgres.transaction() as session:
        session.execute(delete(User).where(User.id == gone.id))
    for owner, left in ((gone, 0), (kept, 1)):
        for model in (*OWNED, Backtest):
            assert count(stores, model, model.owner_id == owner.id) == left  # type: ignore[arg-type]
        assert count(stores, AuditLog, AuditLog.user_id == owner.id) == 1
    assert count(stores, TradingStrategyVersion) == versions_before - 1


def test_a_backtest_outlives_the_strategy_it_ran(add: Add, stores: Stores, owner_id: UUID) -> None:
    add(made := strategy(owner_id))
    add(version(made.id), job := backtest(owner_id, strategy_id=made.id, strategy_version=1))
    with stores.postgres.transaction() as session:
        session.execute(delete(TradingStrategy).where(TradingStrategy.id == made.id))
    with stores.postgres.transaction() as session:
        stored = session.get_one(Backtest, job.id)
    assert (stored.strategy_id, stored.strategy_version) == (None, 1)
    assert count(stores, TradingStrategyVersion, TradingStrategyVersion.strategy_id == made.id) == 0


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"layers": [64, 32], "dropout": 0.1, "on": True, "off": False, "none": None, "nested": {"a": [{}]}},
        {"tiny": 5e-324, "large": 1e15 + 0.5, "third": 1 / 3, "exact": 2**53 - 1, "minus": -0.5},
        {"text": 'quote " backslash \\ line\nbreak \U0001f40d é', "é": "'; DROP TABLE users; --"},
    ],
)
def test_json_comes_back_as_it_went_in(
    add: Add, stores: Stores, owner_id: UUID, value: dict[str, Any]
) -> None:
    add(config := model_config(owner_id, parameters=value), made := strategy(owner_id, definition=value))
    with stores.postgres.transaction() as session:
        assert session.get_one(ModelConfig, config.id).parameters == value
        assert session.get_one(TradingStrategy, made.id).definition == value


def test_a_result_comes_back_as_it_was_stored(add: Add, stores: Stores, owner_id: UUID) -> None:
    metrics = {
        "trades": 93,
        "sharpe": 0.1 + 0.2,
        "sortino": None,
        "ruined": False,
        "open_position": {"size": 1e-8},
    }
    result = {
        "status": "succeeded",
        "metrics": metrics,
        "data": {"rows": 2148, "first": "2004-08-19T00:00:00Z", "sha256": "ab" * 32},
        "result_attempt": 2,
        "result_digest": "cd" * 32,
        "engine_version": "1",
        "recorded_at": utc_now(),
        "symbols": ["BRK.B", "ETH/USDT"],
        "tags": ["a b", "é"],
    }
    add(job := backtest(owner_id, **result))
    with stores.postgres.transaction() as session:
        stored = session.get_one(Backtest, job.id)
    assert {name: getattr(stored, name) for name in result} == result
    assert math.copysign(1, stored.metrics["sharpe"]) == 1
    assert stored.recorded_at.utcoffset().total_seconds() == 0
    assert count(stores, Backtest, Backtest.id == job.id, Backtest.metrics["trades"].as_integer() == 93) == 1


def test_what_belongs_together_is_loaded_only_when_asked_for(
    add: Add, stores: Stores, owner_id: UUID
) -> None:
    add(made := strategy(owner_id))
    add(version(made.id, version=2), version(made.id, version=1))
    add(job := backtest(owner_id, strategy_id=made.id, strategy_version=2), kept := account(owner_id))
    with stores.postgres.transaction() as session:
        for row, names in (
            (session.get_one(TradingStrategy, made.id), ("owner", "versions")),
            (session.get_one(Backtest, job.id), ("trading_strategy",)),
            (session.get_one(TradingAccount, kept.id), ("owner", "sealed_credentials")),
        ):
            for name in names:
                with pytest.raises(InvalidRequestError, match="raise"):
                    getattr(row, name)
    with stores.postgres.transaction() as session:
        loaded = session.scalars(
            select(TradingStrategy)
            .where(TradingStrategy.id == made.id)
            .options(selectinload(TradingStrategy.versions), joinedload(TradingStrategy.owner))
        ).one()
        sealed = undefer(TradingAccount.sealed_credentials)
        opened = session.scalars(
            select(TradingAccount).where(TradingAccount.id == kept.id).options(sealed)
        ).one()
    assert [one.version for one in loaded.versions] == [1, 2]
    assert loaded.owner.id == owner_id
    assert opened.sealed_credentials == b"x"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE trading_strategy_versions SET definition = '{}' WHERE strategy_id = :strategy",
        """INSERT INTO trading_strategy_versions (id, strategy_id, version, name, description, definition)
           VALUES (gen_random_uuid(), :strategy, 1, 'n', '', '{}')
           ON CONFLICT (strategy_id, version) DO UPDATE SET definition = '{}'""",
    ],
)
def test_a_version_is_never_changed(add: Add, stores: Stores, owner_id: UUID, statement: str) -> None:
    add(made := strategy(owner_id))
    add(version(made.id))
    with pytest.raises(DBAPIError, match="never changed"), stores.postgres.transaction() as session:
        session.execute(text(statement), {"strategy": made.id})
    with stores.postgres.transaction() as session:
        stored = session.scalars(select(TradingStrategyVersion).filter_by(strategy_id=made.id)).one()
    assert stored.definition == DEFINITION


@pytest.mark.parametrize(
    "statement",
    ["UPDATE audit_seals SET hash = ''", "DELETE FROM audit_seals", "TRUNCATE audit_seals"],
)
def test_seals_only_grow(stores: Stores, statement: str) -> None:
    for granted, refusal in ((False, "permission denied"), (True, "never changed")):
        with stores.postgres.new_session() as session:  # never committed
            if granted:
                session.execute(text("GRANT ALL ON audit_seals TO CURRENT_USER"))
            with pytest.raises(DBAPIError, match=refusal):
                session.execute(text(statement))


def test_a_chain_has_no_fork(stores: Stores) -> None:
    def seal(previous: bytes) -> AuditSeal:
        return AuditSeal(last_created_at=utc_now(), last_id=0, rows=1, previous_hash=previous, hash=b"h")

    link = uuid4().bytes
    with stores.postgres.new_session() as session:  # never committed
        session.add(seal(link))
        session.flush()
        session.add(seal(link))
        with pytest.raises(IntegrityError, match="uq_audit_seals_previous_hash"):
            session.flush()
