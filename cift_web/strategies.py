"""/strategies: what can be backtested."""

from flask import Response, jsonify
from marshmallow import fields
from marshmallow.validate import OneOf

from cift_core.strategies import STRATEGIES
from cift_web.resources import Resource
from cift_web.schemas import AnswerSchema

strategies = Resource("strategies", url_prefix="/api/v1/strategies", description="Strategies to choose from.")


class ParameterAnswer(AnswerSchema):
    """One parameter; `min` and `max` are allowed values."""

    name = fields.String(required=True)
    kind = fields.String(required=True, validate=OneOf(["int", "float"]))
    default = fields.Float(required=True)
    min = fields.Float(required=True)
    max = fields.Float(required=True)
    doc = fields.String(required=True)


class StrategyAnswer(AnswerSchema):
    """One built-in strategy."""

    name = fields.String(required=True)
    title = fields.String(required=True)
    rule = fields.String(required=True)
    source = fields.String(required=True)
    params = fields.List(fields.Nested(ParameterAnswer), required=True)


class Catalog(AnswerSchema):
    """By name."""

    items = fields.List(fields.Nested(StrategyAnswer), required=True)


@strategies.operation("GET", "/catalog", access="backtests:read", answer=Catalog())
def list_strategy_catalog() -> Response:
    """List the built-in strategies

    Each with its rule, where it comes from, and its parameters with default and bounds.
    """
    return jsonify(
        items=[
            {
                "name": strategy.name,
                "title": strategy.title,
                "rule": strategy.rule,
                "source": strategy.source,
                "params": [
                    {
                        "name": parameter.name,
                        "kind": parameter.kind,
                        "default": parameter.default,
                        "min": parameter.min,
                        "max": parameter.max,
                        "doc": parameter.doc,
                    }
                    for parameter in strategy.params
                ],
            }
            for _, strategy in sorted(STRATEGIES.items())
        ]
    )
