"""What is sent to name or spell out a strategy."""

from typing import Any

import marshmallow as ma
from marshmallow import fields
from marshmallow.validate import Range

from cift_core.errors import InvalidInput
from cift_core.services.trading_strategies import check_definition
from cift_web.bodies import nested_messages
from cift_web.schemas import Id, Part, RequestSchema, Text, Whole, one_of

MAX_VERSION = 2**31 - 1


class Params(fields.Dict):
    """An object of numbers; which ones there are and their bounds is the strategy's to say."""

    default_error_messages = {"invalid": "must be a JSON object", "null": "must not be null"}  # noqa: RUF012

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.make_error("invalid")
        return value


class OrderSchema(RequestSchema):
    """How the entries of a side are placed in place of market orders."""

    type = Text(required=True, validate=one_of(("limit", "stop")))
    price = Text(required=True, metadata={"examples": ["close * 0.99"]})
    good_for = fields.Raw(metadata={"description": "Bars it lives, a whole number or `$name`."})


class SideSchema(RequestSchema):
    """When a side is entered and left, as conditions of the rules language."""

    entry = Text(required=True, metadata={"examples": ["crosses_above(fast, slow)"]})
    exit = Text(allow_none=True, metadata={"examples": ["crosses_below(fast, slow)"]})
    order = Part(OrderSchema, allow_none=True)


class StopsSchema(RequestSchema):
    """Stops that come with the rules, numbers or `$name`; they win over those of `execution`."""

    stop_loss = fields.Raw()
    take_profit = fields.Raw()
    trailing_stop = fields.Raw()


class RulesSchema(RequestSchema):
    """A strategy as rules; GET /strategies/functions lists what they may call."""

    indicators = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        metadata={"examples": [{"fast": "sma(close, $fast)", "slow": "sma(close, $slow)"}]},
    )
    long = Part(SideSchema, allow_none=True)
    short = Part(SideSchema, allow_none=True)
    stops = Part(StopsSchema, allow_none=True)


class RulesPart(Part):
    """Documented by RulesSchema, read by the compiler of the rules itself, which says where in the text."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> Any:  # type: ignore[override]
        return value


class StrategyDefinition(RequestSchema):
    """A built-in strategy by its `name` (GET /strategies/catalog lists them), or one as `rules`.

    Parameters of a built-in that are left out have their default; each `$name` of rules must be given.
    """

    name = Text(metadata={"examples": ["sma_cross"]})
    rules = RulesPart(RulesSchema, metadata={"description": "In place of `name`."})
    params = Params(
        keys=fields.String(),
        values=fields.Float(),
        load_default=dict,
        metadata={"examples": [{"fast": 10, "slow": 20}]},
    )
    _WAYS: tuple[str, ...] = ("name", "rules")

    @ma.validates_schema(pass_original=True, skip_on_field_errors=False)
    def _check_definition(self, _data: dict[str, Any], sent: Any, **_: Any) -> None:
        """What only the engine knows is told together with what else is wrong."""
        if not isinstance(sent, dict):
            return  # said already
        first, *others = self._WAYS
        ways = [way for way in self._WAYS if way in sent]
        if not ways:
            raise ma.ValidationError(f"is missing (or {' or '.join(others)})", first)
        if len(ways) > 1:
            raise ma.ValidationError(f"can't be combined with {ways[0]}; leave one out", ways[1])
        params = sent.get("params", {})
        if isinstance(params, dict) and (isinstance(sent.get("name"), str) or "rules" in sent):
            try:
                check_definition({ways[0]: sent[ways[0]], "params": params})
            except InvalidInput as error:
                raise ma.ValidationError(nested_messages(error.errors, below="")) from error


class StrategyChoice(StrategyDefinition):
    """A built-in strategy by its `name`, one as `rules`, or a saved one by its `strategy_id`.

    Parameters left out have their default, or the value saved with the strategy; rules want each `$name`.
    """

    strategy_id = Id(metadata={"description": "Of POST /strategies; in place of `name`."})
    version = Whole(
        validate=Range(1, MAX_VERSION, error="must lie between {min} and {max}"),
        metadata={"description": "Of the saved strategy; left out: the latest."},
    )
    _WAYS = ("name", "strategy_id", "rules")

    @ma.validates_schema(pass_original=True, skip_on_field_errors=False)
    def _check_choice(self, _data: dict[str, Any], sent: Any, **_: Any) -> None:
        if isinstance(sent, dict) and "version" in sent and "strategy_id" not in sent:
            raise ma.ValidationError("is only for a saved strategy, with strategy_id", "version")

    @ma.post_load
    def _fill(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        return data if "strategy_id" in data else check_definition(data)
