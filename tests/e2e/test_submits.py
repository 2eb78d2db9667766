"""Submits at once and in numbers: each accepted one becomes exactly one job, and ends."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from tests.e2e.client import Client, Json, backtest
from tests.e2e.service import Service
from tests.waiting import wait_for

pytestmark = pytest.mark.usefixtures("imported")
THREADS = 8
SUBMITS = 200


def test_the_same_idempotency_key_ten_times_at_once(alice: Client) -> None:
    key, tag = str(uuid4()), str(uuid4())

    def submit(_: int) -> Json:
        with alice.again() as client:
            return client.post("/backtests", backtest(tags=[tag]), key=key)

    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(submit, range(10)))
    assert Counter(answer.pop("reused") for answer in answers) == {False: 1, True: 9}
    assert all(answer == answers[0] for answer in answers)
    assert [job["id"] for job in alice.items("/backtests", tag=tag)] == [answers[0]["id"]]
    assert alice.succeeded(answers[0]["id"])["attempt"] == 1

    again = alice.send(
        "POST", "/api/v1/backtests", json=backtest(tags=[tag], cash=1), headers={"Idempotency-Key": key}
    )
    assert (again.status_code, again.json()["code"]) == (422, "idempotency_key_reused")


def test_200_submits_from_8_threads_by_two_users(service: Service, alice: Client, bob: Client) -> None:
    tag = str(uuid4())

    def submit(thread: int) -> list[tuple[Client, str]]:
        user = (alice, bob)[thread % 2]
        with user.again() as client:
            return [
                (user, client.submit(tags=[tag], strategy={"name": "sma_cross", "params": {"fast": 2 + n}}))
                for n in range(SUBMITS // THREADS // 2)
                for _ in range(2)
            ]

    with ThreadPoolExecutor(THREADS) as threads:
        accepted = [job for jobs in threads.map(submit, range(THREADS)) for job in jobs]
    assert len({job_id for _, job_id in accepted}) == THREADS * 2 * (SUBMITS // THREADS // 2)
    for user, job_id in accepted:
        user.succeeded(job_id, timeout_s=90)
        service.assert_no_attempt_is_unexplained(job_id)
    for user in (alice, bob):
        own = {job_id for owner, job_id in accepted if owner is user}
        assert {job["id"] for job in user.items("/backtests", limit=17, tag=tag)} == own
    digests: dict[int, set[str]] = {}
    for user in (alice, bob):
        for job in user.items("/backtests", tag=tag):
            digests.setdefault(job["request"]["strategy"]["params"]["fast"], set()).add(job["result_digest"])
    assert all(len(found) == 1 for found in digests.values())
    wait_for(lambda: not service.broker.llen("backtests"), what="no message is left")
