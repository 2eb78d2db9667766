"""/me: whose key this is. /users: everybody, for administrators."""

from typing import Any
from uuid import UUID

from flask import Response, g
from marshmallow import fields
from marshmallow.validate import Length, OneOf

from cift_core.models import APIKey, User
from cift_core.services import users as service
from cift_web.api_keys import KeyAnswer
from cift_web.audit import audit_change
from cift_web.database import db, stores
from cift_web.owned import MADE_HEADERS, removed
from cift_web.resources import ANY_KEY, Resource
from cift_web.schemas import AnswerSchema, Flag, LinksPart, Page, RequestSchema, Text, UTCTime

ADMIN, PREFIX = "admin", "/api/v1/users"
STATES = ("active", "disabled")
users = Resource("users", url_prefix="/api/v1", description="Who you are; and everybody, for administrators.")


def links_of(user_id: UUID) -> dict[str, str]:
    """The paths of a user."""
    return {"self": f"{PREFIX}/{user_id}"}


class Limits(AnswerSchema):
    """What one key and one user may ask for."""

    requests_per_minute = fields.Integer(required=True, metadata={"description": "Of one key."})
    submits_per_minute = fields.Integer(required=True, metadata={"description": "Of one key."})
    max_jobs_in_flight = fields.Integer(
        required=True,
        metadata={"description": "Of one kind that the workers are given at a time; others wait."},
    )
    max_bars_per_job = fields.Integer(required=True)
    max_upload_bytes = fields.Integer(required=True)


class Me(AnswerSchema):
    """You, the key you came with, and what you may ask for."""

    id = fields.UUID(required=True)
    email = fields.String(required=True)
    is_admin = fields.Boolean(required=True)
    created_at = UTCTime(required=True)
    key = fields.Nested(KeyAnswer, required=True)
    limits = fields.Nested(Limits, required=True)


class NewUser(RequestSchema):
    """A user to make."""

    email = Text(required=True, metadata={"examples": ["ada@example.org"]})
    password = Text(
        required=True,
        load_only=True,
        metadata={"description": "At least 12 characters, at most 72 bytes.", "writeOnly": True},
    )
    is_admin = Flag(load_default=False, metadata={"description": "May hold keys with the scope admin."})


class UserChange(RequestSchema):
    """Whether the user's keys hold."""

    is_active = Flag(required=True)


class UserQuery(Page):
    """Which users to list."""

    email = Text(validate=Length(1, 254))
    status = Text(validate=OneOf(STATES, error="must be one of {choices}"))
    created_after = UTCTime()


class UserAnswer(AnswerSchema):
    """A user."""

    id = fields.UUID(required=True)
    email = fields.String(required=True)
    is_admin = fields.Boolean(required=True)
    is_active = fields.Boolean(required=True, metadata={"description": "false: no key of theirs holds."})
    created_at = UTCTime(required=True)
    updated_at = UTCTime(required=True)
    links = LinksPart(links_of)


class UserPage(AnswerSchema):
    """Newest first."""

    items = fields.List(fields.Nested(UserAnswer), required=True)
    next = fields.String(required=True, allow_none=True)


@users.operation("GET", "/me", access=ANY_KEY, answer=Me())
def get_me() -> dict[str, Any]:
    """Read who you are

    Needs a key with any scope.
    """
    session = db.session()
    user = session.get_one(User, g.principal.user_id)
    return {
        "id": user.id,
        "email": user.email,
        "is_admin": user.is_admin,
        "created_at": user.created_at,
        "key": session.get_one(APIKey, g.principal.key_id),
        "limits": stores().settings,
    }


@users.operation(
    "POST",
    "/users",
    access=ADMIN,
    body=NewUser(),
    answer=UserAnswer(),
    status=201,
    answer_headers={"Location": MADE_HEADERS["Location"]},
    problems=(409,),
)
def create_user(request: dict[str, Any]) -> Any:
    """Make a user

    An operator gives them their first key, with `cift keys create`.
    """
    session = db.session()
    user = service.create_user(session, stores().settings, **request)
    audit_change(session, user.id, details={"is_admin": user.is_admin})
    return user, {"Location": links_of(user.id)["self"]}


@users.operation("GET", "/users", access=ADMIN, query=UserQuery(), answer=UserPage())
def list_users(query: dict[str, Any]) -> dict[str, Any]:
    """List users

    Newest first.
    """
    found, following = service.list_users(db.session(), **query)
    return {"items": found, "next": following}


@users.operation("GET", "/users/<uuid:user_id>", access=ADMIN, answer=UserAnswer(), problems=(404,))
def get_user(user_id: UUID) -> User:
    """Read a user"""
    return service.get_user(db.session(), user_id)


@users.operation(
    "PATCH",
    "/users/<uuid:user_id>",
    access=ADMIN,
    body=UserChange(),
    answer=UserAnswer(),
    problems=(404, 409),
)
def change_user(request: dict[str, Any], user_id: UUID) -> User:
    """Disable or enable a user

    No key of a disabled user holds for a request after this one; enabled again, they hold as before. Jobs
    that were accepted run on.
    """
    session = db.session()
    user = service.set_active(session, g.principal.user_id, user_id, request["is_active"])
    audit_change(session, user_id, details={"is_active": user.is_active})
    return user


@users.operation("DELETE", "/users/<uuid:user_id>", access=ADMIN, status=204, problems=(404, 409))
def delete_user(user_id: UUID) -> Response:
    """Remove a user

    With everything they own. The audit trail stays.
    """
    session = db.session()
    service.remove_user(session, g.principal.user_id, user_id)
    audit_change(session, user_id)
    return removed()
