"""/api-keys: a user's own keys. A secret is shown once; no key makes one that may do more than itself."""

from typing import Any
from uuid import UUID

from flask import Response, g, jsonify
from marshmallow import fields
from marshmallow.validate import Length, OneOf

from cift_core.models import APIKey
from cift_core.services import own_api_keys as service
from cift_core.services.api_keys import SCOPES
from cift_core.services.own_api_keys import KEY_STATES
from cift_web.audit import audit_change
from cift_web.database import db, stores
from cift_web.owned import MADE_HEADERS, ChangeSchema, name_field, removed
from cift_web.resources import Resource
from cift_web.schemas import AnswerSchema, Items, LinksPart, Page, RequestSchema, Text, UTCTime

READ, WRITE, PREFIX = "accounts:read", "accounts:write", "/api/v1/api-keys"
api_keys = Resource("api_keys", url_prefix=PREFIX, description="Your API keys.")
MAX_SCOPES = 20
LOCATION = {"Location": MADE_HEADERS["Location"]}


def links_of(key_id: UUID) -> dict[str, str]:
    """The paths of a key."""
    return {"self": f"{PREFIX}/{key_id}", "revoke": f"{PREFIX}/{key_id}/revoke"}


class NewKey(RequestSchema):
    """A key to make."""

    name = name_field(required=True, metadata={"examples": ["nightly backtests"]})
    scopes = Items(
        Text(metadata={"enum": list(SCOPES)}),
        required=True,
        validate=Length(1, MAX_SCOPES, error="must name {min} to {max} scopes"),
        metadata={
            "description": "What it may do: no more than the key in use.",
            "examples": [["backtests:read", "backtests:write"]],
        },
    )
    expires_at = UTCTime(
        load_default=None,
        allow_none=True,
        metadata={"description": "null: when the key in use does, which may be never. No later than that."},
    )


class KeyChange(ChangeSchema):
    """What to change of a key: scopes and expiry are fixed when it is made."""

    name = name_field()


class KeyQuery(Page):
    """Which keys to list."""

    status = Text(validate=OneOf(KEY_STATES, error="must be one of {choices}"))
    created_after = UTCTime()


class KeyAnswer(AnswerSchema):
    """An API key, without its secret."""

    id = fields.UUID(required=True)
    prefix = fields.String(required=True, metadata={"description": "The <key id> of cift_<key id>_<secret>."})
    name = fields.String(required=True)
    scopes = fields.List(fields.String(), required=True)
    status = fields.Function(
        service.state_of,
        required=True,
        metadata={"type": "string", "enum": list(KEY_STATES)},
    )
    created_at = UTCTime(required=True)
    expires_at = UTCTime(required=True, allow_none=True)
    revoked_at = UTCTime(required=True, allow_none=True)
    last_used_at = UTCTime(required=True, allow_none=True, metadata={"description": "Exact to a minute."})
    links = LinksPart(links_of)


class MadeKey(KeyAnswer):
    """A new API key; `key` is shown here and never again."""

    key = fields.String(required=True)


class KeyPage(AnswerSchema):
    """Newest first."""

    items = fields.List(fields.Nested(KeyAnswer), required=True)
    next = fields.String(required=True, allow_none=True)


@api_keys.operation(
    "POST", "", access=WRITE, body=NewKey(), answer=MadeKey(), status=201, answer_headers=LOCATION
)
def create_api_key(request: dict[str, Any]) -> Response:
    """Make an API key

    `key` in the answer is the only time that its secret is shown. It may do no more, and lives no longer,
    than the key that made it.
    """
    session = db.session()
    row, token = service.create(session, stores().settings, g.principal, **request)
    audit_change(session, row.id, details={"prefix": row.prefix, "scopes": row.scopes})
    response = jsonify({**KeyAnswer().dump(row), "key": token})
    response.status_code = 201
    response.location = links_of(row.id)["self"]
    return response


@api_keys.operation("GET", "", access=READ, query=KeyQuery(), answer=KeyPage())
def list_api_keys(query: dict[str, Any]) -> dict[str, Any]:
    """List API keys

    Your own, newest first.
    """
    found, following = service.list_keys(db.session(), g.principal.user_id, **query)
    return {"items": found, "next": following}


@api_keys.operation("GET", "/<uuid:key_id>", access=READ, answer=KeyAnswer(), problems=(404,))
def get_api_key(key_id: UUID) -> APIKey:
    """Read an API key"""
    return service.get(db.session(), g.principal.user_id, key_id)


@api_keys.operation(
    "PATCH", "/<uuid:key_id>", access=WRITE, body=KeyChange(), answer=KeyAnswer(), problems=(404,)
)
def change_api_key(request: dict[str, Any], key_id: UUID) -> APIKey:
    """Rename an API key"""
    session = db.session()
    row = service.rename(session, g.principal.user_id, key_id, request["name"])
    audit_change(session, key_id, details={"changed": ["name"]})
    return row


@api_keys.operation("POST", "/<uuid:key_id>/revoke", access=WRITE, answer=KeyAnswer(), problems=(404,))
def revoke_api_key(key_id: UUID) -> APIKey:
    """Revoke an API key

    It holds for no request after this one, and stays in the list. Idempotent.
    """
    session = db.session()
    row = service.revoke(session, g.principal.user_id, key_id)
    audit_change(session, key_id, details={"prefix": row.prefix})
    return row


@api_keys.operation("DELETE", "/<uuid:key_id>", access=WRITE, status=204, problems=(404,))
def delete_api_key(key_id: UUID) -> Response:
    """Remove an API key

    It holds for no request after this one.
    """
    session = db.session()
    prefix = service.remove(session, g.principal.user_id, key_id)
    audit_change(session, key_id, details={"prefix": prefix})
    return removed()
