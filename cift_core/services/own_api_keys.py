"""A user's own API keys, managed with one of them: listed, renamed, ended, and made, never more powerful."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, func, or_, select
from sqlalchemy.orm import Session

from cift_core.clock import utc_now
from cift_core.errors import FieldError, Forbidden, InvalidInput, NotFound
from cift_core.models import APIKey, User
from cift_core.services.api_keys import Principal, create_key
from cift_core.services.paging import newest_first
from cift_core.settings import Settings

KEY_STATES = ("active", "expired", "revoked")


def create(
    session: Session,
    settings: Settings,
    principal: Principal,
    *,
    name: str,
    scopes: Sequence[str],
    expires_at: datetime | None,
) -> tuple[APIKey, str]:
    """A new key of the principal's user, and its text; it ends when the principal's own key does, or before.

    Raises:
        InvalidInput: with every wrong field.
        Forbidden: a scope that the principal's own key does not have.
    """
    own = get(session, principal.user_id, principal.key_id)
    if own.expires_at is not None and expires_at is not None and expires_at > own.expires_at:
        detail = "must not be after the end of the key in use; leave it out to get that"
        raise InvalidInput("invalid_api_key", f"expires_at {detail}", [FieldError("/expires_at", detail)])
    user = session.get_one(User, principal.user_id)
    key, token = create_key(
        session, settings, user, name=name, scopes=scopes, expires_at=expires_at or own.expires_at
    )
    wider = [
        FieldError(f"/scopes/{place}", f"the key in use does not have {scope} itself")
        for place, scope in enumerate(scopes)
        if scope not in principal.scopes
    ]
    if wider:
        raise Forbidden("wider_scopes", "A key can't make one that may do more than itself.", wider)
    return key, token


def list_keys(
    session: Session,
    user_id: UUID,
    *,
    status: str | None = None,
    created_after: datetime | None = None,
    cursor: str | None = None,
    limit: int,
) -> tuple[list[APIKey], str | None]:
    """A page of the user's keys, newest first, and the cursor of the next page or None.

    Raises:
        InvalidInput: the cursor is none of this list.
    """
    query = select(APIKey).where(APIKey.user_id == user_id)
    if status is not None:
        query = query.where(_in_state(status))
    if created_after is not None:
        query = query.where(APIKey.created_at > created_after)
    return newest_first(session, APIKey, query, cursor, limit)


def get(session: Session, user_id: UUID, key_id: UUID, *, lock: bool = False) -> APIKey:
    """The user's key, as it stands in the database.

    Raises:
        NotFound: no such key of this user.
    """
    query = select(APIKey).where(APIKey.id == key_id, APIKey.user_id == user_id)
    if lock:
        query = query.with_for_update()
    found = session.scalar(query.execution_options(populate_existing=True))
    if found is None:
        raise _not_found(key_id)
    return found


def rename(session: Session, user_id: UUID, key_id: UUID, name: str) -> APIKey:
    """The user's key under its new name.

    Raises:
        NotFound: no such key of this user.
    """
    key = get(session, user_id, key_id, lock=True)
    key.name = name
    session.flush()
    return key


def revoke(session: Session, user_id: UUID, key_id: UUID) -> APIKey:
    """The user's key, which holds no more from the end of this unit of work. Idempotent.

    Raises:
        NotFound: no such key of this user.
    """
    key = get(session, user_id, key_id, lock=True)
    if key.revoked_at is None:
        key.revoked_at = utc_now()
        session.flush()
    return key


def remove(session: Session, user_id: UUID, key_id: UUID) -> str:
    """The prefix of the user's key, removed: it holds no more from the end of this unit of work.

    Raises:
        NotFound: no such key of this user.
    """
    prefix: str | None = session.scalar(
        delete(APIKey).where(APIKey.id == key_id, APIKey.user_id == user_id).returning(APIKey.prefix)
    )
    if prefix is None:
        raise _not_found(key_id)
    return prefix


def state_of(key: APIKey) -> str:
    """One of `KEY_STATES`; a key that was revoked and has expired is revoked."""
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= utc_now() else "active"


def _in_state(status: str) -> ColumnElement[bool]:
    revoked, expired = APIKey.revoked_at.is_not(None), APIKey.expires_at <= func.now()
    if status == "revoked":
        return revoked
    if status == "expired":
        return and_(~revoked, expired)
    return and_(~revoked, or_(APIKey.expires_at.is_(None), ~expired))


def _not_found(key_id: UUID) -> NotFound:
    return NotFound("api_key_not_found", f"You have no API key with the id {key_id}.")
