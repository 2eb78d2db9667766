"""One run of an ingestion in a worker: read the file chunk by chunk, check, write, count."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np

from cift_core.clock import from_ns
from cift_core.errors import InvalidInput
from cift_core.services import topic_runs
from cift_core.services.columns import Layout
from cift_core.services.ingestion_requests import layout_of
from cift_core.services.instrument_catalog import CatalogUpdate
from cift_core.services.jobs import Claim
from cift_core.services.leases import Lease
from cift_core.services.market_kinds import Kind
from cift_core.services.market_locks import one_writer
from cift_core.services.market_rows import ParsedChunk, parse_rows
from cift_core.services.market_writes import MarketWriter, Outcome
from cift_core.services.read_ahead import read_ahead
from cift_core.services.record_files import RecordFile
from cift_core.services.rejects import Tally, forget_rejects, record
from cift_core.stores import Stores

CHUNK_BYTES = 8 * 2**20
CONFLICT = "a {} with this symbol and {} stands earlier in the file with other values; that one counts"


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
    if source["type"] == "kafka":
        return topic_runs.run(stores, lease)
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
            forget_rejects(stores, claim)
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
    forget_rejects(stores, claim)
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
    tally.rows_read += parsed.records.count
    tally.rows_written += outcome.written
    tally.rows_duplicate += outcome.duplicate

    record(stores, claim, tally, parsed.rejects(outcome.conflicts, conflict))


def _moment(time_ns: int | None) -> datetime | None:
    return None if time_ns is None else from_ns(time_ns)
