"""/bars, /ticks and /quotes: market data as it is stored, or built from it."""

import csv
import io
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from flask import Response, current_app, jsonify, request
from marshmallow import Schema

from cift_core.services import market_pages
from cift_core.services.market_kinds import BARS, QUOTES, TICKS
from cift_web.database import stores
from cift_web.market_schemas import BarPage, BarQuery, MarketQuery, QuotePage, TickPage
from cift_web.resources import Resource

View = Callable[[dict[str, Any]], Response]
READ, CSV = "data:read", "text/csv"
market_data = Resource(
    "market data", url_prefix="/api/v1", description="Bars, trades and quotes; shared by all."
)


def _rows_of(rule: str, query: Schema, page: type[Schema]) -> Callable[[View], View]:
    content = {"application/json": {"schema": page}, CSV: {"schema": {"type": "string"}}}
    answers = {"responses": {"200": {"description": "A page of rows.", "content": content}}}
    return market_data.operation(
        "GET", rule, access=READ, query=query, answer=page(), own_transactions=True, doc=answers
    )


@_rows_of("/bars", BarQuery(), BarPage)
def list_bars(query: dict[str, Any]) -> Response:
    """Read bars

    Stored bars of the interval; where there are none in the range, bars built from ticks or finer bars. In
    order of time, as JSON, or as CSV by `Accept: text/csv` (its next page is in the header `Link`). A range
    without any is an empty page; a symbol that has none for the interval at all is 422.
    """
    start, end = query.pop("start", None), query.pop("end", None)
    items, following = market_pages.list_bars(stores().questdb, start=start, end=end, **query)
    return _answer(items, following, ("time", *BARS.values))


@_rows_of("/ticks", MarketQuery(), TickPage)
def list_ticks(query: dict[str, Any]) -> Response:
    """Read trades

    By time and trade id, as JSON, or as CSV by `Accept: text/csv` (its next page is in the header `Link`). A
    range without any is an empty page; a symbol without any is 422.
    """
    start, end = query.pop("start", None), query.pop("end", None)
    items, following = market_pages.list_rows(stores().questdb, TICKS, start=start, end=end, **query)
    return _answer(items, following, ("time", "trade_id", *TICKS.values))


@_rows_of("/quotes", MarketQuery(), QuotePage)
def list_quotes(query: dict[str, Any]) -> Response:
    """Read quotes

    In order of time, as JSON, or as CSV by `Accept: text/csv` (its next page is in the header `Link`). A
    range without any is an empty page; a symbol without any is 422.
    """
    start, end = query.pop("start", None), query.pop("end", None)
    items, following = market_pages.list_rows(stores().questdb, QUOTES, start=start, end=end, **query)
    return _answer(items, following, ("time", *QUOTES.values))


def _answer(items: list[dict[str, Any]], following: str | None, columns: tuple[str, ...]) -> Response:
    if request.accept_mimetypes.best_match(["application/json", CSV]) == CSV:
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(items)
        response = current_app.response_class(text.getvalue(), mimetype=CSV)
    else:
        response = jsonify(items=items, next=following)
    if following is not None:
        query = urlencode({**request.args.to_dict(), "cursor": following})
        response.headers["Link"] = f'<{request.path}?{query}>; rel="next"'
    response.vary.add("Accept")
    return response
