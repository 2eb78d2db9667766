"""Versions of market data: each ingestion that writes to a series makes one, and backtests know theirs.

A revision is told of before its rows are written and settled once they can be read, so whoever knows a
series' version before reading it stood on that version or, in part, on a later one, never on an earlier one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    and_,
    case,
    cast,
    func,
    literal,
    literal_column,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import Range, insert
from sqlalchemy.dialects.postgresql.ranges import MultiRange
from sqlalchemy.orm import Session

from cift_core.clock import EPOCH, from_ns, rfc3339
from cift_core.engine.bars import DAY_NS
from cift_core.errors import LeaseLost
from cift_core.models import Backtest, BacktestRead, DataRevision, InstrumentSeries, JobStatus
from cift_core.services.jobs import Claim
from cift_core.services.market_kinds import Kind
from cift_core.services.paging import decode_cursor, encode_cursor

Key = tuple[str, str, str]  # symbol, kind, interval ("" but for bars)
Figures = tuple[int, int | None, int | None]  # rows, first and last time
SHOWN = 100
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


@dataclass(frozen=True)
class Read:
    """A series of which [begin, end) in nanoseconds was read."""

    key: Key
    begin_ns: int
    end_ns: int


def note_reads(session: Session, claim: Claim, reads: Iterable[tuple[Read, int]]) -> None:
    """Note what this attempt of a backtest read, and the version that it had before.

    Raises:
        LeaseLost: the job is no longer this worker's.
    """
    owner_id = session.scalar(
        select(Backtest.owner_id).where(
            Backtest.id == claim.job_id, Backtest.lease_token == claim.lease_token
        )
    )
    if owner_id is None:
        raise LeaseLost("lease_lost", "Another worker has this job by now.")
    rows = [
        {
            "backtest_id": claim.job_id,
            "attempt": claim.attempt,
            **dict(zip(_SERIES, read.key, strict=True)),
            "owner_id": owner_id,
            "version": version,
            "begin_ns": read.begin_ns,
            "end_ns": read.end_ns,
        }
        for read, version in reads
    ]
    session.execute(insert(BacktestRead), rows)


def list_revisions(
    session: Session, owner_id: UUID | None, symbol: str, *, cursor: str | None = None, limit: int = 50
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of a symbol's revisions, newest first, and the cursor of the next page or None.

    Each with the owner's finished backtests that stood on an older version of what it added or changed, the
    newest first and at most `SHOWN` of them; without an owner with none.

    Raises:
        InvalidInput: the cursor is none of this list.
    """
    query = select(DataRevision).where(DataRevision.symbol == symbol, DataRevision.version.is_not(None))
    if cursor is not None:
        query = query.where(DataRevision.id < decode_cursor(cursor, int)[0])
    found = list(session.scalars(query.order_by(DataRevision.id.desc()).limit(limit + 1)))
    page = found[:limit]
    backtests = {} if owner_id is None else _backtests(session, owner_id, [one.id for one in page])
    items = [_revision(one, backtests.get(one.id, (0, []))) for one in page]
    for item in items if owner_id is None else ():
        item |= {"backtests": None, "backtests_count": None}
    return items, encode_cursor(page[-1].id) if len(found) > limit else None


def stood_on(owner_id: UUID) -> Select[int, UUID, datetime]:
    """(revision id, backtest id, its `created_at`) of the owner's finished backtests and each revision of
    what they read that is newer than what they read."""
    read, revision = BacktestRead, DataRevision
    touched = and_(
        read.symbol == revision.symbol,
        read.kind == revision.kind,
        read.interval == revision.interval,
        read.version < revision.version,
        read.begin_ns <= revision.last_ns,
        read.end_ns > revision.first_ns,
        revision.days.op("&&")(_days_read()),
    )
    counted = and_(Backtest.id == read.backtest_id, Backtest.result_attempt == read.attempt)
    return (
        select(revision.id, Backtest.id, Backtest.created_at)
        .select_from(revision)
        .join(read, touched)
        .join(Backtest, counted)
        .where(read.owner_id == owner_id, Backtest.status == JobStatus.SUCCEEDED)
    )


def _days_read() -> ColumnElement[Any]:
    first, last = (
        literal(EPOCH.date()) + cast(time_ns // DAY_NS, Integer)
        for time_ns in (BacktestRead.begin_ns, BacktestRead.end_ns - 1)
    )
    return func.daterange(first, last, "[]")


def _backtests(
    session: Session, owner_id: UUID, revision_ids: Sequence[int]
) -> dict[int, tuple[int, list[UUID]]]:
    stood = stood_on(owner_id).where(DataRevision.id.in_(revision_ids)).subquery()
    revision_id, backtest_id, created_at = stood.c
    place = func.row_number().over(partition_by=revision_id, order_by=(created_at.desc(), backtest_id.desc()))
    count = func.count().over(partition_by=revision_id)
    ranked = select(revision_id, backtest_id.label("backtest_id"), place.label("place"), count.label("count"))
    ranked_rows = ranked.subquery()
    query = select(ranked_rows).where(ranked_rows.c.place <= SHOWN).order_by(ranked_rows.c.place)
    found: dict[int, tuple[int, list[UUID]]] = {}
    for of_revision, of_backtest, _, total in session.execute(query):
        found.setdefault(of_revision, (total, []))[1].append(of_backtest)
    return found


def _revision(revision: DataRevision, backtests: tuple[int, list[UUID]]) -> dict[str, Any]:
    return {
        "id": revision.id,
        "version": revision.version,
        "kind": revision.kind,
        "interval": revision.interval or None,
        "ingestion_id": revision.ingestion_id,
        "time": revision.settled_at,
        "first": rfc3339(revision.first_ns),
        "last": rfc3339(revision.last_ns),
        "rows_added": revision.rows_added,
        "rows_changed": revision.rows_changed,
        "backtests_count": backtests[0],
        "backtests": backtests[1],
    }
