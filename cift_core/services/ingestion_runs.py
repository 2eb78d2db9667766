"""One run of an ingestion in a worker: read the files chunk by chunk, check, write, count."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from cift_core.clock import from_ns
from cift_core.errors import InvalidInput
from cift_core.services import day_counts, topic_runs
from cift_core.services.day_counts import DayCounts
from cift_core.services.ingestion_files import FileChunk, begin_files, chunks_of, count_file
from cift_core.services.instrument_catalog import CatalogUpdate
from cift_core.services.jobs import Claim
from cift_core.services.leases import Lease
from cift_core.services.market_kinds import KINDS, Kind
from cift_core.services.market_locks import one_writer
from cift_core.services.market_writes import MarketWriter, Outcome
from cift_core.services.read_ahead import read_ahead
from cift_core.services.rejects import Tally, forget_rejects, keep, record
from cift_core.stores import Stores

CHUNK_BYTES = 4 * 2**20
CONFLICT = "a {} with this symbol and {} stands earlier in the file with other values; that one counts"


def run(stores: Stores, lease: Lease, *, chunk_bytes: int = CHUNK_BYTES) -> dict[str, Any]:
    """The columns of the succeeded ingestion; its rows are readable in QuestDB when this returns.

    With a `max_reject_share` the files are read twice, and nothing is written before all was checked.

    Raises:
        InvalidInput: a file can't be read to its end; what was written before stays. More records were
            refused than `max_reject_share` allows, or all of them: nothing was written.
        StoreUnavailable: a store does not answer.
        JobCancelled, LeaseLost: the job is no longer this worker's.
    """
    claim, request = lease.claim, lease.claim.request
    if request["source"]["type"] == "kafka":
        return topic_runs.run(stores, lease)
    kind, interval = KINDS[request["kind"]], request["interval"]
    if request.get("max_reject_share") is not None:  # jobs of before it was have none
        _check_first(stores, lease, chunk_bytes)
    balance, counts = _begin(stores, claim), DayCounts(kind, interval)
    catalog = CatalogUpdate(stores, claim.job_id, kind, interval)
    with (
        one_writer(stores.postgres, kind, request["symbol"], lease.check) as check_lock,
        catalog.settling(),
    ):
        writer = MarketWriter(stores.questdb, claim.job_id, kind, interval, tell=catalog.expect)
        with read_ahead(_chunks(stores, lease, chunk_bytes, until=0.99)) as chunks:
            for chunk in chunks:
                check_lock()
                outcome = writer.write(chunk.parsed.rows, chunk.place)
                days = partial(counts.keep, claim=claim, counts=counts.of(chunk, outcome))
                _record(stores, claim, balance, chunk, outcome, conflict_of(kind), days)
        whole = balance.whole
        if whole.rows_read == 0:
            raise InvalidInput("no_records", "The file has no records.")
        if whole.rows_rejected == whole.rows_read:
            raise _refused(whole, "none could be taken")
        writer.verify(whole.rows_written)
    return {
        **asdict(whole),
        "first_timestamp": _moment(writer.first_ns),
        "last_timestamp": _moment(writer.last_ns),
    }


@dataclass
class _Balance:
    """The counts so far, of all files and of each by its place."""

    whole: Tally
    files: dict[int, Tally]


def _begin(stores: Stores, claim: Claim) -> _Balance:
    """Forget what earlier reads of the files had refused and counted."""
    forget_rejects(stores, claim)
    with stores.postgres.transaction() as session:
        begin_files(session, claim.job_id, claim.request)
        day_counts.forget(session, claim)
        keep(session, claim, Tally())
    return _Balance(Tally(), defaultdict(Tally))


def _chunks(stores: Stores, lease: Lease, chunk_bytes: int, *, until: float) -> Iterator[FileChunk]:
    """The files' records, checked; the job's progress is `until` when all are read."""
    for chunk in chunks_of(stores.settings, lease.claim.request, lease.claim.job_id, chunk_bytes):
        lease.check()
        yield chunk
        lease.progress = max(lease.progress, until * chunk.fraction_read)


def _check_first(stores: Stores, lease: Lease, chunk_bytes: int) -> None:
    """Read the files without writing a row, and raise where more is refused than `max_reject_share` allows.

    What contradicts an earlier row of the files is not counted: that is known only of what is written.
    """
    claim, balance = lease.claim, _begin(stores, lease.claim)
    nothing = Outcome(0, np.empty(0, np.int64), np.empty(0, np.int64))
    with read_ahead(_chunks(stores, lease, chunk_bytes, until=0.49)) as chunks:
        for chunk in chunks:
            _record(stores, claim, balance, chunk, nothing, "", lambda _: None)
    whole, share = balance.whole, claim.request["max_reject_share"]
    if whole.rows_rejected > share * whole.rows_read:
        raise _refused(whole, f"max_reject_share allows {share:.2%}")


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
    stores: Stores,
    claim: Claim,
    balance: _Balance,
    chunk: FileChunk,
    outcome: Outcome,
    conflict: str,
    keep_days: Callable[[Session], None],
) -> None:
    """Keep a chunk's rejects and the counts so far."""
    tally, parsed = balance.whole, chunk.parsed
    before = replace(tally)
    tally.rows_read += parsed.records.count
    tally.rows_written += outcome.written
    tally.rows_duplicate += len(outcome.duplicates)

    def count(session: Session) -> None:
        balance.files[chunk.place].add(before, tally)
        count_file(session, claim.job_id, chunk.place, balance.files[chunk.place])
        keep_days(session)

    found = (replace(reject, file=chunk.path) for reject in parsed.rejects(outcome.conflicts, conflict))
    record(stores, claim, tally, found, count)


def _moment(time_ns: int | None) -> datetime | None:
    return None if time_ns is None else from_ns(time_ns)
