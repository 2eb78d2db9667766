"""/models: parameters of a user's models, kept under a name; nothing here trains or runs a model."""

from typing import Any
from uuid import UUID

from flask import Response, g
from marshmallow import fields
from marshmallow.validate import Length

from cift_core.models import ModelConfig
from cift_core.services import owned
from cift_web.audit import audit_change
from cift_web.database import db
from cift_web.etags import ETAG_HEADER, EXPECTED, UNCHANGED, expect, row_headers, unchanged
from cift_web.owned import (
    MADE_HEADERS,
    ChangeSchema,
    JSONObject,
    OwnedAnswer,
    OwnedQuery,
    description_field,
    made,
    name_field,
    removed,
    tagged,
)
from cift_web.resources import Resource
from cift_web.schemas import AnswerSchema, LinksPart, Pattern, RequestSchema, Text

READ, WRITE, PREFIX = "backtests:read", "backtests:write", "/api/v1/models"
KIND = r"^[a-z0-9][a-z0-9_.-]{0,63}$"
MAX_PARAMETERS_BYTES = 64 * 1024
model_configs = Resource(
    "model_configs",
    url_prefix=PREFIX,
    description="Configurations of your models: kept here under a name, next to your backtests, for your own "
    "programs to read. No model is trained or run here, and no backtest reads them.",
)


def links_of(model_id: UUID) -> dict[str, str]:
    """The paths of a model configuration."""
    return {"self": f"{PREFIX}/{model_id}"}


def _kind(**options: Any) -> Text:
    error = "must have 1 to 64 of a-z 0-9 _ . - and begin with one of the first two kinds"
    return Text(
        validate=Pattern(KIND, error=error),
        metadata={"description": "What sort of model it is, in your own words.", "examples": ["lstm"]},
        **options,
    )


def _parameters(**options: Any) -> JSONObject:
    return JSONObject(
        max_bytes=MAX_PARAMETERS_BYTES,
        metadata={
            "description": "Any JSON object of up to 65,536 bytes; kept as it is, meaningful to you alone.",
            "examples": [{"layers": [64, 32], "learning_rate": 0.001}],
        },
        **options,
    )


class NewModel(RequestSchema):
    """A model configuration to keep."""

    name = name_field(required=True, metadata={"examples": ["Direction, 64-32"]})
    description = description_field(load_default="")
    kind = _kind(required=True)
    parameters = _parameters(required=True)


class ModelChange(ChangeSchema):
    """What to change of a model configuration; `parameters` are replaced whole."""

    name = name_field()
    description = description_field()
    kind = _kind()
    parameters = _parameters()


class ModelQuery(OwnedQuery):
    """Which model configurations to list."""

    kind = Text(validate=Length(1, 64))


class ModelAnswer(OwnedAnswer):
    """A model configuration."""

    kind = fields.String(required=True)
    parameters = fields.Dict(required=True)
    links = LinksPart(links_of)


class ModelPage(AnswerSchema):
    """Newest first."""

    items = fields.List(fields.Nested(ModelAnswer), required=True)
    next = fields.String(required=True, allow_none=True)


@model_configs.operation(
    "POST",
    "",
    access=WRITE,
    body=NewModel(),
    answer=ModelAnswer(),
    status=201,
    answer_headers=MADE_HEADERS,
    problems=(409,),
)
def create_model(request: dict[str, Any]) -> Any:
    """Keep a model configuration

    CIFT stores it and gives it back; nothing here trains or runs the model.
    """
    session = db.session()
    row = owned.create(session, ModelConfig(owner_id=g.principal.user_id, **request))
    audit_change(session, row.id)
    return made(row, links_of)


@model_configs.operation("GET", "", access=READ, query=ModelQuery(), answer=ModelPage())
def list_models(query: dict[str, Any]) -> dict[str, Any]:
    """List model configurations

    Your own, newest first.
    """
    found, following = owned.page(db.session(), ModelConfig, g.principal.user_id, **query)
    return {"items": found, "next": following}


@model_configs.operation(
    "GET",
    "/<uuid:model_id>",
    access=READ,
    answer=ModelAnswer(),
    answer_headers=ETAG_HEADER,
    problems=(404,),
    doc=UNCHANGED,
)
def get_model(model_id: UUID) -> Any:
    """Read a model configuration"""
    row = owned.get(db.session(), ModelConfig, g.principal.user_id, model_id)
    return unchanged(row_headers(row)) or tagged(row)


@model_configs.operation(
    "PATCH",
    "/<uuid:model_id>",
    access=WRITE,
    body=ModelChange(),
    answer=ModelAnswer(),
    answer_headers=ETAG_HEADER,
    problems=(404, 409, 412),
    doc=EXPECTED,
)
def change_model(request: dict[str, Any], model_id: UUID) -> Any:
    """Change a model configuration"""
    session = db.session()
    row, changed = owned.change(session, ModelConfig, g.principal.user_id, model_id, request, expect)
    audit_change(session, model_id, details={"changed": changed, "version": row.version})
    return tagged(row)


@model_configs.operation("DELETE", "/<uuid:model_id>", access=WRITE, status=204, problems=(404,))
def delete_model(model_id: UUID) -> Response:
    """Remove a model configuration"""
    session = db.session()
    owned.remove(session, ModelConfig, g.principal.user_id, model_id)
    audit_change(session, model_id)
    return removed()
