"""One run of an ingestion in a worker: read the file chunk by chunk, check, write, count."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import delete, update

from cift_core.clock import from_ns
from cift_core.errors import InvalidInput, LeaseLost
from cift_core.models import Ingestion, IngestionReject
from cift_core.services.columns import Layout
from cift_core.services.ingestion_requests import layout_of
from cift_core.services.instrument_catalog import CatalogUpdate
from cift_core.services.jobs import Claim
from cift_core.services.leases import Lease
from cift_core.services.market_kinds import Kind
from cift_core.services.market_rows import ParsedChunk, Reject, parse_rows
from cift_core.services.market_writes import MarketWriter, Outcome, one_writer
from cift_core.services.read_ahead import read_ahead
from cift_core.services.record_files import RecordFile
from cift_core.stores import Stores
from cift_core.stores.postgres_copy import copy_rows

CHUNK_BYTES = 8 * 2**20
MAX_REJECTS = 1_000_000
CONFLICT = "a {} with this symbol and {} stands earlier in the file with other values; that one counts"


@dataclass
class Tally:
    """The counts of an ingestion so far, as its row has them; each is counted where it happens."""

    rows_read: int = 0
    rows_written: int = 0
    rows_duplicate: int = 0
    rows_rejected: int = 0


def run(stores: Stores, lease: Lease, *, chunk_bytes: int = CHUNK_BYTES) -> dict[str, Any]:
    """The columns of the succeeded ingestion; its rows are readable in QuestDB when this returns.

    With a `max_reject_share` the file is read twice, and nothing is written before all of it was checked.

    Raises:
        InvalidInput: the file can't be read to its end; what was written before stays. More records were
            refused than `max_reject_share` allows, or all of them: nothing was written.
        StoreUnavailable: a store does not answer.
        JobCancelled, LeaseLost: the job is no longer this worker's.
    """
    claim, request = lease.claim, lease.claim.request
    source = request["source"]
    upload_id = claim.job_id if source["path"] is None else None
    tally = Tally()
    if request.get("max_reject_share") is not None:  # jobs of before it was have none
        with RecordFile(stores.settings, source, upload_id) as file:
            _check_first(stores, lease, file, chunk_bytes)
    with RecordFile(stores.settings, source, upload_id) as file:
        layout = layout_of(request, file.names())
        kind = layout.kind
        catalog = CatalogUpdate(stores, claim.job_id, kind, request["interval"])
        with (
            one_writer(stores.postgres, kind, request["symbol"], lease.check) as check_lock,
            catalog.settling(),
        ):
            writer = MarketWriter(
                stores.questdb, claim.job_id, kind, request["interval"], tell=catalog.expect
            )
            _forget_rejects(stores, claim)
            with read_ahead(_chunks(file, layout, lease, chunk_bytes, until=0.99)) as chunks:
                for parsed in chunks:
                    check_lock()
                    _record(stores, claim, tally, parsed, writer.write(parsed.rows), conflict_of(kind))
            if tally.rows_read == 0:
                raise InvalidInput("no_records", "The file has no records.")
            if tally.rows_rejected == tally.rows_read:
                raise _refused(tally, "none could be taken")
            writer.verify(tally.rows_written)
    return {
        **asdict(tally),
        "first_timestamp": _moment(writer.first_ns),
        "last_timestamp": _moment(writer.last_ns),
    }


def _chunks(
    file: RecordFile, layout: Layout, lease: Lease, chunk_bytes: int, *, until: float
) -> Iterator[ParsedChunk]:
    """The file's records, checked; the job's progress is `until` when all are read."""
    for records in file.chunks(layout, chunk_bytes):
        lease.check()
        yield parse_rows(records, layout)
        lease.progress = max(lease.progress, until * file.fraction_read())


def _check_first(stores: Stores, lease: Lease, file: RecordFile, chunk_bytes: int) -> None:
    """Read the file without writing a row, and raise where more is refused than `max_reject_share` allows.

    What contradicts an earlier row of the file is not counted: that is known only of what is written.
    """
    claim, request = lease.claim, lease.claim.request
    tally, layout = Tally(), layout_of(request, file.names())
    _forget_rejects(stores, claim)
    for parsed in _chunks(file, layout, lease, chunk_bytes, until=0.49):
        _record(stores, claim, tally, parsed, Outcome(0, 0, np.empty(0, np.int64)), "")
    share = request["max_reject_share"]
    if tally.rows_rejected > share * tally.rows_read:
        raise _refused(tally, f"max_reject_share allows {share:.2%}")


def _refused(tally: Tally, sentence: str) -> InvalidInput:
    refused = tally.rows_rejected / tally.rows_read
    return InvalidInput(
        "rejects_above_share",
        f"{tally.rows_rejected:,} of {tally.rows_read:,} records ({refused:.2%}) were refused, {sentence}: "
        "nothing was written. The rejects say why.",
    )


def conflict_of(kind: Kind) -> str:
    """The reason of a row that contradicts an earlier one."""
    return CONFLICT.format(kind.row, "time" if kind.number is None else f"time and {kind.number}")


def _record(
    stores: Stores, claim: Claim, tally: Tally, parsed: ParsedChunk, outcome: Outcome, conflict: str
) -> None:
    """Keep a chunk's rejects and the counts so far, in a unit of work that only the lease's holder can do."""
    tally.rows_read += parsed.records.count
    tally.rows_written += outcome.written
    tally.rows_duplicate += outcome.duplicate

    def rows() -> Iterator[tuple[Any, ...]]:
        for reject in parsed.rejects(outcome.conflicts, conflict):
            tally.rows_rejected += 1
            if tally.rows_rejected > MAX_REJECTS:
                raise _too_many(reject)
            yield claim.job_id, claim.attempt, reject.place, reject.reason, reject.raw

    with stores.postgres.transaction() as session:
        columns = ("ingestion_id", "attempt", "line", "reason", "raw")
        copy_rows(session, IngestionReject.__tablename__, columns, rows())
        kept = session.execute(
            update(Ingestion)
            .where(Ingestion.id == claim.job_id, Ingestion.lease_token == claim.lease_token)
            .values(**asdict(tally))
            .returning(Ingestion.id)
            .execution_options(synchronize_session=False)
        ).first()
        if kept is None:
            raise LeaseLost("lease_lost", "Another worker has this job by now.")


def _too_many(reject: Reject) -> InvalidInput:
    return InvalidInput(
        "too_many_rejects",
        f"More than {MAX_REJECTS:,} records were refused; such as line {reject.place:,}: {reject.reason}. "
        "Is the request right about the file?",
    )


def _forget_rejects(stores: Stores, claim: Claim) -> None:
    """Remove what reads of the file that did not finish had refused."""
    with stores.postgres.transaction() as session:
        session.execute(
            delete(IngestionReject).where(
                IngestionReject.ingestion_id == claim.job_id, IngestionReject.attempt <= claim.attempt
            )
        )


def _moment(time_ns: int | None) -> datetime | None:
    return None if time_ns is None else from_ns(time_ns)
