"""Instruments: of which symbols there is market data, from when to when, and the last price."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from cift_core.clock import rfc3339
from cift_core.engine import INTERVALS, next_open
from cift_core.errors import NotFound
from cift_core.models import InstrumentCatalog, InstrumentSeries
from cift_core.services.hot_data import HotData
from cift_core.services.market_kinds import BARS, KINDS, QUOTES, SYMBOL, TICKS
from cift_core.services.market_reads import Series, read_pages
from cift_core.services.paging import decode_cursor, encode_cursor
from cift_core.stores.questdb import QuestDBPool

Json = dict[str, Any]


def list_instruments(
    session: Session,
    hot: HotData,
    *,
    kind: str | None = None,
    interval: str | None = None,
    prefix: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> tuple[list[Json], str | None]:
    """A page of the instruments by symbol, and the cursor of the next page or None.

    Raises:
        InvalidInput: the cursor is none of this list.
    """
    after = decode_cursor(cursor, str)[0] if cursor else None
    asked = json.dumps([kind, interval, prefix, after, limit])
    key = f"instruments:{_revision(session)}:{hashlib.sha256(asked.encode()).hexdigest()}"
    page: Json | None = hot.get(key)
    if page is None:
        page = _page(session, kind, interval, prefix, after, limit)
        hot.put(key, page)
    return page["items"], page["next"]


def get_instrument(session: Session, symbol: str) -> Json:
    """What there is of a symbol.

    Raises:
        NotFound: nothing.
    """
    return _instrument(symbol, _series_of(session, symbol))


def last_price(session: Session, symbol: str) -> InstrumentSeries:
    """The series that a symbol's last price is in: the one that goes on longest, of equals trades first.

    Quotes are looked at where there is nothing else.

    Raises:
        NotFound: there is no data of the symbol.
    """
    found = _series_of(session, symbol)
    traded = [series for series in found if series.kind != QUOTES.name] or found
    return max(traded, key=lambda series: (_end_ns(series), series.kind == TICKS.name, -_length(series)))


def read_price(questdb: QuestDBPool, hot: HotData, series: InstrumentSeries) -> Json:
    """The last price of a series: a trade's, a bar's close, or the middle of a quote; kept as `SYMBOL:price`.

    Raises:
        StoreUnavailable: neither the cache has it nor does QuestDB answer.
    """
    key = f"{series.symbol}:price"
    known = {"kind": series.kind, "interval": series.interval or None, "revision": series.revision}
    kept: Json | None = hot.get(key)
    if kept is None or any(kept[name] != value for name, value in known.items()):
        kept = {"price": _price(questdb, series), "time": rfc3339(series.last_ns or 0), **known}
        hot.put(key, kept)
    return {"symbol": series.symbol, **{name: kept[name] for name in ("price", "time", "kind", "interval")}}


def _price(questdb: QuestDBPool, series: InstrumentSeries) -> float:
    kind, last_ns = KINDS[series.kind], series.last_ns or 0
    select = {BARS: ["close"], TICKS: ["price"], QUOTES: ["(bid + ask) / 2"]}[kind]
    wanted = Series(kind, series.symbol, series.interval or None)
    *_, page = read_pages(questdb, wanted, last_ns, last_ns + kind.unit_ns, page_rows=1_000, select=select)
    return float(page.columns[0][-1])


def _revision(session: Session) -> int:
    return session.scalar(select(InstrumentCatalog.revision)) or 0


def _page(
    session: Session,
    kind: str | None,
    interval: str | None,
    prefix: str | None,
    after: str | None,
    limit: int,
) -> Json:
    symbols = select(InstrumentSeries.symbol).where(InstrumentSeries.rows > 0)
    if kind is not None:
        symbols = symbols.where(InstrumentSeries.kind == kind)
    if interval is not None:
        symbols = symbols.where(InstrumentSeries.interval == interval)
    if prefix is not None:
        symbols = symbols.where(InstrumentSeries.symbol.startswith(prefix, autoescape=True))
    if after is not None:
        symbols = symbols.where(InstrumentSeries.symbol > after)
    symbols = symbols.distinct().order_by(InstrumentSeries.symbol).limit(limit + 1)
    found = list(session.scalars(symbols))
    rows: dict[str, list[InstrumentSeries]] = {symbol: [] for symbol in found[:limit]}
    for series in session.scalars(_stored().where(InstrumentSeries.symbol.in_(found[:limit]))):
        rows[series.symbol].append(series)
    items = [_instrument(symbol, of_symbol) for symbol, of_symbol in rows.items()]
    return {"items": items, "next": encode_cursor(found[limit - 1]) if len(found) > limit else None}


def _series_of(session: Session, symbol: str) -> list[InstrumentSeries]:
    fits = SYMBOL.fullmatch(symbol) is not None
    found = list(session.scalars(_stored().where(InstrumentSeries.symbol == symbol))) if fits else []
    if not found:
        raise NotFound(
            "unknown_symbol", "There is no market data of this symbol; GET /instruments lists all."
        )
    return found


def _stored() -> Any:
    return select(InstrumentSeries).where(InstrumentSeries.rows > 0)


def _instrument(symbol: str, found: Iterable[InstrumentSeries]) -> Json:
    in_order = sorted(found, key=lambda series: (list(KINDS).index(series.kind), _length(series)))
    firsts, lasts = zip(*((series.first_ns or 0, series.last_ns or 0) for series in in_order), strict=True)
    return {
        "symbol": symbol,
        "kinds": list(dict.fromkeys(series.kind for series in in_order)),
        "intervals": [series.interval for series in in_order if series.interval],
        "first": rfc3339(min(firsts)),
        "last": rfc3339(max(lasts)),
        "rows": sum(series.rows for series in in_order),
        "series": [
            {
                "kind": series.kind,
                "interval": series.interval or None,
                "first": rfc3339(series.first_ns or 0),
                "last": rfc3339(series.last_ns or 0),
                "rows": series.rows,
            }
            for series in in_order
        ],
    }


def _end_ns(series: InstrumentSeries) -> int:
    last_ns = series.last_ns or 0
    return next_open(last_ns, series.interval) if series.interval else last_ns


def _length(series: InstrumentSeries) -> int:
    return INTERVALS.index(series.interval) if series.interval else -1
