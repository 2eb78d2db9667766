"""Accounts with brokers, as their owners see them: all but the credentials, which only go in."""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, undefer

from cift_core.errors import Conflict
from cift_core.models import TradingAccount
from cift_core.services import owned
from cift_core.services.credentials import Credentials, reseal, seal, unseal
from cift_core.settings import Settings

BATCH = 500


def create(
    session: Session, settings: Settings, owner_id: UUID, *, credentials: Credentials, **values: str
) -> TradingAccount:
    """A new account.

    Raises:
        Conflict: the owner has another of that name.
    """
    row_id = uuid4()
    row = TradingAccount(
        id=row_id,
        owner_id=owner_id,
        sealed_credentials=seal(settings, owner_id, row_id, credentials),
        credentials_changed_at=func.now(),
        **values,
    )
    owned.create(session, row)
    return owned.get(session, TradingAccount, owner_id, row_id)


def change(
    session: Session,
    settings: Settings,
    owner_id: UUID,
    account_id: UUID,
    values: Mapping[str, Any],
    check: Callable[[TradingAccount], None],
) -> tuple[TradingAccount, list[str]]:
    """The changed account, and the names of what changed, credentials always being so: see `owned.change`.

    Raises:
        NotFound: no such account of this owner.
        Conflict: the owner has another of the new name.
    """
    plain = {name: value for name, value in values.items() if name != "credentials"}
    row, changed = owned.change(session, TradingAccount, owner_id, account_id, plain, check)
    if "credentials" in values:
        row.sealed_credentials = seal(settings, owner_id, account_id, values["credentials"])
        row.credentials_changed_at = func.now()
        row.version += not changed
        changed = ["credentials", *changed]
        session.flush()
        session.refresh(row, ["updated_at", "credentials_changed_at"])
    return row, changed


def read_credentials(session: Session, settings: Settings, owner_id: UUID, account_id: UUID) -> Credentials:
    """The credentials of the owner's account, for a program that talks to the broker and for nobody else.

    Raises:
        NotFound: no such account of this owner.
        Conflict: no key opens them.
    """
    sealed = session.scalar(
        select(TradingAccount.sealed_credentials).where(
            TradingAccount.id == account_id, TradingAccount.owner_id == owner_id
        )
    )
    if sealed is None:
        raise owned.not_found(TradingAccount, account_id)
    return unseal(settings, owner_id, account_id, sealed)


def reencrypt(
    session: Session, settings: Settings, after: UUID | None
) -> tuple[int, list[UUID], UUID | None]:
    """Bring the next accounts after an id to the newest key: how many were not, which could not be opened,
    and the last id looked at, None at the end. No other column changes.
    """
    query = select(TradingAccount).options(undefer(TradingAccount.sealed_credentials))
    if after is not None:
        query = query.where(TradingAccount.id > after)
    rows = session.scalars(query.order_by(TradingAccount.id).limit(BATCH).with_for_update()).all()
    changed, unreadable = 0, []
    for row in rows:
        try:
            sealed = reseal(settings, row.owner_id, row.id, row.sealed_credentials)
        except Conflict:
            unreadable.append(row.id)
            continue
        if sealed is not None:
            changed += 1
            session.execute(
                update(TradingAccount)
                .where(TradingAccount.id == row.id)
                .values(sealed_credentials=sealed, updated_at=TradingAccount.updated_at)
                .execution_options(synchronize_session=False)
            )
    return changed, unreadable, rows[-1].id if rows else None
