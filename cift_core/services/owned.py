"""What users make and keep: strategies, models, trading accounts. Only their owner reads or changes them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from psycopg.errors import UniqueViolation
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cift_core.errors import Conflict, FieldError, NotFound
from cift_core.models import ModelConfig, OwnedColumns, TradingAccount, TradingStrategy
from cift_core.services.paging import newest_first

Owned = TypeVar("Owned", bound=OwnedColumns)
NOUNS: Mapping[type[OwnedColumns], str] = {
    TradingStrategy: "strategy",
    ModelConfig: "model",
    TradingAccount: "trading account",
}


def create(session: Session, row: Owned) -> Owned:
    """The row, now stored.

    Raises:
        Conflict: the owner has another of that name.
    """
    with _free_name(session, row):
        session.add(row)
    return row


def get(session: Session, model: type[Owned], owner_id: UUID, row_id: UUID, *, lock: bool = False) -> Owned:
    """The owner's row, as it stands in the database; `lock` keeps others from changing it meanwhile.

    Raises:
        NotFound: no such row of this owner.
    """
    query = select(model).where(model.id == row_id, model.owner_id == owner_id)
    if lock:
        query = query.with_for_update()
    found = session.scalar(query.execution_options(populate_existing=True))
    if found is None:
        raise not_found(model, row_id)
    return found


def page(
    session: Session,
    model: type[Owned],
    owner_id: UUID,
    *,
    created_after: datetime | None = None,
    cursor: str | None = None,
    limit: int,
    **equal: str | None,
) -> tuple[list[Owned], str | None]:
    """A page of the owner's rows with these values, newest first, and the next page's cursor or None.

    Raises:
        InvalidInput: the cursor is none of this list.
    """
    query = select(model).where(model.owner_id == owner_id)
    query = query.filter_by(**{name: value for name, value in equal.items() if value is not None})
    if created_after is not None:
        query = query.where(model.created_at > created_after)
    return newest_first(session, model, query, cursor, limit)


def change(
    session: Session,
    model: type[Owned],
    owner_id: UUID,
    row_id: UUID,
    values: Mapping[str, Any],
    check: Callable[[Owned], None],
) -> tuple[Owned, list[str]]:
    """The row with the new values, its version one higher, and the names of those that differ from before.

    Without a difference nothing is written. `check` sees the locked row first and may raise.

    Raises:
        NotFound: no such row of this owner.
        Conflict: the owner has another of the new name.
    """
    row = get(session, model, owner_id, row_id, lock=True)
    check(row)
    changed = sorted(name for name, value in values.items() if getattr(row, name) != value)
    if changed:
        with _free_name(session, row):
            for name in changed:
                setattr(row, name, values[name])
            row.version += 1
        session.refresh(row, ["updated_at"])
    return row, changed


def remove(session: Session, model: type[OwnedColumns], owner_id: UUID, row_id: UUID) -> None:
    """Remove the owner's row.

    Raises:
        NotFound: no such row of this owner.
    """
    removed = session.scalar(
        delete(model).where(model.id == row_id, model.owner_id == owner_id).returning(model.id)
    )
    if removed is None:
        raise not_found(model, row_id)


def not_found(model: type[OwnedColumns], row_id: UUID, fields: tuple[FieldError, ...] = ()) -> NotFound:
    """The error for an id that is nobody's or somebody else's: the two are not told apart."""
    noun = NOUNS[model]
    return NotFound(
        f"{noun.replace(' ', '_')}_not_found", f"You have no {noun} with the id {row_id}.", fields
    )


@contextmanager
def _free_name(session: Session, row: OwnedColumns) -> Iterator[None]:
    noun = NOUNS[type(row)]
    try:
        with session.begin_nested():
            yield
    except IntegrityError as error:
        if not isinstance(error.orig, UniqueViolation):
            raise
        detail = f"is the name of another {noun} of yours"
        raise Conflict("name_taken", f"The name {detail}.", [FieldError("/name", detail)]) from error
