"""Brokers' credentials: opened only as the row and owner they were sealed for, with any key still there."""

import base64
import pickle
import secrets
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import undefer

from cift_core.errors import Conflict
from cift_core.models import TradingAccount, User
from cift_core.services import owned, trading_accounts
from cift_core.services.credentials import Credentials, reseal, seal, unseal
from cift_core.settings import Settings
from cift_core.stores import Stores

SECRET = "s3cr3t-of-the-broker"
GIVEN = Credentials({"api_key": "key", "api_secret": SECRET, "é": '"\\\n'})
OWNER, ROW = uuid4(), uuid4()


def new_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def test_what_is_sealed_can_be_opened(settings: Settings) -> None:
    sealed = seal(settings, OWNER, ROW, GIVEN)
    assert unseal(settings, OWNER, ROW, sealed) == GIVEN
    assert SECRET.encode() not in sealed
    assert seal(settings, OWNER, ROW, GIVEN) != sealed


def test_no_repr_shows_a_secret(settings: Settings) -> None:
    assert SECRET not in repr(GIVEN)
    assert SECRET not in str([GIVEN])
    assert SECRET not in repr(TradingAccount(sealed_credentials=seal(settings, OWNER, ROW, GIVEN)))


@pytest.mark.parametrize(("owner", "row"), [(uuid4(), ROW), (OWNER, uuid4()), (ROW, OWNER)])
def test_it_opens_for_no_other_row_or_owner(settings: Settings, owner: UUID, row: UUID) -> None:
    with pytest.raises(Conflict, match=str(row)):
        unseal(settings, owner, row, seal(settings, OWNER, ROW, GIVEN))


def test_one_changed_bit_is_noticed(settings: Settings) -> None:
    sealed = bytearray(base64.urlsafe_b64decode(seal(settings, OWNER, ROW, GIVEN)))
    for place in (0, 5, 20, len(sealed) // 2, len(sealed) - 1):
        changed = sealed.copy()
        changed[place] ^= 1
        with pytest.raises(Conflict) as raised:
            unseal(settings, OWNER, ROW, base64.urlsafe_b64encode(changed))
        assert SECRET not in str(raised.value) + repr(pickle.dumps(raised.value))


def test_the_newest_key_encrypts_and_every_key_decrypts(settings: Settings) -> None:
    old, new = new_key(), new_key()
    before, both, after = (replace(settings, encryption_keys=keys) for keys in ((old,), (new, old), (new,)))
    sealed = seal(before, OWNER, ROW, GIVEN)
    assert unseal(both, OWNER, ROW, sealed) == GIVEN
    with pytest.raises(Conflict):
        unseal(after, OWNER, ROW, sealed)
    moved = reseal(both, OWNER, ROW, sealed)
    assert moved is not None
    assert unseal(after, OWNER, ROW, moved) == GIVEN
    assert reseal(both, OWNER, ROW, moved) is None
    with pytest.raises(Conflict):
        unseal(before, OWNER, ROW, moved)
    with pytest.raises(Conflict):
        reseal(after, OWNER, ROW, sealed)


def make(stores: Stores, settings: Settings, owner_id: UUID) -> TradingAccount:
    with stores.postgres.transaction() as session:
        return trading_accounts.create(
            session, settings, owner_id, name=uuid4().hex, description="", broker="b", credentials=GIVEN
        )


@pytest.fixture
def other_id(stores: Stores) -> UUID:
    """Another user."""
    with stores.postgres.transaction() as session:
        session.add(user := User(email=f"{uuid4()}@example.com", password_hash="-"))
    return user.id


def sealed_of(stores: Stores, account_id: UUID) -> tuple[bytes, object]:
    with stores.postgres.transaction() as session:
        row = session.scalars(
            select(TradingAccount)
            .where(TradingAccount.id == account_id)
            .options(undefer(TradingAccount.sealed_credentials))
        ).one()
        return row.sealed_credentials, row.updated_at


def remove(stores: Stores, owner_id: UUID, account_id: UUID) -> None:
    with stores.postgres.transaction() as session:
        owned.remove(session, TradingAccount, owner_id, account_id)


def read(stores: Stores, settings: Settings, owner_id: UUID, account_id: UUID) -> Credentials:
    with stores.postgres.transaction() as session:
        return trading_accounts.read_credentials(session, settings, owner_id, account_id)


def test_a_ciphertext_moved_to_another_row_does_not_open(
    stores: Stores, settings: Settings, owner_id: UUID
) -> None:
    mine, other = make(stores, settings, owner_id), make(stores, settings, owner_id)
    assert read(stores, settings, owner_id, mine.id) == GIVEN
    with stores.postgres.transaction() as session:
        stolen, _ = sealed_of(stores, mine.id)
        session.execute(
            update(TradingAccount).where(TradingAccount.id == other.id).values(sealed_credentials=stolen)
        )
    with pytest.raises(Conflict, match="No key"):
        read(stores, settings, owner_id, other.id)
    remove(stores, owner_id, other.id)


def test_a_row_given_to_another_owner_does_not_open(
    stores: Stores, settings: Settings, owner_id: UUID, other_id: UUID
) -> None:
    mine = make(stores, settings, owner_id)
    with stores.postgres.transaction() as session:
        session.execute(update(TradingAccount).where(TradingAccount.id == mine.id).values(owner_id=other_id))
    with pytest.raises(Conflict, match="No key"):
        read(stores, settings, other_id, mine.id)
    remove(stores, other_id, mine.id)


def test_rotation_moves_every_row_once_and_changes_nothing_else(
    stores: Stores, settings: Settings, owner_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trading_accounts, "BATCH", 2)
    rows = [make(stores, settings, owner_id) for _ in range(5)]
    before = {row.id: sealed_of(stores, row.id) for row in rows}
    rotated = replace(settings, encryption_keys=(new_key(), *settings.encryption_keys))

    def all_rows() -> int:
        total, last = 0, None
        while True:
            with stores.postgres.transaction() as session:
                count, unreadable, last = trading_accounts.reencrypt(session, rotated, last)
            assert not {row.id for row in rows} & set(unreadable)
            total += count
            if last is None:
                return total

    assert all_rows() >= 5
    assert all_rows() == 0
    newest = replace(settings, encryption_keys=rotated.encryption_keys[:1])
    for row in rows:
        sealed, updated_at = sealed_of(stores, row.id)
        assert (sealed != before[row.id][0], updated_at) == (True, before[row.id][1])
        assert read(stores, newest, owner_id, row.id) == GIVEN
    # back, for the tests that come after
    back = replace(settings, encryption_keys=(*settings.encryption_keys, rotated.encryption_keys[0]))
    rotated = back
    assert all_rows() >= 5
