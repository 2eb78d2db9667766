"""/bars, /ticks and /quotes: market data as it is stored, or built from it."""

from collections.abc import Callable
from functools import partial
from typing import Any

from flask import Response
from marshmallow import Schema

from cift_core.services.market_kinds import QUOTES, TICKS
from cift_core.services.market_pages import list_bars as read_bars
from cift_core.services.market_pages import list_rows
from cift_web.database import stores
from cift_web.market_schemas import BarPage, BarQuery, MarketQuery, QuotePage, TickPage
from cift_web.resources import Resource
from cift_web.rows import Items, answer_rows, documented

View = Callable[[dict[str, Any]], Response]
READ = "data:read"
market_data = Resource(
    "market data", url_prefix="/api/v1", description="Bars, trades and quotes; shared by all."
)


def _rows_of(rule: str, query: Schema, page: type[Schema]) -> Callable[[View], View]:
    doc = {"responses": {"200": documented(page)}}
    return market_data.operation(
        "GET", rule, access=READ, query=query, answer=page(), own_transactions=True, doc=doc
    )


@_rows_of("/bars", BarQuery(), BarPage)
def list_bars(query: dict[str, Any]) -> Response:
    """Read bars

    Stored bars of the interval; where there are none in the range, bars built from ticks or finer bars. In
    order of time. A range without any is an empty page; a symbol that has none for the interval at all is
    422.
    """
    return _answer(BarPage, partial(read_bars, stores().questdb), query)


@_rows_of("/ticks", MarketQuery(), TickPage)
def list_ticks(query: dict[str, Any]) -> Response:
    """Read trades

    By time and trade id. A range without any is an empty page; a symbol without any is 422.
    """
    return _answer(TickPage, partial(list_rows, stores().questdb, TICKS), query)


@_rows_of("/quotes", MarketQuery(), QuotePage)
def list_quotes(query: dict[str, Any]) -> Response:
    """Read quotes

    In order of time. A range without any is an empty page; a symbol without any is 422.
    """
    return _answer(QuotePage, partial(list_rows, stores().questdb, QUOTES), query)


def _answer(
    page: type[Schema], list_page: Callable[..., tuple[Items, str | None]], query: dict[str, Any]
) -> Response:
    cursor, limit = query.pop("cursor", None), query.pop("limit")
    asked = {"start": None, "end": None} | query

    def read(cursor: str | None, limit: int) -> tuple[Items, str | None]:
        return list_page(**asked, cursor=cursor, limit=limit)

    return answer_rows(page, read, cursor, limit)
