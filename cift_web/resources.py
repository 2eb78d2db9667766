"""The decorator that makes a view an operation: route, access, transaction, documentation."""

from collections.abc import Callable
from enum import Enum
from functools import wraps
from typing import Any, Literal, ParamSpec

import flask_smorest  # type: ignore[import-untyped]
import marshmallow as ma
from sqlalchemy.orm import Session

from cift_core.errors import Unauthenticated
from cift_core.services.api_keys import Principal
from cift_core.stores.postgres import reading, transaction
from cift_web.auth import identify, require_scope
from cift_web.bodies import Parser
from cift_web.database import db
from cift_web.rate_limits import limit_failed_logins, limit_requests

P = ParamSpec("P")
View = Callable[P, Any]
Method = Literal["GET", "POST", "PATCH", "DELETE"]


class Access(Enum):
    """Who may call an operation, when no scope says it."""

    PUBLIC = "public"
    ANY_KEY = "any key"


ACCEPTED = 202
PUBLIC, ANY_KEY = Access.PUBLIC, Access.ANY_KEY
ACCEPTED_HEADERS = {
    "Location": {"description": "Where the job is.", "required": True, "schema": {"type": "string"}}
}


class Resource(flask_smorest.Blueprint):  # type: ignore[misc]  # smorest has no types
    """The operations of one noun."""

    ARGUMENTS_PARSER = Parser()

    def __init__(self, name: str, *, url_prefix: str | None = None, description: str) -> None:
        super().__init__(name, "cift_web", url_prefix=url_prefix, description=description)

    def operation(
        self,
        method: Method,
        rule: str,
        *,
        access: str | Access,
        answer: ma.Schema | None = None,
        status: int = 200,
        answer_headers: dict[str, Any] | None = None,
        query: ma.Schema | None = None,
        headers: ma.Schema | None = None,
        body: ma.Schema | None = None,
        problems: tuple[int, ...] = (),
        own_transactions: bool = False,
        doc: dict[str, Any] | None = None,
    ) -> Callable[[View[P]], View[P]]:
        """A decorator that serves a view.

        What the view returns is written by `answer`, unless it is a response already, which `answer` then
        only documents. `access` is the scope a key must have. The view runs inside one transaction (a GET,
        which only reads, without one), together with the key's check, unless it asks for `own_transactions`.
        It gets the path's values as keywords, and before them what was sent: body, headers, query, whichever
        are named, parsed.
        """

        sent = {"query": query, "headers": headers, "json": body}

        def decorate(view: View[P]) -> View[P]:
            operation = self.response(status, answer, headers=answer_headers)(view)
            for location, schema in sent.items():
                if schema is not None:
                    operation = self.arguments(schema, location=location)(operation)
            if access is not PUBLIC:
                submits = status == ACCEPTED
                operation = _guarded(operation, method, access, own_transactions, submits=submits)
            operation = self.doc(operationId=view.__name__, **_documented(access, sent, problems, doc))(
                operation
            )
            self.add_url_rule(rule, view.__name__, operation, methods=[method])
            return view

        return decorate


def _guarded(
    view: View[P], method: Method, access: str | Access, own_transactions: bool, *, submits: bool
) -> View[P]:
    scope = access if isinstance(access, str) else None
    unit_of_work = reading if method == "GET" else transaction

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> Any:
        session = db.session()
        with unit_of_work(session):
            require_scope(_let_in(session, submits), scope)
            if not own_transactions:
                return view(*args, **kwargs)
        return view(*args, **kwargs)

    return guarded


def _let_in(session: Session, submits: bool) -> Principal:
    try:
        principal = identify(session)
    except Unauthenticated:
        limit_failed_logins()
        raise
    limit_requests(principal, submits=submits)
    return principal


def _documented(
    access: str | Access,
    sent: dict[str, ma.Schema | None],
    problems: tuple[int, ...],
    doc: dict[str, Any] | None,
) -> dict[str, Any]:
    statuses = {*problems, 414, 500}
    if access is not PUBLIC:
        statuses |= {401, 403, 429, 503} if isinstance(access, str) else {401, 429, 503}
    if any(sent.values()):
        statuses.add(422)
    if sent["json"]:
        statuses |= {400, 413, 415}
    scopes = [access] if isinstance(access, str) else []
    described: dict[str, Any] = {
        "responses": {str(status): f"Problem{status}" for status in sorted(statuses)},
        "security": [] if access is PUBLIC else [{"key": scopes}],
    }
    if access is not PUBLIC:
        described["x-required-scopes"] = scopes
    for name, value in (doc or {}).items():
        described[name] = described[name] | value if name in described else value
    return described
