"""The OpenAPI 3.1 document, and the page that shows it without anything from another host."""

from importlib.metadata import version
from importlib.resources import files
from typing import Any

import flask_smorest  # type: ignore[import-untyped]
from flask import Flask, Response, jsonify, render_template, send_from_directory

from cift_web.problems import MEDIA_TYPE, RETRY_AFTER_S
from cift_web.schemas import Problem

DESCRIPTION = """Backtests on real market data: bring data in, submit a backtest, read its result.

Send an API key as `Authorization: Bearer cift_<key id>_<secret>` (`cift keys create` makes one).
Times are UTC, ids are UUIDs. A submit answers 202 at once; its `Location` tells how it goes. Unknown fields
are errors.
Every error is an RFC 9457 problem whose `errors` point at the fields."""
_PROBLEMS = {
    400: "The body is not JSON.",
    401: "No API key, or one that does not hold.",
    403: "The API key lacks the scope.",
    404: "No such thing, or somebody else's.",
    409: "Not possible in the state the thing is in.",
    410: "Not kept any longer.",
    412: "It was changed since the version that If-Match names.",
    413: "The body is too large.",
    414: "The request line is longer than 4,094 bytes.",
    415: "The body has the wrong content type.",
    422: "A field is wrong; `errors` says which and what would be right.",
    429: "Too often; try again when the minute is over.",
    500: "A mistake of the service.",
    503: "A store does not answer; try again.",
}


def _retry_after(description: str) -> dict[str, Any]:
    return {"Retry-After": {"description": description, "required": True, "schema": {"type": "integer"}}}


_HEADERS = {
    401: {"WWW-Authenticate": {"description": "Bearer", "required": True, "schema": {"type": "string"}}},
    429: _retry_after("Seconds to wait."),
    503: _retry_after(f"Seconds to wait ({RETRY_AFTER_S})."),
}
# Swagger UI sets style attributes and shows icons from data: URLs; scripts are files of ours, none inline.
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_ASSETS = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png")


class Api(flask_smorest.Api):  # type: ignore[misc]  # smorest has no types
    """Collects the operations into the document and serves it with its page."""

    DEFAULT_ERROR_RESPONSE_NAME = None

    def __init__(self, app: Flask) -> None:
        app.config.update(API_TITLE="CIFT Markets", API_VERSION="v1", OPENAPI_VERSION="3.1.0")
        info = {"description": DESCRIPTION, "version": version("cift-markets")}
        super().__init__(app, spec_kwargs={"info": info, "servers": [{"url": "/"}]})
        key = {"type": "http", "scheme": "bearer", "bearerFormat": "cift_<key id>_<secret>"}
        self.spec.components.security_scheme("key", key)
        for status, description in _PROBLEMS.items():
            answer: dict[str, Any] = {
                "description": description,
                "content": {MEDIA_TYPE: {"schema": Problem}},
            }
            if status in _HEADERS:
                answer["headers"] = _HEADERS[status]
            self.spec.components.response(f"Problem{status}", answer)
        _serve(app, self)

    def _register_error_handlers(self) -> None:
        """Leave errors to `cift_web/problems.py`."""

    def _register_etag_headers(self) -> None:
        """Leave out what is not used."""

    def _register_pagination_header(self) -> None:
        """Leave out what is not used."""

    def _register_responses(self) -> None:
        """Leave out smorest's own error answers: ours are problems."""


def _serve(app: Flask, api: Api) -> None:
    assets = files("flask_swagger_ui") / "dist"

    def document() -> Response:
        return jsonify(api.spec.to_dict())

    def page() -> Response:
        response = app.make_response(render_template("docs.html", title="CIFT Markets API"))
        response.headers["Content-Security-Policy"] = _PAGE_POLICY
        return response

    def asset(name: str) -> Response:
        response = send_from_directory(str(assets), name, max_age=86_400)
        response.headers["Cache-Control"] = "public, max-age=86400"
        return response

    def script() -> Response:
        return app.response_class(render_template("docs.js"), mimetype="text/javascript")

    app.add_url_rule("/api/v1/openapi.json", "openapi", document)
    app.add_url_rule("/api/v1/docs", "docs", page)
    app.add_url_rule("/api/v1/docs/docs.js", "docs_script", script)
    app.add_url_rule(f"/api/v1/docs/<any({', '.join(map(repr, _ASSETS))}):name>", "docs_asset", asset)
