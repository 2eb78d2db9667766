"""People who use the service."""

import re
from datetime import datetime
from uuid import UUID

import bcrypt
from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cift_core.errors import Conflict, FieldError, InvalidInput, NotFound
from cift_core.models import User
from cift_core.services.paging import newest_first
from cift_core.settings import Settings

PASSWORD_MIN_CHARS = 12
PASSWORD_MAX_BYTES = 72  # bcrypt looks at no more
EMAIL_MAX_CHARS = 254
_EMAIL = re.compile(r"[^@\s\x00-\x1f]{1,64}@[^@\s\x00-\x1f.]+(\.[^@\s\x00-\x1f.]+)*")


def create_user(
    session: Session, settings: Settings, email: str, password: str, *, is_admin: bool = False
) -> User:
    """A new user; the address is kept in lower case and the password as a bcrypt hash.

    Raises:
        InvalidInput: with every wrong field.
        Conflict: the address is taken.
    """
    address = email.strip().lower()
    errors = [*_email_errors(address), *_password_errors(password)]
    if errors:
        raise InvalidInput("invalid_user", "; ".join(error.detail for error in errors), errors)
    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(settings.bcrypt_rounds)).decode()
    user: User | None = session.scalar(
        insert(User)
        .values(email=address, password_hash=hashed, is_admin=is_admin)
        .on_conflict_do_nothing(index_elements=[User.email])
        .returning(User)
    )
    if user is None:
        raise Conflict(
            "email_taken", f"There already is a user {address}.", [FieldError("/email", "is taken")]
        )
    return user


def user_by_email(session: Session, email: str) -> User:
    """The user with this address.

    Raises:
        NotFound: there is none.
    """
    address = email.strip().lower()
    user = session.scalar(select(User).where(User.email == address))
    if user is None:
        raise NotFound("user_not_found", f"There is no user {address}; make one with `cift users create`.")
    return user


def list_users(
    session: Session,
    *,
    email: str | None = None,
    status: str | None = None,
    created_after: datetime | None = None,
    cursor: str | None = None,
    limit: int,
) -> tuple[list[User], str | None]:
    """A page of all users (`status` active or disabled), newest first, and the next page's cursor or None.

    Raises:
        InvalidInput: the cursor is none of this list.
    """
    query = select(User)
    if email is not None:
        query = query.where(User.email == email.strip().lower())
    if status is not None:
        query = query.where(User.is_active.is_(status == "active"))
    if created_after is not None:
        query = query.where(User.created_at > created_after)
    return newest_first(session, User, query, cursor, limit)


def get_user(session: Session, user_id: UUID, *, lock: bool = False) -> User:
    """The user, as they stand in the database.

    Raises:
        NotFound: there is none.
    """
    query = select(User).where(User.id == user_id)
    if lock:
        query = query.with_for_update()
    user = session.scalar(query.execution_options(populate_existing=True))
    if user is None:
        raise NotFound("user_not_found", f"There is no user with the id {user_id}.")
    return user


def set_active(session: Session, admin_id: UUID, user_id: UUID, is_active: bool) -> User:
    """The user, whose keys hold or don't from the end of this unit of work. Idempotent.

    Raises:
        NotFound: there is none.
        Conflict: an administrator's own account.
    """
    user = get_user(session, user_id, lock=True)
    if not is_active:
        _refuse_own(admin_id, user_id)
    if user.is_active != is_active:
        user.is_active = is_active
        session.flush()
        session.refresh(user, ["updated_at"])
    return user


def remove_user(session: Session, admin_id: UUID, user_id: UUID) -> None:
    """Remove the user and all they own; the audit trail stays.

    Raises:
        NotFound: there is none.
        Conflict: an administrator's own account.
    """
    _refuse_own(admin_id, user_id)
    if session.scalar(delete(User).where(User.id == user_id).returning(User.id)) is None:
        raise NotFound("user_not_found", f"There is no user with the id {user_id}.")


def _refuse_own(admin_id: UUID, user_id: UUID) -> None:
    if admin_id == user_id:
        raise Conflict("own_account", "This is your own account: another administrator has to do it.")


def _email_errors(address: str) -> list[FieldError]:
    if len(address) > EMAIL_MAX_CHARS or not _EMAIL.fullmatch(address):
        return [FieldError("/email", f"{address!r} is not an e-mail address, such as ada@example.org")]
    return []


def _password_errors(password: str) -> list[FieldError]:
    size = len(password.encode())
    if len(password) < PASSWORD_MIN_CHARS:
        return [FieldError("/password", f"must have at least {PASSWORD_MIN_CHARS} characters")]
    if size > PASSWORD_MAX_BYTES:
        return [FieldError("/password", f"must have at most {PASSWORD_MAX_BYTES} bytes, has {size}")]
    if "\x00" in password:
        return [FieldError("/password", "must not contain the character NUL")]
    return []
