"""The API as a user's commands speak to it: CIFT_URL and CIFT_API_KEY from the environment."""

import http.client
import json
import os
import sys
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import click

USUAL_URL = "http://127.0.0.1:8000"
TIMEOUT_S = 60.0
FINAL = ("succeeded", "failed", "cancelled")
POLL_S = 0.2
Json = dict[str, Any]


class ApiRefused(Exception):
    """The API answered with a problem; the text says what it was and which fields are wrong."""

    def __init__(self, status: int, problem: Json) -> None:
        self.status = status
        self.problem = problem
        lines = [str(problem.get("detail", f"The API answered {status}."))]
        lines += [f"  {error['pointer']}: {error['detail']}" for error in problem.get("errors", ())]
        super().__init__("\n".join(lines))


class ApiUnreachable(Exception):
    """Nothing answers at CIFT_URL, or it answers 503."""


class Api:
    """One user's requests, one after another on one connection.

    Raises:
        click.UsageError: CIFT_URL or CIFT_API_KEY can't be used.
    """

    def __init__(self, *, with_key: bool = True) -> None:
        self._url = os.environ.get("CIFT_URL", USUAL_URL).rstrip("/")
        parts = urlsplit(self._url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise click.UsageError(f"CIFT_URL must be like {USUAL_URL}, got {self._url!r}.")
        connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = connect(parts.hostname, parts.port, timeout=TIMEOUT_S)
        click.get_current_context().call_on_close(self._connection.close)
        self._path = parts.path
        self._headers = {"Accept": "application/json", "User-Agent": "cift"}
        if with_key:
            key = os.environ.get("CIFT_API_KEY")
            if not key:
                raise click.UsageError(
                    "Set CIFT_API_KEY to an API key; an operator makes one with `cift keys create`."
                )
            self._headers["Authorization"] = f"Bearer {key}"

    def get(self, path: str) -> Json:
        """What is at the path, with the problems as `ApiRefused`."""
        return self._answered(*self.send("GET", path))

    def post(self, path: str, body: Json | None = None) -> Json:
        """What the API answers to a JSON body."""
        text = None if body is None else json.dumps(body).encode()
        return self._answered(*self.send("POST", path, text, {"Content-Type": "application/json"}))

    def upload(self, path: str, parts: Iterable[bytes], size: int, content_type: str) -> Json:
        """What the API answers to a body of `size` bytes that is sent piece by piece."""
        headers = {"Content-Type": content_type, "Content-Length": str(size)}
        return self._answered(*self.send("POST", path, parts, headers))

    def send(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Json]:
        """Status and body of an answer; a request that came too often is sent again when it may be.

        Raises:
            ApiUnreachable: no answer, or none that is JSON.
        """
        while True:
            try:
                self._connection.request(method, self._path + path, body, self._headers | (headers or {}))
                answer = self._connection.getresponse()
                text = answer.read()
                found = json.loads(text) if text else {}
            except (OSError, http.client.HTTPException, ValueError) as error:
                self._connection.close()
                raise ApiUnreachable(
                    f"The API at {self._url} does not answer ({type(error).__name__})."
                ) from error
            if answer.status != http.HTTPStatus.TOO_MANY_REQUESTS or not (
                body is None or isinstance(body, bytes)
            ):
                return answer.status, found
            time.sleep(int(answer.headers.get("Retry-After", "1")))

    def wait(self, location: str, title: str, *, quiet: bool) -> Json:
        """The job once it ended, with a progress bar meanwhile on a terminal.

        Interrupted, the job goes on: the message says how to come back to it.
        """
        job = self.get(location)
        with click.progressbar(length=1_000, label=title, file=sys.stderr, hidden=quiet) as bar:
            try:
                while job["status"] not in FINAL:
                    bar.update(round(job["progress"] * 1_000) - bar.pos)
                    time.sleep(POLL_S)
                    job = self.get(location)
            except KeyboardInterrupt:
                click.echo(f"\nThe job goes on; see it with: cift jobs show {job['id']}", err=True)
                raise
            bar.update(1_000 - bar.pos)
        return job

    @staticmethod
    def _answered(status: int, body: Json) -> Json:
        if status == http.HTTPStatus.SERVICE_UNAVAILABLE:
            raise ApiUnreachable(str(body.get("detail", "The API answered 503.")))
        if status >= http.HTTPStatus.BAD_REQUEST:
            raise ApiRefused(status, body)
        return body
