"""Conditional requests: 304 for what has not changed, 412 for a change to what has."""

from importlib.metadata import version
from typing import Any

from flask import Response, current_app, request

from cift_core.errors import Outdated
from cift_core.models import FINAL, Backtest, OwnedColumns

_VERSION = version("cift-markets")
ETAG_HEADER = {
    "ETag": {"description": "Of what is answered; for `If-None-Match`.", "schema": {"type": "string"}}
}
UNCHANGED: dict[str, Any] = {
    "parameters": [
        {
            "in": "header",
            "name": "If-None-Match",
            "description": "An ETag: 304 as long as it is that of the answer.",
            "schema": {"type": "string"},
        }
    ],
    "responses": {"304": {"description": "It still is what has the ETag of `If-None-Match`."}},
}
EXPECTED: dict[str, Any] = {
    "parameters": [
        {
            "in": "header",
            "name": "If-Match",
            "description": "An ETag: 412 and no change when it is no longer that of the thing.",
            "schema": {"type": "string"},
        }
    ]
}


def row_headers(row: OwnedColumns) -> dict[str, str]:
    """The ETag of a thing that a user keeps: its version."""
    return {"ETag": f'"{row.version}"'}


def result_headers(backtest: Backtest, form: str = "") -> dict[str, str]:
    """The ETag of a finished backtest and of its parts, which never change, and leave to keep it; {} before.

    Another version of this program may answer them otherwise, so it is part of the tag, as is the `form` in
    which a part is answered.
    """
    if backtest.status not in FINAL:
        return {}
    tag = f'"{backtest.id.hex}-{backtest.attempt}-{_VERSION}{form and f"-{form}"}"'
    return {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": f"Authorization{form and ', Accept'}"}


def unchanged(headers: dict[str, str]) -> Response | None:
    """304 with these headers when the client has what carries their ETag."""
    if "If-None-Match" not in request.headers or "ETag" not in headers:
        return None
    if not request.if_none_match.contains_weak(headers["ETag"].strip('"')):
        return None
    return current_app.response_class(status=304, headers=headers)


def expect(row: OwnedColumns) -> None:
    """Let the change pass if the row still is what `If-Match` names, or nothing is named.

    Raises:
        Outdated: it is not.
    """
    if "If-Match" in request.headers and not request.if_match.contains(str(row.version)):
        raise Outdated(
            "outdated",
            f'It is at version {row.version}, ETag "{row.version}", now: read it again, then change it.',
        )
