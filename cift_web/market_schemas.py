"""What is sent to and answered by /instruments, /bars, /ticks and /quotes."""

from marshmallow import fields
from marshmallow.validate import Length, OneOf, Range

from cift_core.models import Condition
from cift_core.services.market_kinds import INTERVALS, KINDS, SIDES
from cift_core.services.market_pages import MAX_ROWS
from cift_web.schemas import (
    DEFAULT_LIMIT,
    SYMBOL,
    AnswerSchema,
    Page,
    Pattern,
    QueryInteger,
    Text,
    UTCTime,
    one_of,
)


class InstrumentQuery(Page):
    """Which instruments to list."""

    kind = Text(validate=one_of(tuple(KINDS)), metadata={"description": "Those with data of this kind."})
    interval = Text(validate=one_of(INTERVALS), metadata={"description": "Those with stored bars of it."})
    prefix = Text(validate=Length(1, 32), metadata={"description": "Those whose symbol begins so."})


class MarketQuery(Page):
    """Which rows of a symbol to read."""

    symbol = Text(
        required=True,
        validate=Pattern(SYMBOL, error="must be a symbol such as BTCUSDT; GET /instruments lists them"),
    )
    start = UTCTime(metadata={"description": "Inclusive; left out: from the first."})
    end = UTCTime(metadata={"description": "Exclusive; left out: to the last."})
    limit = QueryInteger(
        load_default=DEFAULT_LIMIT,
        validate=Range(1, MAX_ROWS, error="must lie between {min} and {max}"),
        metadata={"description": "The most rows to answer."},
    )


class BarQuery(MarketQuery):
    """Which bars to read."""

    interval = Text(required=True, validate=one_of(INTERVALS))


class StoredSeries(AnswerSchema):
    """What is stored of one kind, and of bars of one interval."""

    kind = fields.String(required=True, validate=OneOf(tuple(KINDS)))
    interval = fields.String(required=True, allow_none=True)
    first = fields.String(required=True)
    last = fields.String(required=True)
    rows = fields.Integer(required=True)


class InstrumentAnswer(AnswerSchema):
    """A symbol and what is stored of it; a bar's time is its open."""

    symbol = fields.String(required=True)
    kinds = fields.List(fields.String(validate=OneOf(tuple(KINDS))), required=True)
    intervals = fields.List(
        fields.String(), required=True, metadata={"description": "Of the stored bars, the shortest first."}
    )
    first = fields.String(required=True)
    last = fields.String(required=True)
    rows = fields.Integer(required=True)
    series = fields.List(fields.Nested(StoredSeries), required=True)


class InstrumentPage(AnswerSchema):
    """By symbol."""

    items = fields.List(fields.Nested(InstrumentAnswer), required=True)
    next = fields.String(required=True, allow_none=True)


class LastPrice(AnswerSchema):
    """The last price: of a trade, the close of a bar, or the middle of a quote."""

    symbol = fields.String(required=True)
    price = fields.Float(required=True)
    time = fields.String(required=True, metadata={"description": "Of a bar its open."})
    kind = fields.String(required=True, validate=OneOf(tuple(KINDS)))
    interval = fields.String(required=True, allow_none=True)


class Revision(AnswerSchema):
    """What one ingestion added to a series, or changed in it."""

    id = fields.Integer(required=True)
    version = fields.Integer(
        required=True, metadata={"description": "That the series has since; `data` of a backtest names it."}
    )
    kind = fields.String(required=True, validate=OneOf(tuple(KINDS)))
    interval = fields.String(required=True, allow_none=True)
    ingestion_id = fields.UUID(
        required=True, allow_none=True, metadata={"description": "null: found changed by the operators."}
    )
    time = UTCTime(required=True, metadata={"description": "Since when it can be read."})
    first = fields.String(required=True, metadata={"description": "Of the rows that are new or changed."})
    last = fields.String(required=True)
    rows_added = fields.Integer(required=True)
    rows_changed = fields.Integer(required=True)
    backtests_count = fields.Integer(required=True, allow_none=True)
    backtests = fields.List(
        fields.UUID(),
        required=True,
        allow_none=True,
        metadata={"description": "Yours that stood on an older version; the newest first, at most 100."},
    )


