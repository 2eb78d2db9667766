"""What is sent to and answered by /backtests."""

from dataclasses import asdict
from typing import Any
from uuid import UUID

import marshmallow as ma
from marshmallow import fields
from marshmallow.validate import Length, OneOf, Range

from cift_core.engine import EXIT_REASONS, INTERVALS, SIDES, Execution
from cift_core.engine.execution import SIZE_TYPES
from cift_core.errors import InvalidInput
from cift_core.models import JobStatus
from cift_web.bodies import nested_messages
from cift_web.schemas import (
    SYMBOL,
    AnswerSchema,
    Failure,
    Flag,
    Items,
    LinksPart,
    Number,
    Page,
    Part,
    Pattern,
    QueryInteger,
    RequestSchema,
    Text,
    UTCTime,
)

BAR_INTERVALS = tuple(interval for interval in INTERVALS if interval != "tick")
MAX_CASH = 1e15
MAX_TAGS, MAX_TAG_CHARS = 20, 64
MIN_POINTS, MAX_POINTS = 4, 10_000
_DEFAULTS = asdict(Execution())


PREFIX = "/api/v1/backtests"


def links_of(backtest_id: UUID) -> dict[str, str]:
    """The paths of a backtest and its parts."""
    path = f"{PREFIX}/{backtest_id}"
    return {"self": path, "trades": f"{path}/trades", "equity": f"{path}/equity", "cancel": f"{path}/cancel"}


def one_of(choices: tuple[str, ...]) -> OneOf:
    """A validator whose sentence lists the choices."""
    return OneOf(choices, error="must be one of {choices}")


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
    size = Part(Size, load_default=_DEFAULTS["size"])
    fractional = Flag(load_default=_DEFAULTS["fractional"])
    stop_loss = _optional("stop_loss", exclusiveMinimum=0, exclusiveMaximum=1)
    take_profit = _optional("take_profit", exclusiveMinimum=0)
    trailing_stop = _optional("trailing_stop", exclusiveMinimum=0, exclusiveMaximum=1)
    stop_base = Text(load_default=_DEFAULTS["stop_base"], validate=one_of(("signal_close", "fill")))
    close_at_end = Flag(load_default=_DEFAULTS["close_at_end"])
    risk_free_rate = _fraction("risk_free_rate", exclusiveMinimum=-1)
    periods_per_year = _optional("periods_per_year", exclusiveMinimum=0)


class ExecutionPart(Part):
    """Documented by ExecutionSchema, read by the engine's own Execution: what it accepts is what runs."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> dict[str, Any]:  # type: ignore[override]
        try:
            return asdict(Execution.from_mapping(value))
        except InvalidInput as error:
            raise ma.ValidationError(nested_messages(error.errors, below="/execution")) from error


class Params(fields.Dict):
    """An object of numbers; which ones there are and their bounds is the strategy's to say."""

    default_error_messages = {"invalid": "must be a JSON object", "null": "must not be null"}  # noqa: RUF012

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.make_error("invalid")
        return value


