"""What backtests read of market data, and which revisions of it are newer."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Integer, Select, and_, cast, func, literal, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cift_core.clock import EPOCH, rfc3339
from cift_core.engine.bars import DAY_NS
from cift_core.errors import LeaseLost
from cift_core.models import Backtest, BacktestRead, DataRevision, JobStatus
from cift_core.services.jobs import Claim
from cift_core.services.paging import decode_cursor, encode_cursor
from cift_core.services.revisions import Key

SHOWN = 100


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
            **dict(zip(("symbol", "kind", "interval"), read.key, strict=True)),
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
