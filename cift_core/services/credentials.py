"""Brokers' credentials: encrypted for one row of one owner, opened only as that.

Each row has keys of its own, derived from CIFT_ENCRYPTION_KEYS, the owner's id and the row's: a ciphertext
that is moved to another row or owner does not open there. The newest key encrypts, every key decrypts.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cift_core.errors import Conflict
from cift_core.settings import Settings

_PURPOSE = b"cift trading account credentials v1"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Names and secret texts; `repr` shows none of them."""

    values: Mapping[str, str] = field(repr=False)


def seal(settings: Settings, owner_id: UUID, row_id: UUID, credentials: Credentials) -> bytes:
    """The credentials, encrypted with the newest key for this row of this owner."""
    plain = json.dumps(dict(credentials.values), separators=(",", ":"))
    return MultiFernet(_keys(settings, owner_id, row_id)).encrypt(plain.encode())


def unseal(settings: Settings, owner_id: UUID, row_id: UUID, sealed: bytes) -> Credentials:
    """What was sealed for this row of this owner.

    Raises:
        Conflict: it was changed, or sealed for another row or owner, or with a key that is gone.
    """
    try:
        return Credentials(json.loads(MultiFernet(_keys(settings, owner_id, row_id)).decrypt(sealed)))
    except InvalidToken as error:
        raise _unreadable(row_id) from error


def reseal(settings: Settings, owner_id: UUID, row_id: UUID, sealed: bytes) -> bytes | None:
    """The same, encrypted with the newest key; None when it is already.

    Raises:
        Conflict: see `unseal`.
    """
    keys = _keys(settings, owner_id, row_id)
    try:
        keys[0].decrypt(sealed)
    except InvalidToken:
        pass
    else:
        return None
    try:
        return MultiFernet(keys).rotate(sealed)
    except InvalidToken as error:
        raise _unreadable(row_id) from error


def _keys(settings: Settings, owner_id: UUID, row_id: UUID) -> list[Fernet]:
    info = b"\0".join((_PURPOSE, owner_id.bytes, row_id.bytes))
    keys = (base64.urlsafe_b64decode(key) for key in settings.encryption_keys)
    derived = (HKDF(SHA256(), 32, salt=None, info=info).derive(key) for key in keys)
    return [Fernet(base64.urlsafe_b64encode(key)) for key in derived]


def _unreadable(row_id: UUID) -> Conflict:
    return Conflict(
        "credentials_unreadable",
        f"No key of CIFT_ENCRYPTION_KEYS opens the credentials of the trading account {row_id}: its owner "
        "must send them again, or the key they were encrypted with must come back.",
    )