class RevisionPage(AnswerSchema):
    """Newest first."""

    items = fields.List(fields.Nested(Revision), required=True)
    next = fields.String(required=True, allow_none=True)


class QualityQuery(Page):
    """Which days of a symbol."""

    kind = Text(validate=one_of(tuple(KINDS)))
    interval = Text(validate=one_of(INTERVALS))
    condition = Text(validate=one_of(tuple(Condition)))
    start = UTCTime(metadata={"description": "Days of which a moment is not before it."})
    end = UTCTime(metadata={"description": "Days of which a moment is before it."})


class GapSpan(AnswerSchema):
    """A silence within the day; its end is exclusive."""

    start = fields.String(required=True)
    end = fields.String(required=True)


class QualityDay(AnswerSchema):
    """What is known of one UTC day of a series."""

    day = fields.Date(required=True)
    kind = fields.String(required=True, validate=OneOf(tuple(KINDS)))
    interval = fields.String(required=True, allow_none=True)
    condition = fields.String(
        required=True,
        validate=OneOf(tuple(Condition)),
        metadata={"description": "missing: no row where some are expected; degraded: gaps or outliers."},
    )
    rows = fields.Integer(required=True)
    first = fields.String(required=True, allow_none=True)
    last = fields.String(required=True, allow_none=True)
    coverage = fields.Float(
        required=True,
        allow_none=True,
        metadata={"description": "Share of the expected time that has rows; null: none is expected."},
    )
    gaps = fields.List(fields.Nested(GapSpan), required=True)
    duplicates = fields.Integer(
        required=True, metadata={"description": "Records of ingestions that stood there already."}
    )
    rejects = fields.Integer(required=True, metadata={"description": "Refused, with a good symbol and time."})
    out_of_order = fields.Integer(required=True, metadata={"description": "After a later one in their file."})
    outliers = fields.Integer(required=True, metadata={"description": "Minutes or bars with a far price."})
    zero_spreads = fields.Integer(required=True, metadata={"description": "Quotes with bid = ask."})
    negative_spreads = fields.Integer(required=True, metadata={"description": "Quotes with bid > ask."})


class QualityPage(AnswerSchema):
    """By kind, interval and day."""

    items = fields.List(fields.Nested(QualityDay), required=True)
    next = fields.String(required=True, allow_none=True)


class Bar(AnswerSchema):
    """One bar, labelled by its open."""

    time = fields.String(required=True)
    open = fields.Float(required=True)
    high = fields.Float(required=True)
    low = fields.Float(required=True)
    close = fields.Float(required=True)
    volume = fields.Float(required=True, allow_none=True)
    adjusted_close = fields.Float(required=True, allow_none=True)


class Tick(AnswerSchema):
    """One trade; `side` is that of who took."""

    time = fields.String(required=True)
    trade_id = fields.Integer(required=True)
    price = fields.Float(required=True)
    size = fields.Float(required=True, allow_none=True)
    side = fields.String(required=True, allow_none=True, validate=OneOf([*SIDES, None]))
    server_time = fields.Boolean(
        required=True,
        metadata={"description": "The feed gave no time: it is when the server took the trade."},
    )


class Quote(AnswerSchema):
    """The best bid and ask."""

    time = fields.String(required=True)
    bid = fields.Float(required=True)
    ask = fields.Float(required=True)
    bid_size = fields.Float(required=True, allow_none=True)
    ask_size = fields.Float(required=True, allow_none=True)


class BarPage(AnswerSchema):
    """In order of time."""

    items = fields.List(fields.Nested(Bar), required=True)
    next = fields.String(required=True, allow_none=True)


class TickPage(AnswerSchema):
    """By time and trade id."""

    items = fields.List(fields.Nested(Tick), required=True)
    next = fields.String(required=True, allow_none=True)


class QuotePage(AnswerSchema):
    """In order of time."""

    items = fields.List(fields.Nested(Quote), required=True)
    next = fields.String(required=True, allow_none=True)
