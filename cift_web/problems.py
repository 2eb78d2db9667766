"""The one mapping of errors to HTTP: RFC 9457 problem details, with no driver's text in them."""

from http import HTTPStatus
from typing import Any

from flask import Flask, Response, current_app, g, json, request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import (
    BadRequest,
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
DEFECT = "The service made a mistake; it is in its log under this request_id."
_STATUS: dict[type[errors.CiftError], int] = {
    errors.InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.Unauthenticated: HTTPStatus.UNAUTHORIZED,
    errors.Forbidden: HTTPStatus.FORBIDDEN,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.Gone: HTTPStatus.GONE,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.RateLimited: HTTPStatus.TOO_MANY_REQUESTS,
    errors.Outdated: HTTPStatus.PRECONDITION_FAILED,
    errors.StoreUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}
_log = logger(__name__)


def register_problem_handlers(app: Flask) -> None:
    """Answer every error of the app with a problem."""
    app.register_error_handler(errors.CiftError, _of_cift_error)
    app.register_error_handler(HTTPException, _of_http_error)
    app.register_error_handler(ParseException, _of_broken_body)
    app.register_error_handler(Exception, _of_defect)


def status_of(error: errors.CiftError) -> int:
    """The HTTP status of an error of the core."""
    return next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)


def problem(
    status: int, code: str, detail: str, fields: tuple[errors.FieldError, ...] = (), *, audited: bool = True
) -> Response:
    """A problem as a response."""
    g.problem_code = code
    if audited:
        audit_refusal(code, status)
    body = problem_body(status, code, detail, fields, instance=request.path, request_id=g.get("request_id"))
    return current_app.response_class(json.dumps(body), status, content_type=MEDIA_TYPE)


def problem_body(
    status: int,
    code: str,
    detail: str,
    fields: tuple[errors.FieldError, ...] = (),
    *,
    instance: str,
    request_id: str | None,
) -> dict[str, Any]:
    """The members of a problem."""
    return {
        "type": "about:blank",
        "title": HTTP_STATUS_CODES[status],
        "status": status,
        "detail": detail,
        "instance": instance,
        "code": code,
        "errors": [{"pointer": field.pointer, "detail": field.detail} for field in fields],
        "request_id": request_id,
    }


def code_of(status: int) -> str:
    """The stable code of an error that has no better one."""
    return HTTP_STATUS_CODES[status].lower().replace(" ", "_").replace("-", "_")


def _of_cift_error(error: errors.CiftError) -> Response:
    # a flood must not fill the audit trail
    audited = not isinstance(error, errors.RateLimited) or error.first
    response = problem(status_of(error), error.code, error.message, error.errors, audited=audited)
    if isinstance(error, errors.RateLimited):
        response.headers["Retry-After"] = str(error.retry_after_s)
    elif isinstance(error, errors.StoreUnavailable):
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
    response = problem(status, code_of(status), _sentence(error))
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return response


def _of_broken_body(error: ParseException) -> Response:
    """gunicorn meets a chunk that is none when the application reads the body."""
    return _of_http_error(BadRequest(f"The body is not sent as HTTP/1.1 chunks: {error}."))


def _of_defect(error: Exception) -> Response:
    _log.error("unexpected_error", exc_info=error)
    return _of_http_error(InternalServerError())


def _sentence(error: HTTPException) -> str:
    if isinstance(error, MethodNotAllowed):
        allowed = ", ".join(sorted(error.valid_methods or ()))
        return f"{request.method} is not possible here; these are: {allowed}."
    if type(error) is NotFound and request.url_rule is None:
        return f"Nothing is at {request.path}; /api/v1/docs lists what is (an id in a path is a UUID)."
    if isinstance(error, RequestEntityTooLarge):
        return f"The body is larger than {request.max_content_length:,} bytes, the most that is taken here."
    if error.code == HTTPStatus.INTERNAL_SERVER_ERROR:
        return DEFECT
    return error.description or error.name
