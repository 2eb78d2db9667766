"""Backtests as their owners see them: submitted, listed, read, cancelled, removed."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import delete as sql_delete
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from cift_core.engine import Execution
from cift_core.errors import Conflict, FieldError, InvalidInput, did_you_mean
from cift_core.models import FINAL, Backtest
from cift_core.services import jobs
from cift_core.strategies import STRATEGIES

Checked = TypeVar("Checked")
_TABLE = Backtest.__table__
# built once, on the table and not the class: every submit runs it
_INSERT = select(Backtest).from_statement(
    insert(_TABLE).values(dispatched_at=func.now()).returning(*_TABLE.c)  # type: ignore[arg-type]
)


def submit(session: Session, owner_id: UUID, request: Mapping[str, Any]) -> Backtest:
    """The queued backtest; its stored request has every default filled in.

    `request` has the shape of `POST /backtests`; what only the engine knows (strategy, parameters, execution)
    is checked here.

    Raises:
        InvalidInput: with every wrong field, as a JSON pointer into the request.
    """
    chosen, execution = request["strategy"], request.get("execution") or {}
    errors: list[FieldError] = []
    strategy = STRATEGIES.get(chosen["name"])
    params: Mapping[str, Any] = {}
    if strategy is None:
        near = did_you_mean(chosen["name"], STRATEGIES)
        detail = f"there is no strategy {chosen['name']!r}{near}; there are: {', '.join(sorted(STRATEGIES))}"
        errors.append(FieldError("/strategy/name", detail))
    else:
        params = _checked(errors, "/strategy", lambda: strategy.validate(chosen.get("params") or {})) or {}
    filled = _checked(errors, "", lambda: Execution.from_mapping(execution))
    if errors or filled is None:
        raise InvalidInput("invalid_backtest", "The backtest can't run as asked: see errors.", errors)
    row = {
        "owner_id": owner_id,
        "request": {
            **request,
            "strategy": {"name": chosen["name"], "params": dict(params)},
            "execution": asdict(filled),
        },
        "strategy": chosen["name"],
        "symbols": list(request["symbols"]),
        "tags": list(request.get("tags") or []),
    }
    backtest: Backtest = session.scalars(_INSERT, row).one()
    return backtest


def _checked(errors: list[FieldError], prefix: str, check: Callable[[], Checked]) -> Checked | None:
    try:
        return check()
    except InvalidInput as error:
        errors += [FieldError(prefix + e.pointer, e.detail) for e in error.errors]
        return None


def get(session: Session, owner_id: UUID, backtest_id: UUID) -> Backtest:
    """The owner's backtest.

    Raises:
        NotFound: no such backtest of this owner.
    """
    return jobs.get(session, Backtest, owner_id, backtest_id)


def list_backtests(
    session: Session,
    owner_id: UUID,
    *,
    status: str | None = None,
    strategy: str | None = None,
    symbol: str | None = None,
    tag: str | None = None,
    created_after: datetime | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> tuple[list[Backtest], str | None]:
    """A page of the owner's backtests, newest first, and the cursor of the next page or None."""
    query = select(Backtest).where(Backtest.owner_id == owner_id)
    if status is not None:
        query = query.where(Backtest.status == status)
    if strategy is not None:
        query = query.where(Backtest.strategy == strategy)
    if symbol is not None:
        query = query.where(Backtest.symbols.contains([symbol]))
    if tag is not None:
        query = query.where(Backtest.tags.contains([tag]))
    if created_after is not None:
        query = query.where(Backtest.created_at > created_after)
    return jobs.page(session, Backtest, query, cursor, limit)


def cancel(session: Session, owner_id: UUID, backtest_id: UUID) -> Backtest:
    """The backtest, cancelled or about to be. Idempotent.

    Raises:
        NotFound: no such backtest of this owner.
    """
    return jobs.request_cancel(session, Backtest, owner_id, backtest_id)


def delete(session: Session, owner_id: UUID, backtest_id: UUID) -> None:
    """Remove a finished backtest; its series in QuestDB can't be reached any more and age out.

    Raises:
        NotFound: no such backtest of this owner.
        Conflict: it is not finished.
    """
    removed = session.execute(
        sql_delete(Backtest)
        .where(Backtest.id == backtest_id, Backtest.owner_id == owner_id, Backtest.status.in_(FINAL))
        .returning(Backtest.id)
        .execution_options(synchronize_session=False)
    ).first()
    if removed is None:
        status = get(session, owner_id, backtest_id).status
        raise Conflict("not_finished", f"The backtest is {status}; cancel it first, then remove it.")
