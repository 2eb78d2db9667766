"""Rows of every table, made with the least that they need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from cift_core.clock import utc_now
from cift_core.models import (
    APIKey,
    AuditLog,
    Backtest,
    Base,
    Ingestion,
    ModelConfig,
    TradingAccount,
    TradingStrategy,
    TradingStrategyVersion,
    User,
)
from cift_core.stores import Stores

Add = Callable[..., Any]
DEFINITION = {"name": "sma_cross", "params": {"fast": 10, "slow": 20}}


def user(**values: object) -> User:
    return User(**{"email": f"{uuid4()}@example.com", "password_hash": "-"} | values)


def backtest(owner_id: UUID, **values: object) -> Backtest:
    return Backtest(
        **{"owner_id": owner_id, "request": {}, "strategy": "sma_cross", "symbols": ["AAPL"]} | values
    )


def ingestion(owner_id: UUID, **values: object) -> Ingestion:
    return Ingestion(**{"owner_id": owner_id, "request": {}} | values)


def api_key(user_id: UUID, **values: object) -> APIKey:
    made = {
        "user_id": user_id,
        "prefix": uuid4().hex,
        "name": "key",
        "secret_hmac": b"x",
        "scopes": ["admin"],
    }
    return APIKey(**made | values)


def audit_log(user_id: UUID) -> AuditLog:
    return AuditLog(user_id=user_id, action="create", resource="backtest", result="ok")


def refused(add: Add, row: Base) -> str:
    """The name of the constraint that refuses the row."""
    with pytest.raises(IntegrityError) as caught:
        add(row)
    return str(caught.value.orig.diag.constraint_name)  # type: ignore[union-attr]


def count(stores: Stores, model: type[Base], *conditions: Any) -> int:
    with stores.postgres.transaction() as session:
        return session.scalar(select(func.count()).select_from(model).where(*conditions)) or 0


def strategy(owner_id: UUID, **values: object) -> TradingStrategy:
    return TradingStrategy(
        **{"id": uuid4(), "owner_id": owner_id, "name": uuid4().hex, "definition": DEFINITION} | values
    )


def version(strategy_id: UUID, **values: object) -> TradingStrategyVersion:
    made = {"version": 1, "name": "n", "description": "", "definition": DEFINITION}
    return TradingStrategyVersion(**{"strategy_id": strategy_id} | made | values)


def model_config(owner_id: UUID, **values: object) -> ModelConfig:
    return ModelConfig(**{"owner_id": owner_id, "name": uuid4().hex, "kind": "lstm"} | values)


def account(owner_id: UUID, **values: object) -> TradingAccount:
    made = {"name": uuid4().hex, "broker": "binance", "sealed_credentials": b"x"}
    return TradingAccount(**{"owner_id": owner_id, "credentials_changed_at": utc_now()} | made | values)
