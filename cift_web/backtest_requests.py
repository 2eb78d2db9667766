"""What is sent to /backtests."""

from typing import Any

import marshmallow as ma
from marshmallow.validate import Length, Range, Validator

from cift_core.engine import INTERVALS, Execution
from cift_core.engine.execution import MAX_GOOD_FOR, SIZE_TYPES
from cift_core.errors import InvalidInput
from cift_core.models import JobStatus
from cift_core.services.backtests import fitting
from cift_web.bodies import nested_messages
from cift_web.schemas import (
    SYMBOL,
    Flag,
    Items,
    Number,
    Page,
    Part,
    Pattern,
    QueryInteger,
    RequestSchema,
    Text,
    UTCTime,
    Whole,
    one_of,
)
from cift_web.strategy_requests import StrategyChoice

MAX_CASH = 1e15
MAX_SYMBOLS = 200
MAX_TAGS, MAX_TAG_CHARS = 20, 64
MIN_POINTS, MAX_POINTS = 4, 10_000
_DEFAULTS = vars(Execution())


def _fraction(name: str, **bounds: float) -> Number:
    return Number(load_default=_DEFAULTS[name], metadata=bounds)


def _optional(name: str, **bounds: float) -> Number:
    return Number(load_default=_DEFAULTS[name], allow_none=True, metadata=bounds)


class Size(RequestSchema):
    """How large an entry is: a share of the equity in (0, 1], a number of units, or an amount of money."""

    type = Text(required=True, validate=one_of(SIZE_TYPES))
    value = Number(required=True, metadata={"exclusiveMinimum": 0})


class ExecutionSchema(RequestSchema):
    """How orders are filled, sized and charged. Rates are fractions, not percent."""

    fill = Text(load_default=_DEFAULTS["fill"], validate=one_of(("next_open", "same_close")))
    commission_rate = _fraction("commission_rate", minimum=0, exclusiveMaximum=1)
    commission_fixed = _fraction("commission_fixed", minimum=0)
    slippage_rate = _fraction("slippage_rate", minimum=0, exclusiveMaximum=1)
    allow_short = Flag(load_default=_DEFAULTS["allow_short"])
    size = Part(
        Size,
        load_default=_DEFAULTS["size"],
        allow_none=True,
        metadata={
            "description": "null: an equal share of the equity for each symbol; with weights no other."
        },
    )
    fractional = Flag(load_default=_DEFAULTS["fractional"])
    stop_loss = _optional("stop_loss", exclusiveMinimum=0, exclusiveMaximum=1)
    take_profit = _optional("take_profit", exclusiveMinimum=0)
    trailing_stop = _optional("trailing_stop", exclusiveMinimum=0, exclusiveMaximum=1)
    stop_base = Text(load_default=_DEFAULTS["stop_base"], validate=one_of(("signal_close", "fill")))
    close_at_end = Flag(load_default=_DEFAULTS["close_at_end"])
    good_for = Whole(
        load_default=_DEFAULTS["good_for"],
        metadata={
            "minimum": 1,
            "maximum": MAX_GOOD_FOR,
            "description": "Bars that a limit or stop entry lives, where the strategy says nothing else.",
        },
    )
    min_trade_value = Number(
        load_default=_DEFAULTS["min_trade_value"],
        metadata={"minimum": 0, "description": "Only with target weights: smaller changes are not traded."},
    )
    risk_free_rate = _fraction("risk_free_rate", exclusiveMinimum=-1)
    periods_per_year = _optional("periods_per_year", exclusiveMinimum=0)


class Distinct(Validator):
    """Refuses a list that holds something twice."""

    def __call__(self, value: list[str]) -> list[str]:
        """The list."""
        twice = [one for place, one in enumerate(value) if one in value[:place]]
        if twice:
            raise ma.ValidationError(f"must name each only once; twice: {', '.join(dict.fromkeys(twice))}")
        return value