class StrategyChoice(RequestSchema):
    """A built-in strategy; GET /strategies/catalog lists them. Parameters left out have their default."""

    name = Text(required=True, metadata={"examples": ["sma_cross"]})
    params = Params(
        keys=fields.String(),
        values=fields.Float(),
        load_default=dict,
        metadata={"examples": [{"fast": 10, "slow": 20}]},
    )


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
        validate=Length(equal=1, error="must name exactly one symbol for now"),
        metadata={"examples": [["GOOG"]]},
    )
    interval = Text(required=True, validate=one_of(BAR_INTERVALS), metadata={"examples": ["1d"]})
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
    execution = ExecutionPart(ExecutionSchema, load_default=lambda: asdict(Execution()))
    prices = Text(
        load_default=None,
        allow_none=True,
        validate=one_of(("adjusted", "raw")),
        metadata={"description": "null: adjusted where the symbol has adjusted closes, else raw."},
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
        times = {name: UTCTime().serialize(name, data) for name in ("start", "end")}
        return {**data, **times, "tags": list(dict.fromkeys(data["tags"]))}


class BacktestQuery(Page):
    """Which backtests to list."""

    status = Text(validate=one_of(tuple(JobStatus)))
    strategy = Text(validate=Length(1, 64))
    symbol = Text(validate=Length(1, 32))
    tag = Text(validate=Length(1, MAX_TAG_CHARS))
    created_after = UTCTime()


class EquityQuery(Page):
    """Which part of the equity to read."""

    max_points = QueryInteger(
        validate=Range(MIN_POINTS, MAX_POINTS, error="must lie between {min} and {max}"),
        metadata={"description": "Thins the whole curve for a plot, in place of pages: `next` is null."},
    )


class OpenPosition(AnswerSchema):
    """What is held at the end when `close_at_end` is false."""

    side = fields.String(required=True, validate=OneOf(SIDES))
    size = fields.Float(required=True)
    entry_time = fields.String(required=True)
    entry_price = fields.Float(required=True)
    mark_price = fields.Float(required=True)
    unrealized_pnl = fields.Float(required=True)
    bars_held = fields.Integer(required=True)


def _figure() -> fields.Float:
    return fields.Float(required=True, allow_none=True)


class Metrics(AnswerSchema):
    """Fractions, not percent; null is a figure that does not exist."""

    trades = fields.Integer(required=True)
    final_equity = _figure()
    total_return = _figure()
    annual_return = _figure()
    annual_volatility = _figure()
    sharpe = _figure()
    sortino = _figure()
    calmar = _figure()
    max_drawdown = _figure()
    max_drawdown_duration_s = _figure()
    periods_per_year = _figure()
    rejected_orders = fields.Integer(required=True)
    ruined = fields.Boolean(required=True)
    open_position = fields.Nested(OpenPosition, required=True, allow_none=True)
    exposure = _figure()
    turnover = _figure()
    win_rate = _figure()
    profit_factor = _figure()
    expectancy = _figure()
    avg_trade_return = _figure()
    best_trade = _figure()
    worst_trade = _figure()
    fees_paid = _figure()
    buy_and_hold_return = _figure()


class DataSeen(AnswerSchema):
    """Exactly what the engine saw."""

    rows = fields.Integer(required=True)
    first = fields.String(required=True)
    last = fields.String(required=True)
    prices = fields.String(required=True, validate=OneOf(["adjusted", "raw"]))
    sha256 = fields.String(required=True)


class BacktestAnswer(AnswerSchema):
    """A backtest: what was asked for, how far it is, what came out."""

    id = fields.UUID(required=True)
    status = fields.String(required=True, validate=OneOf(tuple(JobStatus)))
    progress = fields.Float(required=True, metadata={"description": "0 to 1"})
    request = fields.Dict(required=True, metadata={"description": "With every default filled in."})
    metrics = fields.Nested(Metrics, required=True, allow_none=True)
    data = fields.Nested(DataSeen, required=True, allow_none=True)
    error = fields.Nested(Failure, required=True, allow_none=True)
    attempt = fields.Integer(required=True)
    task_id = fields.String(required=True, allow_none=True)
    engine_version = fields.String(required=True, allow_none=True)
    result_digest = fields.String(required=True, allow_none=True)
    tags = fields.List(fields.String(), required=True)
    created_at = UTCTime(required=True)
    started_at = UTCTime(required=True, allow_none=True)
    finished_at = UTCTime(required=True, allow_none=True)
    links = LinksPart(links_of)


class BacktestPage(AnswerSchema):
    """Newest first."""

    items = fields.List(fields.Nested(BacktestAnswer), required=True)
    next = fields.String(required=True, allow_none=True)


class Trade(AnswerSchema):
    """One closed trade; prices after slippage, pnl net of both fees."""

    symbol = fields.String(required=True)
    side = fields.String(required=True, validate=OneOf(SIDES))
    size = fields.Float(required=True)
    entry_time = fields.String(required=True)
    entry_price = fields.Float(required=True)
    exit_time = fields.String(required=True)
    exit_price = fields.Float(required=True)
    pnl = fields.Float(required=True)
    return_ = fields.Float(required=True, data_key="return")
    fees = fields.Float(required=True)
    bars_held = fields.Integer(required=True)
    exit_reason = fields.String(required=True, validate=OneOf(EXIT_REASONS))


class TradePage(AnswerSchema):
    """In exit order."""

    items = fields.List(fields.Nested(Trade), required=True)
    next = fields.String(required=True, allow_none=True)


class EquityPoint(AnswerSchema):
    """The account at the close of one bar."""

    time = fields.String(required=True)
    equity = fields.Float(required=True)
    cash = fields.Float(required=True)
    position_value = fields.Float(required=True)
    drawdown = fields.Float(required=True)


class EquityPage(AnswerSchema):
    """In time order."""

    items = fields.List(fields.Nested(EquityPoint), required=True)
    next = fields.String(required=True, allow_none=True)
