"""Users and their passwords."""

from uuid import uuid4

import bcrypt
import pytest

from cift_core.errors import Conflict, InvalidInput, NotFound
from cift_core.services.users import create_user, user_by_email
from cift_core.stores import Stores

PASSWORD = "correct horse battery"


def test_the_address_is_kept_in_lower_case_and_the_password_hashed(stores: Stores) -> None:
    email = f"Ada.{uuid4()}@Example.ORG"
    with stores.postgres.transaction() as session:
        user = create_user(session, stores.settings, f" {email} ", PASSWORD, is_admin=True)
        assert user_by_email(session, email.upper()).id == user.id
    assert (user.email, user.is_admin, user.is_active) == (email.lower(), True, True)
    assert bcrypt.checkpw(PASSWORD.encode(), user.password_hash.encode())
    assert user.password_hash.split("$")[2] == f"{stores.settings.bcrypt_rounds:02d}"


def test_an_address_is_taken_once(stores: Stores) -> None:
    email = f"{uuid4()}@example.org"
    with stores.postgres.transaction() as session:
        create_user(session, stores.settings, email, PASSWORD)
    with pytest.raises(Conflict, match="already"), stores.postgres.transaction() as session:
        create_user(session, stores.settings, email.upper(), PASSWORD)


@pytest.mark.parametrize(
    "email", ["", "ada", "ada@", "@example.org", "a b@example.org", "a@b@c", "a@" + "x" * 254]
)
def test_what_is_no_address_is_refused(stores: Stores, email: str) -> None:
    with pytest.raises(InvalidInput) as raised, stores.postgres.transaction() as session:
        create_user(session, stores.settings, email, PASSWORD)
    assert [field.pointer for field in raised.value.errors] == ["/email"]


@pytest.mark.parametrize(
    ("password", "says"),
    [
        ("x" * 11, "at least 12"),
        ("x" * 73, "at most 72 bytes, has 73"),
        ("é" * 37, "has 74"),
        ("a\x00" * 9, "NUL"),
    ],
)
def test_a_password_is_never_cut(stores: Stores, password: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as raised, stores.postgres.transaction() as session:
        create_user(session, stores.settings, f"{uuid4()}@example.org", password)
    assert [field.pointer for field in raised.value.errors] == ["/password"]


def test_72_bytes_are_taken(stores: Stores) -> None:
    with stores.postgres.transaction() as session:
        user = create_user(session, stores.settings, f"{uuid4()}@example.org", "é" * 36)
    assert bcrypt.checkpw(("é" * 36).encode(), user.password_hash.encode())


def test_nobody_is_not_found(stores: Stores) -> None:
    with pytest.raises(NotFound, match="cift users create"), stores.postgres.transaction() as session:
        user_by_email(session, "nobody@example.org")
