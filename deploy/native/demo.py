"""`make demo`: real market data in through the API, backtests on a worker, their results printed."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import requests
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from . import environment
from .demo_alerts import show_alert
from .demo_ticks import show_ticks
from .environment import CHECKOUT
from .errors import StackError
from .stack import Stack

ROOT = CHECKOUT / ".cift"
FINAL = ("succeeded", "failed", "cancelled")
JOB_TIMEOUT_S = 120
FILES = (
    ("sample/AAPL-1d.csv", "AAPL", "1d"),
    ("sample/SPY-1d.csv", "SPY", "1d"),
    ("sample/XAUUSD-1h.csv.gz", "XAUUSD", "1h"),
)
BACKTESTS = (("AAPL", "1d", "adjusted"), ("SPY", "1d", "adjusted"), ("XAUUSD", "1h", "raw"))
SHOWN = (
    ("trades", "{:,d}"),
    ("final_equity", "{:,.2f}"),
    ("total_return", "{:+.2%}"),
    ("annual_return", "{:+.2%}"),
    ("annual_volatility", "{:.2%}"),
    ("sharpe", "{:.3f}"),
    ("sortino", "{:.3f}"),
    ("max_drawdown", "{:.2%}"),
    ("win_rate", "{:.2%}"),
    ("profit_factor", "{:.3f}"),
    ("exposure", "{:.2%}"),
    ("fees_paid", "{:,.2f}"),
    ("buy_and_hold_return", "{:+.2%}"),
)


@dataclass(frozen=True)
class Login:
    """A user of the demo, whose key is kept in a file of this name."""

    file: str
    email: str
    scopes: tuple[str, ...]
    is_admin: bool = False


USER = Login(
    "client.env", "demo@example.com", ("backtests:read", "backtests:write", "data:read", "data:write")
)
OPERATOR = Login(
    "operator.env", "operator@example.com", ("alerts:read", "alerts:write", "admin"), is_admin=True
)


class Client:
    """Speaks to the API as a user does, and prints each request."""

    def __init__(self, url: str, key: str) -> None:
        self._base = f"{url}/api/v1"
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {key}"

    def accepted(self) -> bool:
        """Whether the API knows the key."""
        return self._session.get(f"{self._base}/me", timeout=10).ok

    def submit(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The finished job of a submit."""
        answer = self._session.post(f"{self._base}{path}", json=body, timeout=30)
        print(f"POST /api/v1{path} {json.dumps(body)}")
        if answer.status_code != requests.codes.accepted:
            raise StackError(f"The API answered {answer.status_code}: {answer.text}")
        print(f"  -> {answer.status_code} {answer.headers['Location']}")
        return self._finished(answer.headers["Location"])

    def page(self, link: str) -> list[dict[str, Any]]:
        """The first items of a list."""
        items: list[dict[str, Any]] = self.get(link)["items"]
        return items

    def _finished(self, location: str) -> dict[str, Any]:
        @retry(
            retry=retry_if_result(lambda job: job["status"] not in FINAL),
            stop=stop_after_delay(JOB_TIMEOUT_S),
            wait=wait_fixed(0.05),
            reraise=True,
        )
        def poll() -> dict[str, Any]:
            return self.get(location)

        job: dict[str, Any] = poll()
        print(f"  -> GET {location}: {job['status']}")
        if job["status"] != "succeeded":
            raise StackError(f"The job ended {job['status']}: {job['error']}")
        return job

    def get(self, location: str) -> dict[str, Any]:
        """The answer at a path."""
        answer = self._session.get(urljoin(self._base, location), timeout=30)
        answer.raise_for_status()
        body: dict[str, Any] = answer.json()
        return body


def main() -> None:
    stack = Stack(ROOT)
    env = stack.env
    stages: list[tuple[str, float]] = []
    with timed(stages, "users and API keys"):
        client, operator = client_of(env, USER), client_of(env, OPERATOR)
    with timed(stages, "ingest 3 files"):
        ingestions = [ingest(client, *file) for file in FILES]
    with timed(stages, "run 3 backtests"):
        results = [backtest(client, *wanted) for wanted in BACKTESTS]
    print_ingestions(client, ingestions)
    print_metrics(results)
    with timed(stages, "ticks"):
        show_ticks(client.submit, client.get)
    with timed(stages, "an alert"):
        show_alert(stack, operator.page)
    print("\nTime of each stage")
    for name, elapsed_s in stages:
        print(f"  {name:<18}{elapsed_s:8.2f} s")
    print(f"\nAPI docs   {env['CIFT_URL']}/api/v1/docs")
    print(
        f"Flower     {env['CIFT_FLOWER_URL']}"
        f"   user {env['CIFT_FLOWER_USER']}   password {env['CIFT_FLOWER_PASSWORD']}"
    )
    print("Your key   .cift/client.env   (. .cift/client.env; the stack keeps running; stop it: make down)")
    print("Operators  .cift/operator.env (a key with the scope admin)")


