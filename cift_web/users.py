"""/me: whose key this is."""

from typing import Any

from flask import g
from marshmallow import fields

from cift_core.models import APIKey, User
from cift_web.database import db
from cift_web.resources import ANY_KEY, Resource
from cift_web.schemas import AnswerSchema, UTCTime

users = Resource("users", url_prefix="/api/v1", description="Who you are.")


class KeyAnswer(AnswerSchema):
    """The API key in use; its secret is shown when it is made and never again."""

    id = fields.UUID(required=True)
    prefix = fields.String(required=True)
    name = fields.String(required=True)
    scopes = fields.List(fields.String(), required=True)
    created_at = UTCTime(required=True)
    expires_at = UTCTime(required=True, allow_none=True)
    last_used_at = UTCTime(required=True, allow_none=True, metadata={"description": "Exact to a minute."})


class Me(AnswerSchema):
    """You and the key you came with."""

    id = fields.UUID(required=True)
    email = fields.String(required=True)
    is_admin = fields.Boolean(required=True)
    created_at = UTCTime(required=True)
    key = fields.Nested(KeyAnswer, required=True)


@users.operation("GET", "/me", access=ANY_KEY, answer=Me())
def get_me() -> dict[str, Any]:
    """Read who you are

    Needs a key with any scope.
    """
    session = db.session()
    user = session.get_one(User, g.principal.user_id)
    key = session.get_one(APIKey, g.principal.key_id)
    return {
        "id": user.id,
        "email": user.email,
        "is_admin": user.is_admin,
        "created_at": user.created_at,
        "key": key,
    }
