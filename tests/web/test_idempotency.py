"""Idempotency-Key over HTTP, on a real server where it is about concurrency."""

import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import requests
from sqlalchemy import func, select, update

from cift_core.models import AuditLog, Backtest, IdempotencyKey
from cift_core.settings import Settings
from cift_core.stores import Stores
from tests.web.conftest import BACKTEST, Client

BACKTESTS, INGESTIONS = "/api/v1/backtests", "/api/v1/ingestions"
CSV = b"timestamp,open,high,low,close,volume\n2020-01-01,1,2,1,2,5\n"


def jobs_of(stores: Stores, owner_id: UUID) -> int:
    with stores.postgres.transaction() as session:
        return session.scalar(select(func.count()).select_from(Backtest).where(Backtest.owner_id == owner_id))


def test_ten_at_once_make_one_job(
    gunicorn: str, stores: Stores, alice: Client, trail: Callable[..., list[AuditLog]]
) -> None:
    headers = {"Authorization": f"Bearer {alice.token}", "Idempotency-Key": str(uuid4())}

    def submit(_: int) -> requests.Response:
        return requests.post(f"{gunicorn}{BACKTESTS}", json=BACKTEST, headers=headers, timeout=30)

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(submit, range(10)))
    assert [answer.status_code for answer in answers] == [202] * 10
    assert len({answer.headers["Location"] for answer in answers}) == 1
    bodies = [answer.json() for answer in answers]
    assert sorted(body.pop("reused") for body in bodies) == [False] + [True] * 9
    assert all(body == bodies[0] for body in bodies)
    assert jobs_of(stores, alice.user_id) == 1
    assert sorted(row.result for row in trail(user_id=alice.user_id)) == ["done"] + ["reused"] * 9


def test_the_same_request_spelled_otherwise_is_the_same(stores: Stores, alice: Client) -> None:
    headers = {"Idempotency-Key": "k"}
    spelled = dict(reversed(BACKTEST.items())) | {"cash": 10_000.0, "tags": [], "execution": {}, "end": None}
    first = alice.post(BACKTESTS, json=BACKTEST, headers=headers).json
    assert alice.post(BACKTESTS, json=spelled, headers=headers).json == first | {"reused": True}
    assert jobs_of(stores, alice.user_id) == 1


def test_a_default_of_the_strategy_written_out_is_the_same(stores: Stores, alice: Client) -> None:
    headers = {"Idempotency-Key": "k"}
    short = BACKTEST | {"strategy": {"name": "sma_cross"}}
    long = BACKTEST | {"strategy": {"name": "sma_cross", "params": {"slow": 20.0, "fast": 10}}}
    other = BACKTEST | {"strategy": {"name": "sma_cross", "params": {"slow": 21}}}
    first = alice.post(BACKTESTS, json=short, headers=headers).json
    assert alice.post(BACKTESTS, json=long, headers=headers).json == first | {"reused": True}
    assert alice.post(BACKTESTS, json=other, headers=headers).status_code == 422
    assert jobs_of(stores, alice.user_id) == 1


def test_a_default_of_an_ingestion_written_out_is_the_same(alice: Client) -> None:
    def submit(**source: Any) -> Any:
        request = {"source": {"type": "file", **source}, "kind": "bars", "symbol": "IDEM", "interval": "1d"}
        form = {"request": json.dumps(request), "file": (io.BytesIO(CSV), "x.csv")}
        return alice.post(INGESTIONS, data=form, headers={"Idempotency-Key": "i"})

    first = submit().json
    spelled = {"timezone": "UTC", "timestamp_unit": "iso", "header": None, "path": None}
    assert submit(**spelled).json == first | {"reused": True}
    assert submit(timezone="America/New_York").status_code == 422


def test_another_request_under_the_same_key_is_422(stores: Stores, alice: Client) -> None:
    headers = {"Idempotency-Key": "k"}
    alice.post(BACKTESTS, json=BACKTEST, headers=headers)
    response = alice.post(BACKTESTS, json=BACKTEST | {"cash": 1}, headers=headers)
    assert (response.status_code, response.json["code"]) == (422, "idempotency_key_reused")
    assert response.json["errors"][0]["pointer"] == "/Idempotency-Key"
    assert jobs_of(stores, alice.user_id) == 1


def test_a_key_is_the_owners(alice: Client, bob: Client) -> None:
    headers = {"Idempotency-Key": "shared"}
    one = alice.post(BACKTESTS, json=BACKTEST, headers=headers).json
    other = bob.post(BACKTESTS, json=BACKTEST, headers=headers).json
    assert one["id"] != other["id"]
    assert other["reused"] is False


def test_a_refused_request_does_not_use_the_key_up(alice: Client) -> None:
    headers = {"Idempotency-Key": "k"}
    wrong = BACKTEST | {"strategy": {"name": "sma_cross", "params": {"fast": 0}}}
    assert alice.post(BACKTESTS, json=wrong, headers=headers).status_code == 422
    assert alice.post(BACKTESTS, json=BACKTEST, headers=headers).json["reused"] is False


def test_after_24_hours_the_key_is_new(stores: Stores, alice: Client) -> None:
    headers = {"Idempotency-Key": "k"}
    first = alice.post(BACKTESTS, json=BACKTEST, headers=headers).json
    for age, reused in ((timedelta(hours=23, minutes=59), True), (timedelta(hours=24, minutes=1), False)):
        with stores.postgres.transaction() as session:
            mine = update(IdempotencyKey).where(IdempotencyKey.owner_id == alice.user_id)
            session.execute(mine.values(created_at=func.now() - age))
        again = alice.post(BACKTESTS, json=BACKTEST, headers=headers).json
        assert again["reused"] is reused
        assert (again["id"] == first["id"]) is reused


def test_a_file_belongs_to_the_request(alice: Client, settings: Settings) -> None:
    request = {"source": {"type": "file"}, "kind": "bars", "symbol": f"T{uuid4().hex[:9]}", "interval": "1d"}

    def send(content: bytes) -> tuple[int, dict[str, object]]:
        form = {"request": json.dumps(request), "file": (io.BytesIO(content), "bars.csv")}
        response = alice.post(
            INGESTIONS, data=form, headers={"Idempotency-Key": "f"}, content_type="multipart/form-data"
        )
        return response.status_code, response.json

    before = set(settings.upload_dir.glob("*"))
    status, first = send(CSV)
    assert status == 202
    assert send(CSV) == (202, first | {"reused": True})
    assert send(CSV + b"2020-01-02,1,2,1,2,5\n")[1]["code"] == "idempotency_key_reused"
    (kept,) = set(settings.upload_dir.glob("*")) - before
    assert kept.name.startswith(str(first["id"]))
