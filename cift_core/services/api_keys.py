"""API keys: `cift_<key id>_<secret>`, of which only an HMAC is kept.

The secret is 43 random base62 characters (256.03 bits) and a tail of 6 that is the CRC-32 of all before it,
so a mistyped key is told from an attack without asking the database, and a leak scanner can find one.
The HMAC's key (the pepper) is HMAC-SHA-256(CIFT_SECRET_KEY, "cift api keys v1"): it is not in the database,
and other uses of the same secret get other keys by another label. Another CIFT_SECRET_KEY ends every key.
"""

import hashlib
import hmac
import re
import secrets
import string
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import bindparam, func, or_, select, update
from sqlalchemy.orm import Session

from cift_core.clock import utc_now
from cift_core.errors import FieldError, Forbidden, InvalidInput, Unauthenticated, did_you_mean
from cift_core.models import APIKey, User
from cift_core.settings import Settings

SCOPES = (
    "backtests:read",
    "backtests:write",
    "data:read",
    "data:write",
    "alerts:read",
    "alerts:write",
    "accounts:read",
    "accounts:write",
    "admin",
)
_ADMIN = frozenset({"admin"})
NAME_MAX_CHARS = 100
_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_PREFIX_CHARS, _RANDOM_CHARS, _CHECKSUM_CHARS = 12, 43, 6
_TOKEN = re.compile(
    rf"cift_([0-9A-Za-z]{{{_PREFIX_CHARS}}})_([0-9A-Za-z]{{{_RANDOM_CHARS}}})([0-9A-Za-z]{{{_CHECKSUM_CHARS}}})"
)
_TOUCH_EVERY = timedelta(minutes=1)
_keys, _users = APIKey.__table__.c, User.__table__.c
# built once, on the tables and not the classes: every request runs it
_BY_PREFIX = (
    select(
        _keys.id,
        _keys.user_id,
        _keys.secret_hmac,
        _keys.scopes,
        _keys.expires_at,
        _keys.revoked_at,
        _keys.last_used_at,
        _users.is_admin,
        _users.is_active,
    )
    .join_from(APIKey.__table__, User.__table__)
    .where(_keys.prefix == bindparam("prefix"))
)


@dataclass(frozen=True, slots=True)
class Principal:
    """Whose key it is and what it may do."""

    user_id: UUID
    key_id: UUID
    prefix: str
    scopes: frozenset[str]
    is_admin: bool


def create_key(
    session: Session,
    settings: Settings,
    user: User,
    *,
    name: str,
    scopes: Sequence[str],
    expires_at: datetime | None = None,
) -> tuple[APIKey, str]:
    """A new key and its text, which is shown here and never again.

    Raises:
        InvalidInput: with every wrong field.
        Forbidden: the scope `admin` for somebody who is not one.
    """
    errors = [*_name_errors(name), *_scope_errors(scopes)]
    if expires_at is not None and expires_at <= utc_now():
        errors.append(FieldError("/expires_at", "must be in the future"))
    if errors:
        raise InvalidInput("invalid_api_key", "; ".join(error.detail for error in errors), errors)
    if "admin" in scopes and not user.is_admin:
        raise Forbidden("not_an_admin", f"{user.email} is not an administrator and can't have an admin key.")
    prefix = _random(_PREFIX_CHARS)
    body = f"cift_{prefix}_{_random(_RANDOM_CHARS)}"
    token = body + _checksum(body)
    key = APIKey(
        user_id=user.id,
        prefix=prefix,
        name=name,
        secret_hmac=_secret_hmac(settings, token),
        scopes=sorted(set(scopes)),
        expires_at=expires_at,
    )
    session.add(key)
    session.flush()
    return key, token


def authenticate(session: Session, settings: Settings, token: str) -> Principal:
    """Who the key belongs to. One query; nothing is cached, so a revocation works at once.

    Raises:
        Unauthenticated: with a code that says whether it is mistyped, unknown, revoked or expired. A wrong
            secret is answered like an unknown key.
    """
    prefix = key_prefix(token)
    found = session.connection().execute(_BY_PREFIX, {"prefix": prefix}).one_or_none()
    expected = found.secret_hmac if found is not None else bytes(hashlib.sha256().digest_size)
    if (
        not hmac.compare_digest(_secret_hmac(settings, token), expected)
        or found is None
        or not found.is_active
    ):
        raise Unauthenticated("unknown_key", "There is no such API key.")
    now = utc_now()
    if found.revoked_at is not None:
        raise Unauthenticated("revoked_key", f"The API key {prefix} was revoked; use another.")
    if found.expires_at is not None and found.expires_at <= now:
        raise Unauthenticated("expired_key", f"The API key {prefix} has expired; use another.")
    if found.last_used_at is None or found.last_used_at < now - _TOUCH_EVERY:
        _touch(session, found.id)
    # who is no administrator any more keeps the key, not the scope
    scopes = frozenset(found.scopes) - (frozenset() if found.is_admin else _ADMIN)
    return Principal(found.user_id, found.id, prefix, scopes, found.is_admin)


def key_prefix(token: str) -> str:
    """The `<key id>` of a well-formed key.

    Raises:
        Unauthenticated: it has another form, or its checksum says that it was mistyped.
    """
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise Unauthenticated(
            "malformed_key", "This is not an API key: one looks like cift_<key id>_<secret>."
        )
    prefix, _, checksum = match.groups()
    if not hmac.compare_digest(_checksum(token[:-_CHECKSUM_CHARS]), checksum):
        raise Unauthenticated("mistyped_key", "The API key is mistyped or cut: its checksum does not match.")
    return prefix


def _touch(session: Session, key_id: UUID) -> None:
    stale = func.now() - _TOUCH_EVERY
    session.execute(
        update(APIKey)
        .where(APIKey.id == key_id, or_(APIKey.last_used_at.is_(None), APIKey.last_used_at < stale))
        .values(last_used_at=func.now(), updated_at=APIKey.updated_at)
        .execution_options(synchronize_session=False)
    )


def _secret_hmac(settings: Settings, token: str) -> bytes:
    pepper = hmac.digest(settings.secret_key.encode(), b"cift api keys v1", "sha256")
    return hmac.digest(pepper, token.encode(), "sha256")


def _random(length: int) -> str:
    return "".join(secrets.choice(_BASE62) for _ in range(length))


def _checksum(text: str) -> str:
    value, digits = zlib.crc32(text.encode()), ""
    for _ in range(_CHECKSUM_CHARS):
        value, digit = divmod(value, len(_BASE62))
        digits = _BASE62[digit] + digits
    return digits


def _name_errors(name: str) -> list[FieldError]:
    if not name.strip() or len(name) > NAME_MAX_CHARS or not name.isprintable():
        return [FieldError("/name", f"must have 1 to {NAME_MAX_CHARS} printable characters")]
    return []


def _scope_errors(scopes: Sequence[str]) -> list[FieldError]:
    if not scopes:
        return [FieldError("/scopes", f"must name at least one of {', '.join(SCOPES)}")]
    return [
        FieldError(f"/scopes/{place}", f"unknown scope {scope!r}{did_you_mean(scope, SCOPES)}")
        for place, scope in enumerate(scopes)
        if scope not in SCOPES
    ]
