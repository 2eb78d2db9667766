"""What every request gets: an id, a line in the log, security headers, a limit on its body."""

import re
import time
from uuid import uuid4

from flask import Flask, Response, g, request
from flask.json.provider import DefaultJSONProvider

from cift_core.logs import bind_context, clear_context, logger

MAX_JSON_BYTES = 2**20
_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_log = logger(__name__)


class StrictJSONProvider(DefaultJSONProvider):
    """Compact JSON in the order given; NaN and Infinity, which JSON does not have, are defects."""

    ensure_ascii = False
    sort_keys = False
    compact = True

    def dumps(self, obj: object, **options: object) -> str:
        """The JSON text."""
        return super().dumps(obj, allow_nan=False, **options)


def register_request_hooks(app: Flask) -> None:
    """Wrap every request of the app."""
    app.json = StrictJSONProvider(app)
    app.config["MAX_CONTENT_LENGTH"] = MAX_JSON_BYTES
    app.before_request(_open)
    app.after_request(_close)


def _open() -> None:
    g.started = time.perf_counter()
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if _SANE_ID.fullmatch(given) else uuid4().hex
    clear_context()
    bind_context(request_id=g.request_id)


def _close(response: Response) -> Response:
    response.headers["X-Request-ID"] = g.request_id
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if request.is_secure:
        response.headers["Strict-Transport-Security"] = "max-age=31536000"
    _log.info(
        "request",
        method=request.method,
        path=request.path,
        status=response.status_code,
        code=g.get("problem_code"),
        duration_ms=round((time.perf_counter() - g.started) * 1000, 1),
        ip=request.remote_addr,
        key=g.actor.key_prefix if "actor" in g else None,
    )
    clear_context()
    return response
