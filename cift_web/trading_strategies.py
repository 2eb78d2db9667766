"""/strategies: a user's own, saved with their versions. (The built-in ones: cift_web/strategies.py.)"""

from typing import Any
from uuid import UUID

from flask import Response, g
from marshmallow import fields

from cift_core.models import TradingStrategy, TradingStrategyVersion
from cift_core.services import owned
from cift_core.services import trading_strategies as service
from cift_web.audit import audit_change
from cift_web.database import db
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
from cift_web.schemas import AnswerSchema, LinksPart, Page, Part, RequestSchema, UTCTime
from cift_web.strategy_requests import MAX_VERSION, StrategyDefinition

READ, WRITE, PREFIX = "backtests:read", "backtests:write", "/api/v1/strategies"
trading_strategies = Resource(
    "trading_strategies", url_prefix=PREFIX, description="Your own strategies, saved with their versions."
)


def links_of(strategy_id: UUID) -> dict[str, str]:
    """The paths of a strategy and its versions."""
    return {"self": f"{PREFIX}/{strategy_id}", "versions": f"{PREFIX}/{strategy_id}/versions"}


class NewStrategy(RequestSchema):
    """A strategy to save."""

    name = name_field(required=True, metadata={"examples": ["Fast cross"]})
    description = description_field(load_default="")
    definition = Part(StrategyDefinition, required=True, data_key="strategy")


class StrategyChange(ChangeSchema):
    """What to change of a strategy; `strategy` is replaced whole."""

    name = name_field()
    description = description_field()
    definition = Part(StrategyDefinition, data_key="strategy")


class SavedDefinition(AnswerSchema):
    """What runs: a built-in strategy, or rules, with all parameters."""

    name = fields.String(metadata={"description": "Of a built-in strategy."})
    rules = fields.Dict(metadata={"description": "As they were given, in place of `name`."})
    params = fields.Dict(keys=fields.String(), values=fields.Float(), required=True)


class SavedStrategy(OwnedAnswer):
    """A strategy as it stands."""

    definition = fields.Nested(SavedDefinition, required=True, data_key="strategy")
    links = LinksPart(links_of)


class StrategyVersion(AnswerSchema):
    """A strategy as it was after one of its changes; it never changes."""

    version = fields.Integer(required=True)
    name = fields.String(required=True)
    description = fields.String(required=True)
    definition = fields.Nested(SavedDefinition, required=True, data_key="strategy")
    created_at = UTCTime(required=True)


class StrategyPage(AnswerSchema):
    """Newest first."""

    items = fields.List(fields.Nested(SavedStrategy), required=True)
    next = fields.String(required=True, allow_none=True)


class VersionPage(AnswerSchema):
    """Newest first."""

    items = fields.List(fields.Nested(StrategyVersion), required=True)
    next = fields.String(required=True, allow_none=True)


@trading_strategies.operation(
    "POST",
    "",
    access=WRITE,
    body=NewStrategy(),
    answer=SavedStrategy(),
    status=201,
    answer_headers=MADE_HEADERS,
    problems=(409,),
)
def create_strategy(request: dict[str, Any]) -> Any:
    """Save a strategy

    Its parameters are checked now. `POST /backtests` runs it by its id.
    """
    session = db.session()
    row = service.create(session, g.principal.user_id, **request)
    audit_change(session, row.id, details={"version": row.version})
    return made(row, links_of)


@trading_strategies.operation("GET", "", access=READ, query=OwnedQuery(), answer=StrategyPage())
def list_strategies(query: dict[str, Any]) -> dict[str, Any]:
    """List strategies

    Your own, newest first.
    """
    found, following = owned.page(db.session(), TradingStrategy, g.principal.user_id, **query)
    return {"items": found, "next": following}


@trading_strategies.operation(
    "GET",
    "/<uuid:strategy_id>",
    access=READ,
    answer=SavedStrategy(),
    answer_headers=ETAG_HEADER,
    problems=(404,),
    doc=UNCHANGED,
)
def get_strategy(strategy_id: UUID) -> Any:
    """Read a strategy

    As it stands, its latest version.
    """
    row = owned.get(db.session(), TradingStrategy, g.principal.user_id, strategy_id)
    return unchanged(row_headers(row)) or tagged(row)


@trading_strategies.operation(
    "PATCH",
    "/<uuid:strategy_id>",
    access=WRITE,
    body=StrategyChange(),
    answer=SavedStrategy(),
    answer_headers=ETAG_HEADER,
    problems=(404, 409, 412),
    doc=EXPECTED,
)
def change_strategy(request: dict[str, Any], strategy_id: UUID) -> Any:
    """Change a strategy

    Makes a new version, unless nothing differs. Versions made before, and the backtests that ran
    them, stay as they are.
    """
    session = db.session()
    row, changed = service.change(session, g.principal.user_id, strategy_id, request, expect)
    audit_change(session, strategy_id, details={"changed": changed, "version": row.version})
    return tagged(row)


@trading_strategies.operation("DELETE", "/<uuid:strategy_id>", access=WRITE, status=204, problems=(404,))
def delete_strategy(strategy_id: UUID) -> Response:
    """Remove a strategy

    With all its versions. Backtests that ran it stay, and keep what they ran.
    """
    session = db.session()
    owned.remove(session, TradingStrategy, g.principal.user_id, strategy_id)
    audit_change(session, strategy_id)
    return removed()


@trading_strategies.operation(
    "GET",
    "/<uuid:strategy_id>/versions",
    access=READ,
    query=Page(),
    answer=VersionPage(),
    problems=(404,),
)
def list_strategy_versions(query: dict[str, Any], strategy_id: UUID) -> dict[str, Any]:
    """List the versions of a strategy

    Newest first.
    """
    found, following = service.list_versions(db.session(), g.principal.user_id, strategy_id, **query)
    return {"items": found, "next": following}


@trading_strategies.operation(
    "GET",
    f"/<uuid:strategy_id>/versions/<int(min=1, max={MAX_VERSION}):version>",
    access=READ,
    answer=StrategyVersion(),
    problems=(404,),
)
def get_strategy_version(strategy_id: UUID, version: int) -> TradingStrategyVersion:
    """Read a version of a strategy"""
    return service.get_version(db.session(), g.principal.user_id, strategy_id, version)
