"""Backtests as their owners see them: submitted, listed, read, cancelled, removed."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, TypeVar, cast
from uuid import UUID

from sqlalchemy import Integer, Table, Uuid, bindparam, insert, select
from sqlalchemy import delete as sql_delete
from sqlalchemy.orm import Session

from cift_core.engine import Execution
from cift_core.errors import Conflict, FieldError, InvalidInput
from cift_core.models import FINAL, Backtest, DataRevision
from cift_core.services import alerts, data_reads, jobs, quality
from cift_core.services.dispatch import moment_of_dispatch
from cift_core.services.trading_strategies import Definition, check_definition, resolve, strategy_of

Checked = TypeVar("Checked")
_TABLE = cast("Table", Backtest.__table__)
_MADE = ("id", "status", "progress", "attempt", "releases", "dispatched_at", "created_at", "updated_at")
# built once, on the table and not the class: every submit runs it
_INSERT = (
    insert(_TABLE)
    .values(
        dispatched_at=moment_of_dispatch(
            Backtest, bindparam("owner", type_=Uuid), bindparam("max_in_flight", type_=Integer)
        )
    )
    .returning(*(_TABLE.c[name] for name in _MADE))
)


def submit(session: Session, owner_id: UUID, request: Mapping[str, Any], *, max_in_flight: int) -> Backtest:
    """The queued backtest, in no session; its stored request has every default filled in.

    When the owner has `max_in_flight` backtests in flight already it waits, with no `dispatched_at`.

    `request` has the shape of `POST /backtests`; what only the engine knows (strategy, parameters, execution)
    is checked here.

    Raises:
        InvalidInput: with every wrong field, as a JSON pointer into the request; or the data is known to be
            degraded, and `data_policy` refuses that.
        NotFound: the owner has no such saved strategy, or it has no such version.
    """
    chosen, execution = request["strategy"], request.get("execution") or {}
    saved: dict[str, Any] = {}
    if "strategy_id" in chosen:
        chosen = resolve(session, owner_id, chosen)
        saved = {name: chosen[name] for name in ("strategy_id", "version")}
    errors: list[FieldError] = []
    strategy = _checked(errors, "/strategy", lambda: check_definition(chosen))
    filled = _checked(errors, "", lambda: Execution.from_mapping(execution))
    if strategy is not None and filled is not None:
        fitted = partial(fitting, filled, strategy, len(request["symbols"]))
        filled = _checked(errors, "", fitted)
    if errors or strategy is None or filled is None:
        raise InvalidInput("invalid_backtest", "The backtest can't run as asked: see errors.", errors)
    if request.get("data_policy") == "strict":
        moments = (_moment(request.get("start")), _moment(request.get("end")))
        reads = quality.stored_reads(session, request["symbols"], request["interval"], *moments)
        quality.refuse_degraded(session, reads)
    row = {
        "owner_id": owner_id,
        "request": {
            **request,
            "strategy": {**strategy, **saved},
            "execution": dict(vars(filled)),
        },
        "strategy": chosen.get("name", "rules"),
        "symbols": list(request["symbols"]),
        "tags": list(request.get("tags") or []),
    }
    if saved:
        row |= {"strategy_id": UUID(saved["strategy_id"]), "strategy_version": saved["version"]}
    places = {"owner": owner_id, "max_in_flight": max_in_flight}
    made = session.connection().execute(_INSERT, row | places).one()
    return jobs.copy_of(Backtest, row | made._asdict())


def fitting(execution: Execution, strategy: Definition, symbols: int) -> Execution:
    """The execution with the size that stands where none was given.

    Raises:
        InvalidInput: a field of it is not for this kind of strategy.
    """
    compiled = strategy_of(strategy)
    compiled.execution(execution, strategy["params"])
    return execution if compiled.weigh else replace(execution, size=execution.sized(symbols))


def _checked(errors: list[FieldError], prefix: str, check: Callable[[], Checked]) -> Checked | None:
    try:
        return check()
    except InvalidInput as error:
        errors += [FieldError(prefix + e.pointer, e.detail) for e in error.errors]
        return None


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


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
    revision: int | None = None,
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
    if revision is not None:
        stood = data_reads.stood_on(owner_id).where(DataRevision.id == revision).subquery()
        query = query.where(Backtest.id.in_(select(stood.c[1])))
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
    alerts.resolve_job(session, Backtest.__tablename__, backtest_id)
