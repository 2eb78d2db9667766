"""Saved strategies: every change makes a version that stays, and a backtest keeps the one it ran."""

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from cift_core.engine import Execution, Strategy
from cift_core.errors import FieldError, InvalidInput, NotFound, did_you_mean
from cift_core.models import TradingStrategy, TradingStrategyVersion
from cift_core.rules import compile_rules
from cift_core.services import owned
from cift_core.services.paging import decode_cursor, encode_cursor
from cift_core.strategies import STRATEGIES

Definition = dict[str, Any]
_EXECUTION = Execution()


def check_definition(definition: Mapping[str, Any]) -> Definition:
    """The definition (a built-in's `name`, or `rules`, and the `params`) with every default filled in.

    Raises:
        InvalidInput: with every wrong field, as a JSON pointer into the definition.
    """
    strategy = strategy_of(definition)
    params = strategy.validate(definition.get("params") or {})
    try:
        strategy.execution(_EXECUTION, params)
    except InvalidInput as error:
        fields = [FieldError(e.pointer.replace("/execution", "/rules/stops"), e.detail) for e in error.errors]
        raise InvalidInput("invalid_rules", error.message, fields) from error
    what = "rules" if "rules" in definition else "name"
    return {what: definition[what], "params": params}


def strategy_of(definition: Mapping[str, Any]) -> Strategy:
    """The strategy that a definition names, or whose rules it holds.

    Raises:
        InvalidInput: there is none of that name, or the rules can't be read.
    """
    if "rules" in definition:
        return _compiled(json.dumps(definition["rules"], sort_keys=True))
    name = definition["name"]
    strategy = STRATEGIES.get(name)
    if strategy is None:
        near = did_you_mean(name, STRATEGIES)
        detail = f"there is no strategy {name!r}{near}; there are: {', '.join(sorted(STRATEGIES))}"
        raise InvalidInput("unknown_strategy", detail, [FieldError("/name", detail)])
    return strategy


@lru_cache(maxsize=256)
def _compiled(rules: str) -> Strategy:
    return compile_rules(json.loads(rules))


def create(
    session: Session, owner_id: UUID, *, name: str, description: str, definition: Mapping[str, Any]
) -> TradingStrategy:
    """A new strategy, and its version 1.

    Raises:
        InvalidInput: the definition can't run; pointers go below `/strategy`.
        Conflict: the owner has another of that name.
    """
    row = TradingStrategy(
        owner_id=owner_id, name=name, description=description, definition=_checked(definition)
    )
    owned.create(session, row)
    _keep_version(session, row)
    return row


def change(
    session: Session,
    owner_id: UUID,
    strategy_id: UUID,
    values: Mapping[str, Any],
    check: Callable[[TradingStrategy], None],
) -> tuple[TradingStrategy, list[str]]:
    """The changed strategy with its new version, and the names of what changed: see `owned.change`.

    Raises:
        InvalidInput: the definition can't run; pointers go below `/strategy`.
        NotFound: no such strategy of this owner.
        Conflict: the owner has another of the new name.
    """
    if "definition" in values:
        values = {**values, "definition": _checked(values["definition"])}
    row, changed = owned.change(session, TradingStrategy, owner_id, strategy_id, values, check)
    if changed:
        _keep_version(session, row)
    return row, changed


def get_version(session: Session, owner_id: UUID, strategy_id: UUID, version: int) -> TradingStrategyVersion:
    """One version of the owner's strategy.

    Raises:
        NotFound: no such strategy of this owner, or it has no such version.
    """
    found = session.scalar(
        select(TradingStrategyVersion)
        .join(TradingStrategy, TradingStrategy.id == TradingStrategyVersion.strategy_id)
        .where(
            TradingStrategy.id == strategy_id,
            TradingStrategy.owner_id == owner_id,
            TradingStrategyVersion.version == version,
        )
    )
    if found is None:
        latest = owned.get(session, TradingStrategy, owner_id, strategy_id).version
        raise NotFound("version_not_found", f"The strategy has the versions 1 to {latest}, not {version}.")
    return found


def list_versions(
    session: Session, owner_id: UUID, strategy_id: UUID, *, cursor: str | None = None, limit: int
) -> tuple[list[TradingStrategyVersion], str | None]:
    """A page of the versions of the owner's strategy, newest first, and the next page's cursor or None.

    Raises:
        NotFound: no such strategy of this owner.
        InvalidInput: the cursor is none of this list.
    """
    owned.get(session, TradingStrategy, owner_id, strategy_id)
    query = select(TradingStrategyVersion).filter_by(strategy_id=strategy_id)
    if cursor is not None:
        query = query.where(TradingStrategyVersion.version < decode_cursor(cursor, int)[0])
    found = list(session.scalars(query.order_by(TradingStrategyVersion.version.desc()).limit(limit + 1)))
    return found[:limit], encode_cursor(found[limit - 1].version) if len(found) > limit else None


def resolve(session: Session, owner_id: UUID, choice: Mapping[str, Any]) -> Definition:
    """What `{"strategy_id", "version", "params"}` of a backtest names, its parameters over the saved ones.

    `strategy_id` and `version` (the latest where none was given) stay in it.

    Raises:
        NotFound: no such strategy of this owner, or it has no such version.
    """
    strategy_id = UUID(choice["strategy_id"])
    found: TradingStrategy | TradingStrategyVersion
    try:
        if choice.get("version") is None:
            found = owned.get(session, TradingStrategy, owner_id, strategy_id)
        else:
            found = get_version(session, owner_id, strategy_id, choice["version"])
    except NotFound as error:
        field = "version" if error.code == "version_not_found" else "strategy_id"
        raise NotFound(
            error.code, error.message, [FieldError(f"/strategy/{field}", error.message)]
        ) from error
    params = {**found.definition["params"], **(choice.get("params") or {})}
    saved = {"strategy_id": str(strategy_id), "version": found.version}
    return {**found.definition, "params": params, **saved}


def _keep_version(session: Session, row: TradingStrategy) -> None:
    kept = ("version", "name", "description", "definition")
    session.add(TradingStrategyVersion(strategy_id=row.id, **{name: getattr(row, name) for name in kept}))
    session.flush()


def _checked(definition: Mapping[str, Any]) -> Definition:
    try:
        return check_definition(definition)
    except InvalidInput as error:
        errors = [FieldError(f"/strategy{field.pointer}", field.detail) for field in error.errors]
        raise InvalidInput(
            "invalid_strategy", "The strategy can't run as given: see errors.", errors
        ) from error
