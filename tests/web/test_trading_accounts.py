"""Trading accounts over HTTP: the credentials are looked for wherever they could leak."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, text

from cift_core.logs import configure_logs
from cift_core.models import AuditLog, TradingAccount
from cift_core.services.trading_accounts import read_credentials
from cift_core.settings import Settings
from cift_core.stores import Stores
from cift_web.app import create_app
from tests.web.conftest import Client, close
from tests.web.test_cli import cift

ACCOUNTS = "/api/v1/trading-accounts"
SECRET = "hunter2-7f3a9c"
CREDENTIALS = {"api_key": "public-part", "api_secret": SECRET}


def body(**values: Any) -> dict[str, Any]:
    return {"name": uuid4().hex, "broker": "binance", "credentials": CREDENTIALS, **values}


def as_json(value: Any) -> dict[str, str]:
    """A request body in ASCII, where also half of a surrogate pair can be written."""
    return {"data": json.dumps(value), "content_type": "application/json"}


def make(client: Client, **values: Any) -> Any:
    return client.post(ACCOUNTS, **as_json(body(**values)))


def test_credentials_go_in_and_never_out(
    stores: Stores, alice: Client, trail: Callable[..., list[AuditLog]]
) -> None:
    made = make(alice)
    path = made.json["links"]["self"]
    changed = alice.patch(path, json={"credentials": {"api_secret": SECRET + "2"}})
    answers = [
        made,
        changed,
        alice.get(path),
        alice.get(ACCOUNTS),
        alice.get("/api/v1/me"),
        alice.delete(path),
    ]
    for answer in answers:
        assert SECRET not in answer.text + str(answer.headers)
        assert 'credentials"' not in answer.text
        assert "sealed" not in answer.text
    for row in trail(user_id=alice.user_id):
        assert SECRET not in json.dumps({name: str(value) for name, value in vars(row).items()})
    assert trail(user_id=alice.user_id)[1].details == {"changed": ["credentials"], "version": 2}


def test_they_are_nowhere_in_the_database(stores: Stores, alice: Client) -> None:
    make(alice)
    with stores.postgres.transaction() as session:
        tables = session.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all()
        for table in tables:
            found = session.scalar(
                text(f'SELECT count(*) FROM "{table}" AS row WHERE row::text LIKE :secret'),  # noqa: S608  ours
                {"secret": f"%{SECRET}%"},
            )
            assert found == 0, table


def test_the_program_that_talks_to_the_broker_can_read_them(stores: Stores, alice: Client) -> None:
    path = make(alice).json["links"]["self"]
    made = alice.get(path).json
    alice.patch(path, json={"credentials": {"only": "this"}})
    changed = alice.get(path).json
    assert (changed["version"], changed["credentials_changed_at"] > made["credentials_changed_at"]) == (
        2,
        True,
    )
    alice.patch(path, json={"name": "renamed"})
    assert alice.get(path).json["credentials_changed_at"] == changed["credentials_changed_at"]
    with stores.postgres.transaction() as session:
        read = read_credentials(session, stores.settings, alice.user_id, UUID(made["id"]))
    assert read.values == {"only": "this"}


@pytest.mark.parametrize(
    ("credentials", "pointer"),
    [
        ({}, "/credentials"),
        ([SECRET], "/credentials"),
        (SECRET, "/credentials"),
        (None, "/credentials"),
        ({"a": {"b": SECRET}}, "/credentials/a"),
        ({"a": SECRET * 1_000}, "/credentials/a"),
        ({"a": ""}, "/credentials/a"),
        ({"a": SECRET + "\x00"}, "/credentials/a"),
        ({"a": SECRET + "\ud800"}, "/credentials/a"),
        ({"a\nb": SECRET}, "/credentials/a\nb"),
        ({str(place): SECRET for place in range(21)}, "/credentials"),
    ],
)
def test_no_error_shows_them(alice: Client, credentials: Any, pointer: str) -> None:
    for refused in (
        make(alice, credentials=credentials),
        alice.patch(make(alice).json["links"]["self"], **as_json({"credentials": credentials})),
    ):
        assert refused.status_code == 422
        assert [field["pointer"] for field in refused.json["errors"]] == [pointer]
        assert SECRET not in refused.text


@pytest.mark.parametrize("broker", ["", "Binance", "a b", "x" * 65, "../etc", "a\n", "b'--", 5, None])
def test_a_broker_is_a_plain_name(alice: Client, broker: Any) -> None:
    refused = make(alice, broker=broker)
    assert [field["pointer"] for field in refused.json["errors"]] == ["/broker"]


@pytest.fixture
def broken(
    settings: Settings, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> Iterator[Client]:
    """A client of an app that fails on every credential, and logs everything to where `capsys` looks."""
    alice: Client = request.getfixturevalue("alice")
    app = create_app(
        replace(settings, encryption_keys=("no key",), log_level="debug", log_format=request.param)
    )
    yield replace(alice, app=app)
    configure_logs(settings.log_level, settings.log_format)
    close(app)


@pytest.mark.parametrize("broken", ["json", "console"], indirect=True)
def test_no_log_shows_them(broken: Client, capsys: pytest.CaptureFixture[str]) -> None:
    assert make(broken).status_code == 500
    make(broken, credentials={"a": SECRET, "b": 5})
    broken.post(ACCOUNTS, data=json.dumps(body())[:-1], content_type="application/json")
    logged = capsys.readouterr().err
    assert "unexpected_error" in logged
    assert "Traceback" in logged
    assert SECRET not in logged
    assert str(broken.token).rpartition("_")[2] not in logged


def test_the_command_reencrypts(stores: Stores, alice: Client, trail: Callable[..., list[AuditLog]]) -> None:
    with stores.postgres.transaction() as session:
        session.execute(delete(TradingAccount))  # other tests' keys open none of theirs
    make(alice)
    done = cift("trading-accounts", "reencrypt", "--json")
    assert (done.returncode, json.loads(done.stdout)["reencrypted"]) == (0, 0), done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert "rotate the key" in cift("trading-accounts", "reencrypt", "--help").stdout
