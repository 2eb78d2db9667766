"""The quality of market data as it is read: by day, of what a backtest read, and as its condition to run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session

from cift_core.clock import from_ns, rfc3339, to_ns
from cift_core.errors import FieldError, InvalidInput
from cift_core.models import Condition, DataQuality, InstrumentSeries
from cift_core.services.data_reads import Read
from cift_core.services.market_kinds import BARS
from cift_core.services.paging import decode_cursor, encode_cursor

SHOWN = 10
_COUNTS = ("duplicates", "rejects", "out_of_order", "outliers", "zero_spreads", "negative_spreads")
_KEY = tuple_(DataQuality.symbol, DataQuality.kind, DataQuality.interval)


@dataclass(frozen=True)
class Quality:
    """What is known of the days that a backtest read, and when there were gaps (nanoseconds, in order)."""

    days: Mapping[str, int]
    expected: int
    present: int
    unchecked: int
    begins_ns: np.ndarray
    ends_ns: np.ndarray

    def spanned(self, entries_ns: np.ndarray, exits_ns: np.ndarray) -> np.ndarray:
        """Which trades were held while there was a gap."""
        following = np.searchsorted(self.ends_ns, entries_ns, "right")
        begins = np.append(self.begins_ns, np.iinfo(np.int64).max)
        return np.asarray(begins[following] < exits_ns)


def list_days(
    session: Session,
    symbol: str,
    *,
    kind: str | None = None,
    interval: str | None = None,
    condition: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of the days of a symbol's series, by kind, interval and day, and the next cursor or None.

    Those of which a moment lies in [start, end).

    Raises:
        InvalidInput: the cursor is none of this list.
    """
    day = DataQuality
    query = select(day).where(day.symbol == symbol)
    for column, value in ((day.kind, kind), (day.interval, interval), (day.condition, condition)):
        if value is not None:
            query = query.where(column == value)
    if start is not None:
        query = query.where(day.day >= start.date())
    if end is not None:
        query = query.where(day.day <= (end - timedelta(microseconds=1)).date())
    if cursor is not None:
        after = decode_cursor(cursor, str, str, date.fromisoformat)
        query = query.where(tuple_(day.kind, day.interval, day.day) > tuple(after))
    found = list(session.scalars(query.order_by(day.kind, day.interval, day.day).limit(limit + 1)))
    page = found[:limit]
    following = encode_cursor(page[-1].kind, page[-1].interval, page[-1].day) if len(found) > limit else None
    return [_day(one) for one in page], following


def of_read(session: Session, read: Read) -> Quality:
    """What is known of what a backtest read."""
    day, (first, last) = DataQuality, _days(read)
    mine = (_KEY.in_([read.key]), day.day.between(first, last))
    counts = select(day.condition, func.count(), func.sum(day.expected), func.sum(day.present))
    found = session.execute(counts.where(*mine).group_by(day.condition)).all()
    gaps = session.scalars(select(day.gaps).where(*mine, ~func.isempty(day.gaps)).order_by(day.day))
    spans = [(gap.lower or 0, gap.upper or 0) for of_day in gaps for gap in of_day]
    begins, ends = np.array(spans, dtype=np.int64).reshape(-1, 2).T
    within = (begins < read.end_ns) & (ends > read.begin_ns)
    return Quality(
        days={str(name): next((row[1] for row in found if row[0] == name), 0) for name in Condition},
        expected=sum(row[2] for row in found),
        present=sum(row[3] for row in found),
        unchecked=_unchecked(session, read, first, last),
        begins_ns=begins[within],
        ends_ns=ends[within],
    )


def summary(quality: Quality, pnl: np.ndarray, spanned: np.ndarray) -> dict[str, Any]:
    """What `data` of a backtest says of it, given the trades' results and which of them span a gap."""
    whole = float(np.abs(pnl).sum())
    return {
        "days": dict(quality.days),
        "unchecked_days": quality.unchecked,
        "gaps": len(quality.begins_ns),
        "coverage": quality.present / quality.expected if quality.expected else None,
        "gap_pnl_share": float(np.abs(pnl[spanned]).sum()) / whole if whole else None,
    }


