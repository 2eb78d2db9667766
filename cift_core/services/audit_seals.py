"""Seals over the audit trail: a hash chain made beside the write path, and its check.

A seal's hash is SHA-256 over the seal before and all rows that it covers, ordered by (`created_at`, `id`):
a row that is changed, removed or slipped in later is noticed, and so is a seal. Somebody who may write all of
the database could make the whole chain anew; so each seal is also logged, and `verify` looks for a noted one.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, DateTime, Select, bindparam, func, select, text, tuple_
from sqlalchemy.orm import Session

from cift_core.models import AuditLog, AuditSeal

GENESIS = bytes(32)
ROWS_PER_SEAL = 10_000
SETTLING = timedelta(seconds=5)
_SEAL_LOCK = 0x5EA1
_logs = AuditLog.__table__.c
_PLACE = tuple_(_logs.created_at, _logs.id)
# A row's created_at is the start of its transaction: rows of those still open would come in after this.
_OLDEST_OPEN = text(
    "SELECT min(xact_start) FROM pg_stat_activity "
    "WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
)


@dataclass(frozen=True, slots=True)
class Broken:
    """A seal that does not hold, and why."""

    seal_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check of the chain found: `broken` is empty when it holds; `head` is the last seal's hash."""

    seals: int
    rows: int
    unsealed: int
    head: bytes
    broken: tuple[Broken, ...]


def seal_next(session: Session) -> AuditSeal | None:
    """The next link, over at most `ROWS_PER_SEAL` rows that are settled; None when there are none.

    Two at once take turns. No writer of the trail waits for it.
    """
    session.execute(select(func.pg_advisory_xact_lock(_SEAL_LOCK)))
    last = session.scalar(select(AuditSeal).order_by(AuditSeal.id.desc()).limit(1))
    settled = session.execute(select(func.clock_timestamp())).scalar_one() - SETTLING
    oldest = session.scalar(_OLDEST_OPEN)
    if oldest is not None:
        settled = min(settled, oldest)
    rows = _rows(after=last).where(_logs.created_at < settled).limit(ROWS_PER_SEAL)
    # of a long backlog only about as much is sorted as one seal takes
    about = select(_logs.created_at).where(_logs.id > (last.last_id if last else 0)).order_by(_logs.id)
    enough = session.scalar(about.offset(ROWS_PER_SEAL).limit(1))
    found = session.execute(rows if enough is None else rows.where(_logs.created_at <= enough)).all()
    if not found and enough is not None:
        found = session.execute(rows).all()
    if not found:
        return None
    digest, end = hashlib.sha256(last.hash if last else GENESIS), found[-1]
    for row in found:
        digest.update(_line(row))
    seal = AuditSeal(
        last_created_at=end.created_at,
        last_id=end.id,
        rows=len(found),
        previous_hash=last.hash if last else GENESIS,
        hash=digest.digest(),
    )
    session.add(seal)
    session.flush()
    return seal


def verify(session: Session, *, noted: bytes | None = None) -> Verdict:
    """Whether every seal holds against the rows it covers, and the one `noted` earlier, if any, is there.

    Reads the whole trail, a seal's rows at a time.
    """
    broken: list[Broken] = []
    seals = rows = 0
    last: AuditSeal | None = None
    known = noted is None
    for seal in session.scalars(select(AuditSeal).order_by(AuditSeal.id).execution_options(yield_per=100)):
        reason = _flaw(session, last, seal)
        if reason is not None:
            broken.append(Broken(seal.id, reason))
        seals, rows, last = seals + 1, rows + seal.rows, seal
        known = known or seal.hash == noted
    if not known:
        broken.append(Broken(0, "the noted seal is not in the chain: it was made anew or cut short"))
    left = select(func.count()).select_from(_rows(after=last).order_by(None).subquery())
    return Verdict(seals, rows, session.scalar(left) or 0, last.hash if last else GENESIS, tuple(broken))


def _flaw(session: Session, last: AuditSeal | None, seal: AuditSeal) -> str | None:
    if seal.previous_hash != (last.hash if last else GENESIS):
        return "it does not follow the seal before it: one between them is gone or was changed"
    digest, count = hashlib.sha256(seal.previous_hash), 0
    place = tuple_(
        bindparam("last_created_at", seal.last_created_at, DateTime(timezone=True)),
        bindparam("last_id", seal.last_id, BigInteger),
    )
    covered = _rows(after=last).where(_logs.created_at <= seal.last_created_at, place >= _PLACE)
    for row in session.execute(covered.execution_options(yield_per=1_000)):
        digest.update(_line(row))
        count += 1
    if count != seal.rows:
        return f"it was made over {seal.rows} rows and there are {count} now"
    return None if digest.digest() == seal.hash else "a row that it covers was changed, or the seal was"


def _rows(after: AuditSeal | None) -> Select[Any]:
    query = select(AuditLog.__table__).order_by(_logs.created_at, _logs.id)
    if after is not None:
        query = query.where(
            _logs.created_at >= after.last_created_at,  # for the index, which knows no pairs
            tuple_(after.last_created_at, after.last_id) < _PLACE,
        )
    return query


def _line(row: Any) -> bytes:
    values = {name: _plain(value) for name, value in row._mapping.items()}
    return json.dumps(values, sort_keys=True, separators=(",", ":"), default=str).encode() + b"\n"


def _plain(value: Any) -> Any:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value
