"""Versions of market data: each ingestion that writes to a series makes one, and backtests know theirs.

A revision is told of before its rows are written and settled once they can be read, so whoever knows a
series' version before reading it stood on that version or, in part, on a later one, never on an earlier one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import (
    ColumnElement,
    case,
    func,
    literal_column,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import Range, insert
from sqlalchemy.dialects.postgresql.ranges import MultiRange
from sqlalchemy.orm import Session

from cift_core.clock import from_ns
from cift_core.engine.bars import DAY_NS
from cift_core.models import DataRevision, InstrumentSeries
from cift_core.services.market_kinds import Kind

Key = tuple[str, str, str]  # symbol, kind, interval ("" but for bars)
Figures = tuple[int, int | None, int | None]  # rows, first and last time
_SERIES = ("symbol", "kind", "interval")
_REVISION_KEY = tuple_(DataRevision.symbol, DataRevision.kind, DataRevision.interval)


@dataclass(frozen=True)
class Change:
    """What a chunk adds to a series and changes in it: between which times, on which UTC days."""

    symbol: str
    first_ns: int
    last_ns: int
    days: MultiRange[date]
    added: int
    changed: int


def days_of(times_ns: np.ndarray) -> MultiRange[date]:
    """The UTC days of these times, in order, as ranges."""
    days = np.unique(times_ns // DAY_NS)
    edges = np.flatnonzero(np.diff(days) > 1) + 1
    return MultiRange([day_range(int(run[0]), int(run[-1]) + 1) for run in np.split(days, edges) if len(run)])


def day_range(first: int, end: int) -> Range[date]:
    """The days [first, end), counted from 1970."""
    return Range(from_ns(first * DAY_NS).date(), from_ns(end * DAY_NS).date())


def tell(
    session: Session, ingestion_id: UUID, kind: Kind, interval: str, chunk: int, changes: Iterable[Change]
) -> None:
    """Note what is about to be written; the same chunk again, after a worker died, replaces its counts."""
    rows = [
        {
            **dict(zip(_SERIES, (change.symbol, kind.name, interval), strict=True)),
            "ingestion_id": ingestion_id,
            "first_ns": change.first_ns,
            "last_ns": change.last_ns,
            "days": change.days,
            "rows_added": change.added,
            "rows_changed": change.changed,
            "chunk": chunk,
            "chunk_added": change.added,
            "chunk_changed": change.changed,
        }
        for change in changes
        if change.added or change.changed
    ]
    if rows:
        session.execute(_TELL, rows)


def _upsert() -> Any:
    statement = insert(DataRevision)
    new, old = statement.excluded, DataRevision

    def without_the_same(counted: Any, of_chunk: Any) -> Any:
        return counted - case((old.chunk == new.chunk, of_chunk), else_=0)

    return statement.on_conflict_do_update(
        index_elements=[*_SERIES, "ingestion_id"],
        index_where=old.version.is_(None),
        set_={
            "first_ns": func.least(old.first_ns, new.first_ns),
            "last_ns": func.greatest(old.last_ns, new.last_ns),
            "days": old.days.op("+")(new.days),
            "rows_added": without_the_same(old.rows_added, old.chunk_added) + new.rows_added,
            "rows_changed": without_the_same(old.rows_changed, old.chunk_changed) + new.rows_changed,
            **{name: new[name] for name in ("chunk", "chunk_added", "chunk_changed")},
        },
    )


_TELL = _upsert()


def untold(session: Session, key: Key, before: Figures, now: Figures) -> None:
    """Note that a series is found to be other than the catalog said, by no ingestion."""
    times_ns = [time_ns for time_ns in (*before[1:], *now[1:]) if time_ns is not None]
    first_ns, last_ns = min(times_ns), max(times_ns)
    session.add(
        DataRevision(
            **dict(zip(_SERIES, key, strict=True)),
            first_ns=first_ns,
            last_ns=last_ns,
            days=MultiRange([day_range(first_ns // DAY_NS, last_ns // DAY_NS + 1)]),
            rows_added=now[0] - before[0],
            rows_changed=0,
            chunk=0,
            chunk_added=0,
            chunk_changed=0,
        )
    )


def unsettled() -> ColumnElement[bool]:
    """Whether the row of `InstrumentSeries` that a statement updates has revisions that are to be settled."""
    # by name: SQLAlchemy would join the table again, and so ask for revisions of any series
    of_series = [
        getattr(DataRevision, name) == literal_column(f"{InstrumentSeries.__tablename__}.{name}")
        for name in _SERIES
    ]
    return select(DataRevision.id).where(*of_series, DataRevision.version.is_(None)).exists()


def settle(session: Session, keys: Sequence[Key]) -> None:
    """Give what was told of these series the version that they have now, and have its days checked."""
    series = InstrumentSeries
    told = (
        select(*_REVISION_KEY.clauses, func.range_agg(DataRevision.days).label("days"))
        .where(DataRevision.version.is_(None), _REVISION_KEY.in_(keys))
        .group_by(*_REVISION_KEY.clauses)
        .subquery()
    )
    session.execute(
        update(series)
        .where(series.symbol == told.c.symbol, series.kind == told.c.kind, series.interval == told.c.interval)
        .values(unchecked=series.unchecked.op("+")(told.c.days))
        .execution_options(synchronize_session=False)
    )
    session.execute(
        update(DataRevision)
        .where(
            DataRevision.version.is_(None),
            _REVISION_KEY.in_(keys),
            series.symbol == DataRevision.symbol,
            series.kind == DataRevision.kind,
            series.interval == DataRevision.interval,
        )
        .values(version=series.version, settled_at=func.now())
        .execution_options(synchronize_session=False)
    )


def versions(session: Session, symbols: Sequence[str]) -> dict[Key, int]:
    """The versions that all series of these symbols have."""
    series = InstrumentSeries
    query = select(series.symbol, series.kind, series.interval, series.version)
    return {
        (symbol, kind, interval): version
        for symbol, kind, interval, version in session.execute(query.where(series.symbol.in_(symbols)))
    }


def touching(session: Session, symbol: str, begin_ns: int, end_ns: int) -> list[tuple[Any, ...]] | None:
    """(kind, interval, how many, the last one's id) of the revisions that touch [begin, end) in each series
    of a symbol; None while one is being written."""
    one = DataRevision
    query = (
        select(one.kind, one.interval, func.count(), func.max(one.id), func.bool_or(one.version.is_(None)))
        .where(one.symbol == symbol, one.first_ns < end_ns, one.last_ns >= begin_ns)
        .group_by(one.kind, one.interval)
        .order_by(one.kind, one.interval)
    )
    found = [tuple(row) for row in session.execute(query)]
    return None if any(row[-1] for row in found) else [row[:-1] for row in found]
