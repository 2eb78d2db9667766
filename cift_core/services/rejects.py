"""What a running ingestion has counted and refused so far, kept chunk by chunk."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import delete, update

from cift_core.errors import InvalidInput, LeaseLost
from cift_core.models import Ingestion, IngestionReject
from cift_core.services.jobs import Claim
from cift_core.services.market_rows import Reject
from cift_core.stores import Stores
from cift_core.stores.postgres_copy import copy_rows

MAX_REJECTS = 1_000_000
_COLUMNS = ("ingestion_id", "attempt", "line", "reason", "raw", "partition", "message_offset")


@dataclass
class Tally:
    """The counts of an ingestion so far, as its row has them; each is counted where it happens."""

    rows_read: int = 0
    rows_written: int = 0
    rows_duplicate: int = 0
    rows_rejected: int = 0


def record(stores: Stores, claim: Claim, tally: Tally, rejects: Iterable[Reject]) -> None:
    """Keep a chunk's rejects, which are counted, and the counts, as only the lease's holder can.

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
            yield claim.job_id, claim.attempt, *place

    with stores.postgres.transaction() as session:
        copy_rows(session, IngestionReject.__tablename__, _COLUMNS, rows())
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