class ExecutionPart(Part):
    """Documented by ExecutionSchema, read by the engine's own Execution: what it accepts is what runs."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> dict[str, Any]:  # type: ignore[override]
        try:
            return dict(vars(Execution.from_mapping(value)))
        except InvalidInput as error:
            raise ma.ValidationError(nested_messages(error.errors, below="/execution")) from error


class BacktestRequest(RequestSchema):
    """A backtest to run."""

    strategy = Part(StrategyChoice, required=True)
    symbols = Items(
        Text(
            validate=Pattern(
                SYMBOL,
                error="must have 1 to 32 of A-Z a-z 0-9 . _ / - and begin with one of the first three kinds",
            )
        ),
        required=True,
        validate=[Length(1, MAX_SYMBOLS, error="must name {min} to {max} symbols"), Distinct()],
        metadata={
            "uniqueItems": True,
            "description": "On one cash account; of one moment entries are filled in this order.",
            "examples": [["GOOG"]],
        },
    )
    interval = Text(required=True, validate=one_of(INTERVALS), metadata={"examples": ["1d"]})
    start = UTCTime(
        load_default=None, allow_none=True, metadata={"description": "Inclusive; null: all there is."}
    )
    end = UTCTime(
        load_default=None, allow_none=True, metadata={"description": "Exclusive; null: all there is."}
    )
    cash = Number(
        required=True,
        validate=Range(0, MAX_CASH, min_inclusive=False, error="must be above 0 and at most 1e15"),
        metadata={"exclusiveMinimum": 0, "maximum": MAX_CASH, "examples": [10000]},
    )
    execution = ExecutionPart(ExecutionSchema, load_default=_DEFAULTS.copy)
    prices = Text(
        load_default=None,
        allow_none=True,
        validate=one_of(("adjusted", "raw")),
        metadata={"description": "null: adjusted where the symbol has adjusted closes, else raw."},
    )
    data_policy = Text(
        load_default="any",
        validate=one_of(("any", "strict")),
        metadata={"description": "strict: refuses data with a day that is degraded or missing."},
    )
    tags = Items(
        Text(validate=Length(1, MAX_TAG_CHARS, error="must have {min} to {max} characters")),
        load_default=list,
        validate=Length(0, MAX_TAGS, error="must be at most {max} tags"),
        metadata={"examples": [["demo"]]},
    )

    @ma.validates_schema
    def _check_range(self, data: dict[str, Any], **_: Any) -> None:
        if data["start"] and data["end"] and data["start"] >= data["end"]:
            raise ma.ValidationError("must be after start", "end")

    @ma.post_load
    def _to_json(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        if "strategy_id" not in data["strategy"]:
            execution = Execution(**data["execution"])
            try:
                fitted = fitting(execution, data["strategy"], len(data["symbols"]))
            except InvalidInput as error:
                raise ma.ValidationError(nested_messages(error.errors, below="")) from error
            data["execution"] = dict(vars(fitted))
        times = {name: UTCTime().serialize(name, data) for name in ("start", "end")}
        return {**data, **times, "tags": list(dict.fromkeys(data["tags"]))}


class BacktestQuery(Page):
    """Which backtests to list."""

    status = Text(validate=one_of(tuple(JobStatus)))
    strategy = Text(validate=Length(1, 64))
    symbol = Text(validate=Length(1, 32))
    tag = Text(validate=Length(1, MAX_TAG_CHARS))
    created_after = UTCTime()
    revision = QueryInteger(
        validate=Range(1, 2**63 - 1, error="must be the id of a revision"),
        metadata={"description": "Finished ones that stood on older data than this revision's."},
    )


class EquityQuery(Page):
    """Which part of the equity to read."""

    max_points = QueryInteger(
        validate=Range(MIN_POINTS, MAX_POINTS, error="must lie between {min} and {max}"),
        metadata={"description": "Thins the whole curve for a plot, in place of pages: `next` is null."},
    )
