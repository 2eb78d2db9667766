"""What /backtests answers."""

from uuid import UUID

from marshmallow import fields
from marshmallow.validate import OneOf

from cift_core.engine import EXIT_REASONS, SIDES
from cift_core.models import JobStatus
from cift_web.schemas import AnswerSchema, Failure, LinksPart, StoredPart, UTCTime

PREFIX = "/api/v1/backtests"


def links_of(backtest_id: UUID) -> dict[str, str]:
    """The paths of a backtest and its parts."""
    path = f"{PREFIX}/{backtest_id}"
    return {"self": path, "trades": f"{path}/trades", "equity": f"{path}/equity", "cancel": f"{path}/cancel"}


class OpenPosition(AnswerSchema):
    """What is held at the end when `close_at_end` is false."""

    symbol = fields.String(metadata={"description": "With several symbols."})
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
    open_positions = fields.List(
        fields.Nested(OpenPosition),
        metadata={"description": "With several symbols, in place of `open_position`."},
    )
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


class DataSource(AnswerSchema):
    """The stored rows that the bars are, or were built from."""

    kind = fields.String(required=True, validate=OneOf(("bars", "ticks")))
    interval = fields.String(required=True, allow_none=True, metadata={"description": "null of ticks"})


class DaysSeen(AnswerSchema):
    """How many days were in which condition."""

    available = fields.Integer(required=True)
    degraded = fields.Integer(required=True)
    missing = fields.Integer(required=True)


class QualitySeen(AnswerSchema):
    """What was known of the quality of what was read when the backtest finished."""

    days = fields.Nested(DaysSeen, required=True)
    unchecked_days = fields.Integer(required=True, metadata={"description": "Changed since their check."})
    gaps = fields.Integer(required=True)
    coverage = fields.Float(
        required=True, allow_none=True, metadata={"description": "Share of the expected time that has rows."}
    )
    gap_pnl_share = fields.Float(
        required=True,
        allow_none=True,
        metadata={"description": "Of all |pnl|: of the trades that were held while there was a gap."},
    )


class SymbolSeen(AnswerSchema):
    """Exactly what the engine saw of a symbol."""

    rows = fields.Integer(required=True)
    first = fields.String(required=True)
    last = fields.String(required=True)
    prices = fields.String(required=True, validate=OneOf(["adjusted", "raw"]))
    source = fields.Nested(DataSource)
    version = fields.Integer(
        metadata={"description": "Of the source's rows; GET /instruments/{symbol}/revisions tells of newer."}
    )
    sha256 = fields.String(required=True)
    quality = fields.Nested(QualitySeen)


class DataSeen(SymbolSeen):
    """Exactly what the engine saw: of its one symbol, or of several together, and of each."""

    prices = fields.String(required=True, validate=OneOf(["adjusted", "raw", "mixed"]))
    symbols = fields.Dict(
        keys=fields.String(),
        values=fields.Nested(SymbolSeen),
        metadata={"description": "With several symbols: each."},
    )


class BacktestAnswer(AnswerSchema):
    """A backtest: what was asked for, how far it is, what came out."""

    id = fields.UUID(required=True)
    status = fields.String(required=True, validate=OneOf(tuple(JobStatus)))
    progress = fields.Float(required=True, metadata={"description": "0 to 1"})
    request = fields.Dict(required=True, metadata={"description": "With every default filled in."})
    metrics = StoredPart(Metrics, required=True, allow_none=True)
    data = StoredPart(DataSeen, required=True, allow_none=True)
    error = StoredPart(Failure, required=True, allow_none=True)
    attempt = fields.Integer(required=True)
    task_id = fields.String(required=True, allow_none=True)
    engine_version = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "And, after a comma, the package that brings the strategy, if one does."},
    )
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
