"""The one mapping of errors to HTTP: RFC 9457 problem details, with no driver's text in them."""

from http import HTTPStatus
from typing import Any

from flask import Flask, Response, current_app, g, json, request
from werkzeug.exceptions import (
    HTTPException,
    InternalServerError,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
)
from werkzeug.http import HTTP_STATUS_CODES

from cift_core import errors
from cift_core.logs import logger
from cift_web.audit import audit_refusal

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5
_STATUS: dict[type[errors.CiftError], int] = {
    errors.InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.Unauthenticated: HTTPStatus.UNAUTHORIZED,
    errors.Forbidden: HTTPStatus.FORBIDDEN,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.StoreUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}
_log = logger(__name__)


def register_problem_handlers(app: Flask) -> None:
    """Answer every error of the app with a problem."""
    app.register_error_handler(errors.CiftError, _of_cift_error)
    app.register_error_handler(HTTPException, _of_http_error)
    app.register_error_handler(Exception, _of_defect)


def status_of(error: errors.CiftError) -> int:
    """The HTTP status of an error of the core."""
    return next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)


def problem(status: int, code: str, detail: str, fields: tuple[errors.FieldError, ...] = ()) -> Response:
    """A problem as a response."""
    g.problem_code = code
    audit_refusal(code, status)
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTP_STATUS_CODES[status],
        "status": status,
        "detail": detail,
        "instance": request.path,
        "code": code,
        "errors": [{"pointer": field.pointer, "detail": field.detail} for field in fields],
        "request_id": g.get("request_id"),
    }
    return current_app.response_class(json.dumps(body), status, content_type=MEDIA_TYPE)


def _of_cift_error(error: errors.CiftError) -> Response:
    response = problem(status_of(error), error.code, error.message, error.errors)
    if isinstance(error, errors.StoreUnavailable):
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
        _log.warning("store_unavailable", code=error.code, exc_info=error)
    elif isinstance(error, errors.Unauthenticated):
        flaw = "" if error.code == "no_key" else ', error="invalid_token"'
        response.headers["WWW-Authenticate"] = f'Bearer realm="cift"{flaw}'
    elif isinstance(error, errors.Forbidden):
        response.headers["WWW-Authenticate"] = 'Bearer realm="cift", error="insufficient_scope"'
    return response


def _of_http_error(error: HTTPException) -> Response:
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    response = problem(status, _code(status), _sentence(error))
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return response


def _of_defect(error: Exception) -> Response:
    _log.error("unexpected_error", exc_info=error)
    return _of_http_error(InternalServerError())


def _code(status: int) -> str:
    return HTTP_STATUS_CODES[status].lower().replace(" ", "_").replace("-", "_")


def _sentence(error: HTTPException) -> str:
    if isinstance(error, MethodNotAllowed):
        allowed = ", ".join(sorted(error.valid_methods or ()))
        return f"{request.method} is not possible here; these are: {allowed}."
    if type(error) is NotFound and request.url_rule is None:
        return f"Nothing is at {request.path}; /api/v1/docs lists what is (an id in a path is a UUID)."
    if isinstance(error, RequestEntityTooLarge):
        return f"The body is larger than {request.max_content_length:,} bytes, the most that is taken here."
    if error.code == HTTPStatus.INTERNAL_SERVER_ERROR:
        return "The service made a mistake; it is in its log under this request_id."
    return error.description or error.name