@contextmanager
def timed(stages: list[tuple[str, float]], name: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    stages.append((name, time.perf_counter() - began))


def client_of(env: dict[str, str], login: Login) -> Client:
    """A client of this user, whose key is in `.cift/<file>` from then on."""
    path, key = ROOT / login.file, api_key(env, login)
    path.touch(mode=0o600)
    path.write_text(f"CIFT_URL={env['CIFT_URL']}\nCIFT_API_KEY={key}\n")
    return Client(env["CIFT_URL"], key)


def api_key(env: dict[str, str], login: Login) -> str:
    """The key in the user's file, made with the user when there is none or it does not hold any more."""
    path = ROOT / login.file
    if path.exists():
        kept = dict(line.split("=", 1) for line in path.read_text().splitlines())
        if Client(env["CIFT_URL"], kept["CIFT_API_KEY"]).accepted():
            return kept["CIFT_API_KEY"]
    admin = ["--admin"] if login.is_admin else []
    password = secrets.token_urlsafe(24)
    made = cift(env, "users", "create", login.email, *admin, "--password-stdin", stdin=password)
    if made.returncode and "already" not in made.stderr:
        raise StackError(made.stderr.strip())
    scopes = [argument for scope in login.scopes for argument in ("--scope", scope)]
    created = cift(env, "keys", "create", login.email, "--name", "demo", *scopes, "--json")
    if created.returncode:
        raise StackError(created.stderr.strip())
    key: str = json.loads(created.stdout)["key"]
    return key


def cift(env: dict[str, str], *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("cift")), *arguments]
    print(f"$ cift {' '.join(arguments)}")
    return subprocess.run(
        command, env=environment.foreign() | env, input=stdin, capture_output=True, text=True, check=False
    )


def ingest(client: Client, path: str, symbol: str, interval: str) -> dict[str, Any]:
    source = {"type": "file", "path": path}
    return client.submit(
        "/ingestions", {"source": source, "kind": "bars", "symbol": symbol, "interval": interval}
    )


def backtest(client: Client, symbol: str, interval: str, prices: str) -> dict[str, Any]:
    return client.submit(
        "/backtests",
        {
            "strategy": {"name": "sma_cross", "params": {"fast": 10, "slow": 20}},
            "symbols": [symbol],
            "interval": interval,
            "prices": prices,
            "cash": 10_000,
            "execution": {"commission_rate": 0.0005},
            "tags": ["demo"],
        },
    )


def print_ingestions(client: Client, ingestions: list[dict[str, Any]]) -> None:
    print(f"\n{'Ingested':<24}{'read':>8}{'written':>9}{'duplicate':>11}{'rejected':>10}")
    for (path, _, _), job in zip(FILES, ingestions, strict=True):
        counts = [job[f"rows_{name}"] for name in ("read", "written", "duplicate", "rejected")]
        print("{:<24}{:>8}{:>9}{:>11}{:>10}".format(path, *counts))
        for reject in client.page(job["rejects_url"]):
            print(f"    line {reject['line']}: {reject['reason']}")


def print_metrics(results: list[dict[str, Any]]) -> None:
    print(f"\n{'sma_cross 10/20':<24}" + "".join(f"{symbol:>14}" for symbol, _, _ in BACKTESTS))
    rows = [
        ("bars", [f"{job['data']['rows']:,d}" for job in results]),
        ("prices", [job["data"]["prices"] for job in results]),
        ("first", [job["data"]["first"][:10] for job in results]),
        ("last", [job["data"]["last"][:10] for job in results]),
        *((name, [shown(form, job["metrics"][name]) for job in results]) for name, form in SHOWN),
    ]
    for name, values in rows:
        print(f"{name:<24}" + "".join(f"{value:>14}" for value in values))


def shown(form: str, value: float | None) -> str:
    return "-" if value is None else form.format(value)


if __name__ == "__main__":
    os.umask(0o077)
    try:
        main()
    except (StackError, requests.RequestException) as error:
        sys.exit(f"{error}")
