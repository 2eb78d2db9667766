"""API keys: how they are made, kept and checked. (Over HTTP: tests/web/test_auth.py.)"""

import hashlib
import hmac
import math
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cift_core.clock import utc_now
from cift_core.errors import Forbidden, InvalidInput, Unauthenticated
from cift_core.models import APIKey, User
from cift_core.services.api_keys import authenticate, create_key, key_prefix
from cift_core.stores import Stores

# made once by create_key; the checksum's algorithm may never change
KNOWN = "cift_8PRf0cX6ENQQ_JKloh4MwTWkblJG8CPmEnipdIga0wbZBqvx3VUkNR103lBAeS"


def make(stores: Stores, owner_id: UUID, **options: Any) -> tuple[APIKey, str]:
    values: dict[str, Any] = {"name": "n", "scopes": ["data:read"]} | options
    with stores.postgres.transaction() as session:
        user = session.get_one(User, owner_id)
        return create_key(session, stores.settings, user, **values)


def test_a_key_has_its_form_and_256_bits(stores: Stores, owner_id: UUID) -> None:
    key, token = make(stores, owner_id)
    match = re.fullmatch(r"cift_([0-9A-Za-z]{12})_([0-9A-Za-z]{43})([0-9A-Za-z]{6})", token)
    assert match is not None
    assert match[1] == key.prefix == key_prefix(token)
    assert len(match[2]) * math.log2(62) >= 256
    assert make(stores, owner_id)[1] != token


def test_the_pepper_is_derived_as_documented(stores: Stores, owner_id: UUID) -> None:
    key, token = make(stores, owner_id)
    secret = stores.settings.secret_key.encode()
    pepper = hmac.new(secret, b"cift api keys v1", hashlib.sha256).digest()
    assert key.secret_hmac == hmac.new(pepper, token.encode(), hashlib.sha256).digest()


def test_a_key_tells_whose_it_is(stores: Stores, owner_id: UUID) -> None:
    key, token = make(stores, owner_id, scopes=["data:read", "data:read", "backtests:read"])
    with stores.postgres.transaction() as session:
        principal = authenticate(session, stores.settings, token)
    assert (principal.user_id, principal.key_id) == (owner_id, key.id)
    assert principal.scopes == {"data:read", "backtests:read"}
    assert key.scopes == ["backtests:read", "data:read"]


def test_another_server_secret_ends_every_key(stores: Stores, owner_id: UUID) -> None:
    _, token = make(stores, owner_id)
    other = replace(stores.settings, secret_key="0123456789abcdefghijklmnopqrstuvwxyz")
    with pytest.raises(Unauthenticated, match="no such"), stores.postgres.transaction() as session:
        authenticate(session, other, token)


def test_a_known_key_keeps_its_checksum() -> None:
    assert key_prefix(KNOWN) == "8PRf0cX6ENQQ"


@given(st.integers(5, len(KNOWN) - 1), st.characters(codec="ascii", categories=["L", "Nd"]))
def test_any_one_mistyped_character_is_noticed(place: int, letter: str) -> None:
    token = KNOWN[:place] + letter + KNOWN[place + 1 :]
    if token == KNOWN:
        assert key_prefix(token)
        return
    with pytest.raises(Unauthenticated) as raised:
        key_prefix(token)
    assert raised.value.code == ("malformed_key" if place == KNOWN.rindex("_") else "mistyped_key")


@given(st.text(max_size=80))
def test_rubbish_is_no_key(text: str) -> None:
    with pytest.raises(Unauthenticated):
        key_prefix(text)


@pytest.mark.parametrize(
    ("options", "pointer", "says"),
    [
        ({"name": " "}, "/name", "1 to 100"),
        ({"name": "x" * 101}, "/name", "1 to 100"),
        ({"name": "a\nb"}, "/name", "printable"),
        ({"scopes": []}, "/scopes", "at least one of backtests:read"),
        ({"scopes": ["data:read", "data:wriet"]}, "/scopes/1", 'did you mean "data:write"'),
        ({"expires_at": utc_now() - timedelta(seconds=1)}, "/expires_at", "future"),
    ],
)
def test_a_wrong_field_is_named(
    stores: Stores, owner_id: UUID, options: dict[str, Any], pointer: str, says: str
) -> None:
    with pytest.raises(InvalidInput, match=says) as raised:
        make(stores, owner_id, **options)
    assert [field.pointer for field in raised.value.errors] == [pointer]


def test_an_admin_scope_needs_an_admin(stores: Stores, owner_id: UUID) -> None:
    with pytest.raises(Forbidden, match="administrator"):
        make(stores, owner_id, scopes=["admin"])
