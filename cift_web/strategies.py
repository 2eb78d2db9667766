"""/strategies: what can be backtested."""

from flask import Response, jsonify
from marshmallow import fields
from marshmallow.validate import OneOf

from cift_core.rules import FUNCTIONS, Function
from cift_core.strategies import STRATEGIES
from cift_web.resources import Resource
from cift_web.schemas import AnswerSchema

strategies = Resource("strategies", url_prefix="/api/v1/strategies", description="Strategies to choose from.")


class ParameterAnswer(AnswerSchema):
    """One parameter; `min` and `max` are allowed values. Where `default` is null it must be given."""

    name = fields.String(required=True)
    kind = fields.String(required=True, validate=OneOf(["int", "float"]))
    default = fields.Float(required=True, allow_none=True)
    min = fields.Float(required=True)
    max = fields.Float(required=True)
    doc = fields.String(required=True)


class StrategyAnswer(AnswerSchema):
    """One strategy, built in or of a package; it gives signals for each symbol, or weights over all."""

    name = fields.String(required=True)
    kind = fields.String(required=True, validate=OneOf(["signals", "weights"]))
    title = fields.String(required=True)
    rule = fields.String(required=True)
    source = fields.String(required=True)
    params = fields.List(fields.Nested(ParameterAnswer), required=True)


class Catalog(AnswerSchema):
    """By name."""

    items = fields.List(fields.Nested(StrategyAnswer), required=True)


class FunctionAnswer(AnswerSchema):
    """One function of the rules language."""

    name = fields.String(required=True)
    signature = fields.String(required=True, metadata={"examples": ["sma(series, window)"]})
    columns = fields.List(
        fields.String(), required=True, metadata={"description": "Of the bars, which it reads besides."}
    )
    doc = fields.String(required=True)
    source = fields.String(required=True)


class FunctionList(AnswerSchema):
    """By name."""

    items = fields.List(fields.Nested(FunctionAnswer), required=True)


@strategies.operation("GET", "/functions", access="backtests:read", answer=FunctionList())
def list_strategy_functions() -> dict[str, list[Function]]:
    """List the functions of the rules language

    Each with how it is written, what it reads and where it comes from. Besides there are the operators
    `+ - * / **`, comparisons, `and or not`, `x[3]`, `abs`, `min`, `max`, `crosses_above`, `crosses_below`.
    """
    return {"items": [function for _, function in sorted(FUNCTIONS.items())]}


@strategies.operation("GET", "/catalog", access="backtests:read", answer=Catalog())
def list_strategy_catalog() -> Response:
    """List the strategies that ship and those of installed packages

    Each with its rule, where it comes from, and its parameters with default and bounds.
    """
    return jsonify(
        items=[
            {
                "name": strategy.name,
                "kind": "signals" if strategy.weigh is None else "weights",
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