def together(each: Sequence[Quality]) -> Quality:
    """The counts of several symbols, with all their gaps."""
    return Quality(
        days={str(name): sum(one.days[name] for one in each) for name in Condition},
        expected=sum(one.expected for one in each),
        present=sum(one.present for one in each),
        unchecked=sum(one.unchecked for one in each),
        begins_ns=np.concatenate([one.begins_ns for one in each]),
        ends_ns=np.concatenate([one.ends_ns for one in each]),
    )


def refuse_degraded(session: Session, reads: Sequence[Read]) -> None:
    """Return when every known day of what is to be read is available.

    Raises:
        InvalidInput: `degraded_data`; it names the days, and each symbol as `/symbols/PLACE`.
    """
    errors = []
    for place, read in enumerate(reads):
        if sentence := _complaint(session, read):
            errors.append(FieldError(f"/symbols/{place}", sentence))
    if errors:
        detail = "; ".join(error.detail for error in errors[:SHOWN])
        raise InvalidInput(
            "degraded_data",
            f'"data_policy": "strict" refuses this data: {detail}. GET /instruments/{{symbol}}/quality has '
            "the details.",
            errors,
        )


def stored_reads(
    session: Session, symbols: Sequence[str], interval: str, start: datetime | None, end: datetime | None
) -> list[Read]:
    """What a backtest will read of stored bars, in the order of the symbols; nothing where there are none."""
    series = InstrumentSeries
    query = select(series.symbol, series.first_ns, series.last_ns).where(
        series.symbol.in_(symbols), series.kind == BARS.name, series.interval == interval, series.rows > 0
    )
    known = {symbol: (first or 0, last or 0) for symbol, first, last in session.execute(query)}
    edges = [None if moment is None else to_ns(moment) for moment in (start, end)]
    reads = []
    for symbol in symbols:
        first, last = known.get(symbol, (0, -1))
        begin = first if edges[0] is None else edges[0]
        reads.append(Read((symbol, BARS.name, interval), begin, last + 1 if edges[1] is None else edges[1]))
    return reads


def _complaint(session: Session, read: Read) -> str | None:
    if read.begin_ns >= read.end_ns:
        return None
    day, (first, last) = DataQuality, _days(read)
    query = select(day.day, day.condition).where(
        _KEY.in_([read.key]), day.day.between(first, last), day.condition != Condition.AVAILABLE
    )
    found = [tuple(row) for row in session.execute(query.order_by(day.day))]
    if not found:
        return None
    parts = []
    for condition in (Condition.MISSING, Condition.DEGRADED):
        days = [str(row[0]) for row in found if row[1] == condition]
        if days:
            more = f" and {len(days) - SHOWN} more days" if len(days) > SHOWN else ""
            parts.append(f"{condition} on {', '.join(days[:SHOWN])}{more}")
    return f"{' '.join(part for part in read.key if part)} is {', and '.join(parts)}"


def _unchecked(session: Session, read: Read, first: date, last: date) -> int:
    series = session.get(InstrumentSeries, read.key, populate_existing=True)
    if series is None:
        return 0
    ranges = [*series.unchecked, *series.checking]
    days = {
        one.lower + timedelta(days=offset)
        for one in ranges
        if one.lower is not None and one.upper is not None
        for offset in range((one.upper - one.lower).days)
    }
    return sum(first <= one <= last for one in days)


def _days(read: Read) -> tuple[date, date]:
    """The first and last UTC day of what is read."""
    return from_ns(read.begin_ns).date(), from_ns(max(read.begin_ns, read.end_ns - 1)).date()


def _day(day: DataQuality) -> dict[str, Any]:
    return {
        "day": day.day,
        "kind": day.kind,
        "interval": day.interval or None,
        "condition": day.condition,
        "rows": day.rows,
        "first": None if day.first_ns is None else rfc3339(day.first_ns),
        "last": None if day.last_ns is None else rfc3339(day.last_ns),
        "coverage": day.present / day.expected if day.expected else None,
        "gaps": [{"start": rfc3339(gap.lower or 0), "end": rfc3339(gap.upper or 0)} for gap in day.gaps],
        **{name: getattr(day, name) for name in _COUNTS},
    }
