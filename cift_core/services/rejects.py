"""What a running ingestion has counted and refused so far, kept chunk by chunk."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from cift_core.errors import InvalidInput, LeaseLost
from cift_core.models import Ingestion, IngestionReject
from cift_core.services.jobs import Claim
from cift_core.services.market_rows import Reject
from cift_core.stores import Stores
from cift_core.stores.postgres_copy import copy_rows

MAX_REJECTS = 1_000_000
_COLUMNS = ("ingestion_id", "attempt", "file", "line", "reason", "raw", "partition", "message_offset")


@dataclass
class Tally:
    """The counts of an ingestion so far, as its row has them; each is counted where it happens."""

    rows_read: int = 0
    rows_written: int = 0
    rows_duplicate: int = 0
    rows_rejected: int = 0

    def add(self, before: "Tally", after: "Tally") -> None:
        """Count what came between two states of another tally."""
        for name, count in asdict(after).items():
            setattr(self, name, getattr(self, name) + count - getattr(before, name))


def record(
    stores: Stores,
    claim: Claim,
    tally: Tally,
    rejects: Iterable[Reject],
    also: Callable[[Session], None] = lambda _: None,
) -> None:
    """Keep a chunk's rejects, which are counted, and the counts, as only the lease's holder can.

    `also` is done in the same unit of work, when all is counted.

    Raises:
        InvalidInput: there are too many.
        LeaseLost: the job is no longer this worker's.
    """

    def rows() -> Iterator[tuple[Any, ...]]:
        for reject in rejects:
            tally.rows_rejected += 1
            if tally.rows_rejected > MAX_REJECTS:
                raise _too_many(reject)
            place = reject.place, reject.reason, reject.raw, reject.partition, reject.offset
            yield claim.job_id, claim.attempt, reject.file, *place

    with stores.postgres.transaction() as session:
        copy_rows(session, IngestionReject.__tablename__, _COLUMNS, rows())
        also(session)
        keep(session, claim, tally)


def keep(session: Session, claim: Claim, tally: Tally) -> None:
    """Keep the counts; where the lease is lost, what else the unit of work holds is undone.

    Raises:
        LeaseLost: the job is no longer this worker's.
    """
    kept = session.execute(
        update(Ingestion)
        .where(Ingestion.id == claim.job_id, Ingestion.lease_token == claim.lease_token)
        .values(**asdict(tally))
        .returning(Ingestion.id)
        .execution_options(synchronize_session=False)
    ).first()
    if kept is None:
        raise LeaseLost("lease_lost", "Another worker has this job by now.")


def forget_rejects(stores: Stores, claim: Claim) -> None:
    """Remove what attempts that did not finish had refused."""
    with stores.postgres.transaction() as session:
        session.execute(
            delete(IngestionReject).where(
                IngestionReject.ingestion_id == claim.job_id, IngestionReject.attempt <= claim.attempt
            )
        )


def _too_many(reject: Reject) -> InvalidInput:
    return InvalidInput(
        "too_many_rejects",
        f"More than {MAX_REJECTS:,} records were refused; such as line {reject.place:,}: {reject.reason}. "
        "Is the request right about the file?",
    )
