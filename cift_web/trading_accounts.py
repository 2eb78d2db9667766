"""/trading-accounts: a user's accounts with brokers. Credentials go in and never come out."""

from typing import Any
from uuid import UUID

import marshmallow as ma
from flask import Response, g
from marshmallow import fields
from marshmallow.validate import Length

from cift_core.models import TradingAccount
from cift_core.services import owned
from cift_core.services import trading_accounts as service
from cift_core.services.credentials import Credentials
from cift_web.audit import audit_change
from cift_web.database import db, stores
from cift_web.etags import ETAG_HEADER, EXPECTED, UNCHANGED, expect, row_headers, unchanged
from cift_web.owned import (
    MADE_HEADERS,
    ChangeSchema,
    OwnedAnswer,
    OwnedQuery,
    description_field,
    made,
    name_field,
    removed,
    tagged,
)
from cift_web.resources import Resource
from cift_web.schemas import AnswerSchema, LinksPart, Pattern, RequestSchema, Text, UTCTime

READ, WRITE, PREFIX = "accounts:read", "accounts:write", "/api/v1/trading-accounts"
BROKER = r"^[a-z0-9][a-z0-9_.-]{0,63}$"
MAX_CREDENTIALS, MAX_SECRET_CHARS = 20, 8_192
trading_accounts = Resource(
    "trading_accounts",
    url_prefix=PREFIX,
    description="Your accounts with brokers. Credentials are kept encrypted and never shown; no order is "
    "sent anywhere from here.",
)


def links_of(account_id: UUID) -> dict[str, str]:
    """The paths of an account."""
    return {"self": f"{PREFIX}/{account_id}"}


def _broker(**options: Any) -> Text:
    error = "must have 1 to 64 of a-z 0-9 _ . - and begin with one of the first two kinds"
    return Text(validate=Pattern(BROKER, error=error), metadata={"examples": ["binance"]}, **options)


class CredentialsField(fields.Dict):
    """An object of secret texts; no error shows one."""

    default_error_messages = {  # noqa: RUF012
        "required": "is missing",
        "null": "must not be null",
        "invalid": "must be a JSON object of strings",
    }

    def __init__(self, **options: Any) -> None:
        description = f"Names and secrets: 1 to {MAX_CREDENTIALS}, of up to {MAX_SECRET_CHARS:,} characters."
        super().__init__(
            keys=fields.String(),
            values=fields.String(),
            load_only=True,
            metadata={
                "description": f"{description} They are never shown again.",
                "minProperties": 1,
                "maxProperties": MAX_CREDENTIALS,
                "examples": [{"api_key": "…", "api_secret": "…"}],
                "writeOnly": True,
            },
            **options,
        )

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> Credentials:  # type: ignore[override]
        if not isinstance(value, dict):
            raise self.make_error("invalid")
        if not 1 <= len(value) <= MAX_CREDENTIALS:
            raise ma.ValidationError(f"must have 1 to {MAX_CREDENTIALS} members")
        wrong = {name: [flaw] for name, secret in value.items() if (flaw := _flaw(name, secret))}
        if wrong:
            raise ma.ValidationError(wrong)
        return Credentials(value)


def _flaw(name: str, secret: Any) -> str | None:
    if not 1 <= len(name) <= 64 or not name.isprintable():
        return "must have a name of 1 to 64 printable characters"
    if not isinstance(secret, str):
        return "must be a string"
    if not 1 <= len(secret) <= MAX_SECRET_CHARS:
        return f"must have 1 to {MAX_SECRET_CHARS:,} characters"
    return None


class NewAccount(RequestSchema):
    """An account to keep."""

    name = name_field(required=True, metadata={"examples": ["Main account"]})
    description = description_field(load_default="")
    broker = _broker(required=True)
    credentials = CredentialsField(required=True)


class AccountChange(ChangeSchema):
    """What to change of an account; `credentials` are replaced whole."""

    name = name_field()
    description = description_field()
    broker = _broker()
    credentials = CredentialsField()


class AccountQuery(OwnedQuery):
    """Which accounts to list."""

    broker = Text(validate=Length(1, 64))


class AccountAnswer(OwnedAnswer):
    """An account, without its credentials."""

    broker = fields.String(required=True)
    credentials_changed_at = UTCTime(required=True)
    links = LinksPart(links_of)


class AccountPage(AnswerSchema):
    """Newest first."""

    items = fields.List(fields.Nested(AccountAnswer), required=True)
    next = fields.String(required=True, allow_none=True)


@trading_accounts.operation(
    "POST",
    "",
    access=WRITE,
    body=NewAccount(),
    answer=AccountAnswer(),
    status=201,
    answer_headers=MADE_HEADERS,
    problems=(409,),
)
def create_trading_account(request: dict[str, Any]) -> Any:
    """Keep a trading account

    The credentials are encrypted for this account alone.
    """
    session = db.session()
    row = service.create(session, stores().settings, g.principal.user_id, **request)
    audit_change(session, row.id)
    return made(row, links_of)


@trading_accounts.operation("GET", "", access=READ, query=AccountQuery(), answer=AccountPage())
def list_trading_accounts(query: dict[str, Any]) -> dict[str, Any]:
    """List trading accounts

    Your own, newest first.
    """
    found, following = owned.page(db.session(), TradingAccount, g.principal.user_id, **query)
    return {"items": found, "next": following}


@trading_accounts.operation(
    "GET",
    "/<uuid:account_id>",
    access=READ,
    answer=AccountAnswer(),
    answer_headers=ETAG_HEADER,
    problems=(404,),
    doc=UNCHANGED,
)
def get_trading_account(account_id: UUID) -> Any:
    """Read a trading account"""
    row = owned.get(db.session(), TradingAccount, g.principal.user_id, account_id)
    return unchanged(row_headers(row)) or tagged(row)


@trading_accounts.operation(
    "PATCH",
    "/<uuid:account_id>",
    access=WRITE,
    body=AccountChange(),
    answer=AccountAnswer(),
    answer_headers=ETAG_HEADER,
    problems=(404, 409, 412),
    doc=EXPECTED,
)
def change_trading_account(request: dict[str, Any], account_id: UUID) -> Any:
    """Change a trading account"""
    session = db.session()
    row, changed = service.change(
        session, stores().settings, g.principal.user_id, account_id, request, expect
    )
    audit_change(session, account_id, details={"changed": changed, "version": row.version})
    return tagged(row)


@trading_accounts.operation("DELETE", "/<uuid:account_id>", access=WRITE, status=204, problems=(404,))
def delete_trading_account(account_id: UUID) -> Response:
    """Remove a trading account

    With its credentials.
    """
    session = db.session()
    owned.remove(session, TradingAccount, g.principal.user_id, account_id)
    audit_change(session, account_id)
    return removed()
