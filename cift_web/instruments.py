"""/instruments: what market data there is, and the last price."""

from typing import Any

from flask import g

from cift_core.services import data_reads, quality
from cift_core.services import instruments as service
from cift_core.stores.postgres import transaction
from cift_web.database import db, hot_data, stores
from cift_web.market_schemas import (
    InstrumentAnswer,
    InstrumentPage,
    InstrumentQuery,
    LastPrice,
    QualityPage,
    QualityQuery,
    RevisionPage,
)
from cift_web.resources import Resource
from cift_web.schemas import Page

READ = "data:read"
instruments = Resource(
    "instruments", url_prefix="/api/v1/instruments", description="What market data there is; shared by all."
)


@instruments.operation("GET", "", access=READ, query=InstrumentQuery(), answer=InstrumentPage())
def list_instruments(query: dict[str, Any]) -> dict[str, Any]:
    """List the instruments

    By symbol. Market data is shared: everybody reads what anybody brought in.
    """
    found, following = service.list_instruments(db.session(), hot_data(), **query)
    return {"items": found, "next": following}


@instruments.operation("GET", "/<path:symbol>", access=READ, answer=InstrumentAnswer(), problems=(404,))
def get_instrument(symbol: str) -> dict[str, Any]:
    """Read what there is of a symbol"""
    return service.get_instrument(db.session(), symbol)


@instruments.operation(
    "GET", "/<path:symbol>/last", access=READ, answer=LastPrice(), problems=(404,), own_transactions=True
)
def get_last_price(symbol: str) -> dict[str, Any]:
    """Read a symbol's last price

    As of the ingestion that finished last. From the series that goes on longest: the last trade, or the close
    of the last bar; the middle of the last quote where there is nothing else.
    """
    session = db.session()
    with transaction(session):
        series = service.last_price(session, symbol)
    return service.read_price(stores().questdb, hot_data(), series)


@instruments.operation(
    "GET", "/<path:symbol>/revisions", access=READ, query=Page(), answer=RevisionPage(), problems=(404,)
)
def list_revisions(query: dict[str, Any], symbol: str) -> dict[str, Any]:
    """List the revisions of a symbol's data

    Newest first: each ingestion that added or changed rows, and which of your finished backtests stood on an
    older version of these rows (for a key with the scope backtests:read; others get null). All of them:
    `GET /backtests?revision=`.
    """
    session, principal = db.session(), g.principal
    owner_id = principal.user_id if "backtests:read" in principal.scopes else None
    service.get_instrument(session, symbol)
    found, following = data_reads.list_revisions(session, owner_id, symbol, **query)
    return {"items": found, "next": following}


@instruments.operation(
    "GET",
    "/<path:symbol>/quality",
    access=READ,
    query=QualityQuery(),
    answer=QualityPage(),
    problems=(404,),
)
def list_quality(query: dict[str, Any], symbol: str) -> dict[str, Any]:
    """Read the quality of a symbol's data

    A UTC day each, by kind, interval and day: days with rows, and those that should have some by the series'
    own calendar.
    """
    session = db.session()
    service.get_instrument(session, symbol)
    found, following = quality.list_days(session, symbol, **query)
    return {"items": found, "next": following}
