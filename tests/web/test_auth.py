"""API keys over HTTP: who is let in, who is not, and what the trail says of it."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import event, func, select, update

from cift_core.logs import configure_logs
from cift_core.models import APIKey, AuditLog, User
from cift_core.services import api_keys
from cift_core.settings import Settings
from cift_core.stores import Stores
from cift_web.app import create_app
from tests.web.conftest import BACKTEST, Client, MakeClient, close

ME = "/api/v1/me"
Trail = Callable[..., list[AuditLog]]


@contextmanager
def statements(client: Client) -> Iterator[list[str]]:
    """The SQL that the app sends meanwhile."""
    with client.app.app_context():
        engine = client.app.extensions["sqlalchemy"].engine
    sent: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)


def change_key(stores: Stores, client: Client, **values: Any) -> None:
    with stores.postgres.transaction() as session:
        session.execute(update(APIKey).where(APIKey.user_id == client.user_id).values(**values))


def code_of(client: Client, path: str = ME, **options: Any) -> tuple[int, str]:
    response = client.get(path, **options)
    return response.status_code, response.json.get("code")


def test_me_tells_who_and_which_key(alice: Client) -> None:
    me = alice.get(ME).json
    assert me["id"] == str(alice.user_id)
    assert me["key"]["prefix"] == alice.token.split("_")[1]
    assert alice.token.split("_")[2] not in str(me)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic YTpi", "bearertoken"])
def test_no_key_is_401(charlie: Client, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    response = charlie.get(ME, headers=headers)
    assert (response.status_code, response.json["code"]) == (401, "no_key")
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="cift"'


@pytest.mark.parametrize("token", ["hello", "cift_abc_def", "cift_" + "é" * 12 + "_" + "x" * 49])
def test_what_is_no_key_is_told(charlie: Client, token: str) -> None:
    response = charlie.get(ME, headers={"Authorization": f"Bearer {token}"})
    assert (response.status_code, response.json["code"]) == (401, "malformed_key")
    assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]


def test_a_mistyped_key_is_told_without_a_look_up(alice: Client, charlie: Client) -> None:
    swapped = alice.token[:-1] + ("0" if alice.token[-1] != "0" else "1")
    with statements(alice) as sent:
        status = code_of(charlie, headers={"Authorization": f"Bearer {swapped}"})
    assert status == (401, "mistyped_key")
    assert not [statement for statement in sent if "api_keys" in statement]


def test_a_wrong_secret_is_answered_like_an_unknown_key(stores: Stores, alice: Client, bob: Client) -> None:
    change_key(stores, alice, secret_hmac=b"\x00" * 32)
    with stores.postgres.transaction() as session:
        session.execute(update(APIKey).where(APIKey.user_id == bob.user_id).values(prefix=uuid4().hex[:12]))
    assert alice.get(ME).json["detail"] == bob.get(ME).json["detail"]
    assert code_of(alice) == code_of(bob) == (401, "unknown_key")


def test_revocation_works_at_once(stores: Stores, alice: Client) -> None:
    assert alice.get(ME).status_code == 200
    change_key(stores, alice, revoked_at=func.now())
    assert code_of(alice) == (401, "revoked_key")


def test_an_expired_key_is_401(stores: Stores, alice: Client) -> None:
    change_key(stores, alice, expires_at=func.now() + timedelta(hours=1))
    assert alice.get(ME).status_code == 200
    change_key(stores, alice, expires_at=func.now() - timedelta(seconds=1))
    assert code_of(alice) == (401, "expired_key")


def test_the_key_of_somebody_inactive_is_401(stores: Stores, alice: Client) -> None:
    with stores.postgres.transaction() as session:
        session.execute(update(User).where(User.id == alice.user_id).values(is_active=False))
    assert code_of(alice) == (401, "unknown_key")


def test_a_missing_scope_is_403_and_named(make_client: MakeClient) -> None:
    response = make_client("data:read").post("/api/v1/backtests", json=BACKTEST)
    assert (response.status_code, response.json["code"]) == (403, "missing_scope")
    assert "backtests:write" in response.json["detail"]
    assert 'error="insufficient_scope"' in response.headers["WWW-Authenticate"]


def test_last_used_is_written_once_a_minute(stores: Stores, alice: Client) -> None:
    alice.get(ME)
    with statements(alice) as sent:
        for _ in range(3):
            alice.get(ME)
    assert not [statement for statement in sent if statement.startswith("UPDATE")]
    change_key(stores, alice, last_used_at=func.now() - timedelta(seconds=61))
    with statements(alice) as sent:
        alice.get(ME)
    assert len([statement for statement in sent if statement.startswith("UPDATE")]) == 1


def test_a_request_costs_one_query_for_its_key(alice: Client) -> None:
    alice.get(ME)
    with statements(alice) as sent:
        alice.post("/api/v1/backtests", json=BACKTEST)
    kinds = [statement.split()[0] for statement in sent]
    assert kinds == ["SELECT", "INSERT", "INSERT"]


def test_failed_authentication_is_audited(alice: Client, charlie: Client, trail: Trail) -> None:
    agent = f"agent-{uuid4()}"
    charlie.get(ME, headers={"User-Agent": agent, "X-Request-ID": "r-1"})
    charlie.get(ME, headers={"User-Agent": agent, "Authorization": f"Bearer {alice.token[:-2]}"})
    none, bad = trail(user_agent=agent)
    assert (none.result, none.details["code"], none.request_id) == ("refused", "no_key", "r-1")
    assert (bad.details["code"], bad.user_id, bad.ip) == ("malformed_key", None, "127.0.0.1")
    assert alice.token not in str(bad.details)


def test_a_stolen_prefix_is_audited(stores: Stores, alice: Client, trail: Trail) -> None:
    change_key(stores, alice, secret_hmac=b"\x01" * 32)
    alice.get(ME)
    (row,) = trail(key_prefix=alice.token.split("_")[1])
    assert (row.user_id, row.details["code"]) == (None, "unknown_key")


def test_changes_and_refusals_are_audited_with_the_change(alice: Client, trail: Trail) -> None:
    made = alice.post("/api/v1/backtests", json=BACKTEST, headers={"X-Request-ID": "made"}).json["id"]
    alice.delete(f"/api/v1/backtests/{made}")
    alice.post(f"/api/v1/backtests/{made}/cancel")
    alice.delete(f"/api/v1/backtests/{made}")
    alice.post("/api/v1/backtests", json={})
    alice.get(f"/api/v1/backtests/{made}")
    rows = [(row.action, row.resource_id, row.result) for row in trail(user_id=alice.user_id)]
    assert rows == [
        ("submit_backtest", made, "done"),
        ("delete_backtest", made, "refused"),
        ("cancel_backtest", made, "done"),
        ("delete_backtest", made, "done"),
        ("submit_backtest", None, "refused"),
    ]
    first = trail(user_id=alice.user_id)[0]
    assert (first.request_id, first.key_prefix) == ("made", alice.token.split("_")[1])


def test_only_an_hmac_is_stored(stores: Stores, alice: Client) -> None:
    secret = alice.token.rpartition("_")[2]
    with stores.postgres.transaction() as session:
        key = session.scalars(select(APIKey).where(APIKey.user_id == alice.user_id)).one()
    assert len(key.secret_hmac) == 32
    assert secret.encode() not in key.secret_hmac
    assert secret not in repr(vars(key))


def test_the_log_has_a_line_a_request_and_no_key(
    settings: Settings, alice: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    app = create_app(replace(settings, log_level="info"))
    try:
        Client(app, alice.token).get(ME, headers={"X-Request-ID": "logged"})
    finally:
        configure_logs(settings.log_level, settings.log_format)
        close(app)
    (line,) = [json.loads(line) for line in capsys.readouterr().err.splitlines() if "logged" in line]
    expected = {"method": "GET", "path": ME, "status": 200, "ip": "127.0.0.1", "request_id": "logged"}
    assert line.items() >= expected.items()
    assert line["key"] == api_keys.key_prefix(alice.token)
    assert alice.token.rpartition("_")[2] not in str(line)


def test_forty_requests_at_once_fit_the_pool(alice: Client) -> None:
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda: statuses.append(alice.get(ME).status_code)) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 40
