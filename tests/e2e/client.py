"""A user of the service as the tests need one: over HTTP, with a key."""

import json
from typing import Any

import requests

from tests.waiting import Deadline

Json = dict[str, Any]
FINAL = ("succeeded", "failed", "cancelled")
PAGE = 500


class Client:
    """The requests of one user. For one thread at a time: `again` is the same user for another."""

    def __init__(self, url: str, key: str, user_id: str) -> None:
        self.user_id = user_id
        self._url, self._key = url, key
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy between the tests and their own server
        self._session.headers["Authorization"] = f"Bearer {key}"

    def again(self) -> "Client":
        return Client(self._url, self._key, self.user_id)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def send(self, method: str, path: str, **options: Any) -> requests.Response:
        return self._session.request(method, f"{self._url}{path}", timeout=30, **options)

    def get(self, path: str, **query: Any) -> Json:
        answer = self.send("GET", f"/api/v1{path}", params=query)
        assert answer.status_code == 200, answer.text
        body: Json = answer.json()
        return body

    def post(self, path: str, body: Json | None = None, *, key: str | None = None, **options: Any) -> Json:
        """The answer of a submit or of another change that was accepted."""
        headers = {} if key is None else {"Idempotency-Key": key}
        answer = self.send("POST", f"/api/v1{path}", json=body, headers=headers, **options)
        assert answer.status_code in {200, 202}, answer.text
        accepted: Json = answer.json()
        return accepted

    def submit(self, **changes: Any) -> str:
        """The id of a backtest just submitted."""
        return str(self.post("/backtests", backtest(**changes))["id"])

    def upload(self, text: bytes, symbol: str, **changes: Any) -> str:
        """The id of an ingestion just submitted with its file."""
        form = {
            "file": ("bars.csv", text),
            "request": (None, json.dumps(ingestion(symbol, **changes))),
        }
        answer = self.send("POST", "/api/v1/ingestions", files=form)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def job(self, job_id: str, kind: str = "backtests") -> Json:
        return self.get(f"/{kind}/{job_id}")

    def ended(self, job_id: str, kind: str = "backtests", timeout_s: float = 60) -> Json:
        """The job once it ended, however it did; a 503 says to ask again."""
        deadline = Deadline(timeout_s)
        while True:
            answer = self.send("GET", f"/api/v1/{kind}/{job_id}")
            assert answer.status_code in {200, 503}, answer.text
            job: Json = answer.json()
            if job["status"] in FINAL:
                return job
            deadline.check(answer.text)

    def succeeded(self, job_id: str, kind: str = "backtests", timeout_s: float = 60) -> Json:
        job = self.ended(job_id, kind, timeout_s)
        assert job["status"] == "succeeded", job
        return job

    def items(self, path: str, limit: int = PAGE, **query: Any) -> list[Json]:
        """All items of a list, page after page."""
        found: list[Json] = []
        cursor = None
        while True:
            page = self.get(path, limit=limit, **query, **({"cursor": cursor} if cursor else {}))
            found += page["items"]
            cursor = page["next"]
            if cursor is None:
                return found


def backtest(**changes: Any) -> Json:
    """The request of a small backtest on real bars."""
    request: Json = {
        "strategy": {"name": "sma_cross", "params": {"fast": 10, "slow": 20}},
        "symbols": ["AAPL"],
        "interval": "1d",
        "cash": 10_000,
    }
    return request | changes


def ingestion(symbol: str, path: str | None = None, interval: str = "1d", **source: Any) -> Json:
    """The request of an ingestion of bars; without a path the file is sent along."""
    origin = {"type": "file", **({} if path is None else {"path": path}), **source}
    return {"source": origin, "kind": "bars", "symbol": symbol, "interval": interval}
