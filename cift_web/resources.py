"""The decorator that makes a view an operation: route, access, transaction, documentation."""

from collections.abc import Callable
from enum import Enum
from functools import wraps
from typing import Any, Literal, ParamSpec

import flask_smorest  # type: ignore[import-untyped]
import marshmallow as ma

from cift_core.stores.postgres import transaction
from cift_web.auth import identify, require_scope
from cift_web.bodies import Parser
from cift_web.database import db

P = ParamSpec("P")
View = Callable[P, Any]
Schema = type[ma.Schema] | ma.Schema
Method = Literal["GET", "POST", "DELETE"]


class Access(Enum):
    """Who may call an operation, when no scope says it."""

    PUBLIC = "public"
    ANY_KEY = "any key"


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
        answer: Schema | None = None,
        status: int = 200,
        answer_headers: dict[str, Any] | None = None,
        query: Schema | None = None,
        headers: Schema | None = None,
        body: Schema | None = None,
        problems: tuple[int, ...] = (),
        also: dict[int, tuple[Schema, str]] | None = None,
        own_transactions: bool = False,
        doc: dict[str, Any] | None = None,
    ) -> Callable[[View[P]], View[P]]:
        """A decorator that serves a view.

        What the view returns is written by `answer`, unless it is a response already, which `answer` then
        only documents. `access` is the scope a key must have. The view runs inside one transaction, together
        with the key's check, unless it asks for `own_transactions`. It gets the path's values as keywords,
        and before them what was sent: body, headers, query, whichever are named, parsed.
        """

        def decorate(view: View[P]) -> View[P]:
            operation = self.response(status, answer, headers=answer_headers)(view)
            for code, (schema, description) in (also or {}).items():
                operation = self.alt_response(code, schema=schema, description=description)(operation)
            for schema_sent, location in ((query, "query"), (headers, "headers"), (body, "json")):
                if schema_sent is not None:
                    # an instance: webargs would build one from a class at each request
                    built = schema_sent() if isinstance(schema_sent, type) else schema_sent
                    operation = self.arguments(built, location=location)(operation)
            if access is not PUBLIC:
                scope = access if isinstance(access, str) else None
                operation = _guarded(operation, scope, own_transactions)
            parsed = query is not None or headers is not None or body is not None
            described = _description(access, parsed, body is not None, problems) | (doc or {})
            operation = self.doc(operationId=view.__name__, **described)(operation)
            self.add_url_rule(rule, view.__name__, operation, methods=[method])
            return view

        return decorate


def _guarded(view: View[P], scope: str | None, own_transactions: bool) -> View[P]:
    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> Any:
        session = db.session()
        with transaction(session):
            require_scope(identify(session), scope)
            if not own_transactions:
                return view(*args, **kwargs)
        return view(*args, **kwargs)

    return guarded


def _description(
    access: str | Access, parsed: bool, has_body: bool, problems: tuple[int, ...]
) -> dict[str, Any]:
    statuses = {*problems, 500}
    if access is not PUBLIC:
        statuses |= {401, 403, 503} if isinstance(access, str) else {401, 503}
    if parsed:
        statuses.add(422)
    if has_body:
        statuses |= {400, 413, 415}
    responses: dict[str, Any] = {str(status): f"Problem{status}" for status in sorted(statuses)}
    if access is PUBLIC:
        return {"responses": responses, "security": []}
    scopes = [access] if isinstance(access, str) else []
    return {"responses": responses, "security": [{"key": scopes}], "x-required-scopes": scopes}
