"""One run of an ingestion from the topic: a range of offsets, fixed when it begins, read to its end."""

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from cift_core.clock import from_ns
from cift_core.errors import InvalidInput, LeaseLost
from cift_core.models import Ingestion
from cift_core.services.instrument_catalog import CatalogUpdate
from cift_core.services.jobs import Claim
from cift_core.services.leases import Lease
from cift_core.services.market_locks import one_writer_of
from cift_core.services.market_messages import Parsed, Refused, parse_messages
from cift_core.services.market_rows import Reject
from cift_core.services.market_writes import MarketWriter
from cift_core.services.records import cut
from cift_core.services.rejects import Tally, forget_rejects, record
from cift_core.stores import Stores
from cift_core.stores.advisory_locks import Lock, hold
from cift_core.stores.kafka import INGESTIONS, Message, Position
from cift_core.stores.kafka_consumer import read_range

Spans = dict[int, tuple[int, int]]  # by partition the first offset and the one after the last
Key = tuple[str, str | None]  # kind and interval


def run(stores: Stores, lease: Lease) -> dict[str, Any]:
    """The columns of the succeeded ingestion; its rows are readable in QuestDB when this returns.

    One runs at a time: the next begins where it ended, unless its request says otherwise.

    Raises:
        InvalidInput: the topic has no such partition, or has forgotten messages of the range.
        StoreUnavailable: a store does not answer.
        JobCancelled, LeaseLost: the job is no longer this worker's.
    """
    with hold(stores.postgres, Lock("ingestions from the topic"), while_waiting=lease.check) as check_lock:
        spans = _spans(stores, lease.claim)
        forget_rejects(stores, lease.claim)
        drain = Drain(stores, lease, spans)
        for messages in drain.read():
            check_lock()
            drain.take(messages)
        values = drain.finish()
        stores.kafka.commit(INGESTIONS, {place: end for place, (_, end) in drain.read_spans().items()})
        return values


class Drain:
    """Writes the messages of one range; of two rows with one key the later counts."""

    def __init__(self, stores: Stores, lease: Lease, spans: Spans) -> None:
        self._stores = stores
        self._lease = lease
        self._spans = spans
        self._reached = {place: begin for place, (begin, _) in spans.items()}
        self._tally = Tally()
        self._writers: dict[Key, MarketWriter] = {}
        self._catalogs: dict[Key, CatalogUpdate] = {}
        self._symbols: dict[Key, set[str]] = defaultdict(set)
        self._written: dict[Key, int] = defaultdict(int)

    def read(self) -> Iterator[list[Message]]:
        """The messages of the range, until its end or until the time that the request allows is over."""
        most_s = self._lease.claim.request["source"]["max_seconds"]
        began, before = time.monotonic(), _reach(self._stores, self._lease.claim)
        total = sum(end - begin for begin, end in self._spans.values())
        for messages, nexts in read_range(self._stores.kafka.bootstrap_servers, self._spans):
            self._lease.check()
            self._reached |= nexts
            if most_s is not None:
                _note_reach(self._stores, self._lease.claim, self._reached)
            yield messages
            done = sum(at - self._spans[place][0] for place, at in self._reached.items())
            self._lease.progress = 0.99 * done / max(total, 1)
            # an attempt that died may have written further than this one would go
            over = most_s is not None and time.monotonic() - began > most_s
            if over and all(self._reached[place] >= at for place, at in before.items()):
                return

    def read_spans(self) -> Spans:
        """What was read of the range."""
        return {place: (begin, self._reached[place]) for place, (begin, _) in self._spans.items()}

    def take(self, messages: list[Message]) -> None:
        """Write the rows of some messages, and keep what was refused of them."""
        parsed, refused = parse_messages(messages)
        for each in parsed:
            if len(each.rows):
                self._write(each)
        self._tally.rows_read += sum(len(each.rows) for each in parsed) + len(refused)
        record(self._stores, self._lease.claim, self._tally, map(_reject, refused))

    def finish(self) -> dict[str, Any]:
        """The columns of the ingestion, once QuestDB shows every row."""
        for (_, interval), writer in self._writers.items():
            key = writer.kind.name, interval
            symbols = sorted(self._symbols[key])
            locked = one_writer_of(self._stores.postgres, writer.kind, symbols, self._lease.check)
            with locked, self._catalogs[key].settling():
                writer.verify(self._written[key])
        firsts = [writer.first_ns for writer in self._writers.values() if writer.first_ns is not None]
        lasts = [writer.last_ns for writer in self._writers.values() if writer.last_ns is not None]
        return {
            **asdict(self._tally),
            "topic_range": _as_json(self.read_spans()),
            "first_timestamp": from_ns(min(firsts)) if firsts else None,
            "last_timestamp": from_ns(max(lasts)) if lasts else None,
        }

    def _write(self, parsed: Parsed) -> None:
        key, symbols = (parsed.kind.name, parsed.interval), parsed.rows.symbols
        latest_first = parsed.rows.take(np.arange(len(parsed.rows))[::-1])
        with one_writer_of(self._stores.postgres, parsed.kind, symbols, self._lease.check):
            if key not in self._writers:
                catalog = CatalogUpdate(self._stores, self._lease.claim.job_id, parsed.kind, parsed.interval)
                self._catalogs[key] = catalog
                self._writers[key] = MarketWriter(
                    self._stores.questdb,
                    self._lease.claim.job_id,
                    parsed.kind,
                    parsed.interval,
                    catalog.expect,
                    latest_counts=True,
                )
            outcome = self._writers[key].write(latest_first, server_time=parsed.server_time)
        self._symbols[key].update(symbols)
        self._written[key] += outcome.written
        self._tally.rows_written += outcome.written
        self._tally.rows_duplicate += outcome.duplicate + len(outcome.conflicts)


def _spans(stores: Stores, claim: Claim) -> Spans:
    """The job's range: that of an attempt before, or the one that is fixed now."""
    with stores.postgres.transaction() as session:
        known = session.scalar(select(Ingestion.topic_range).where(Ingestion.id == claim.job_id))
    if known is not None:
        return {int(place): (span["begin"], span["end"]) for place, span in known.items()}
    spans = choose_spans(stores.kafka.positions(INGESTIONS), claim.request["source"])
    with stores.postgres.transaction() as session:
        _update(session, claim, topic_range=_as_json(spans))
    return spans


def choose_spans(positions: list[Position], source: dict[str, Any]) -> Spans:
    """By partition the range from where the last ingestion ended, or where the request says, to the end.

    Raises:
        InvalidInput: the topic has no such partition.
    """
    given = {int(place): offset for place, offset in (source["offsets"] or {}).items()}
    unknown = sorted(given.keys() - {position.partition for position in positions})
    if unknown:
        raise InvalidInput("partition_unknown", f"The topic has no partition {', '.join(map(str, unknown))}.")
    left, spans = source["max_messages"], {}
    for position in positions:
        begin = min(given.get(position.partition, position.next), position.end)
        end = position.end if left is None else min(position.end, begin + left)
        left = None if left is None else left - (end - begin)
        spans[position.partition] = (begin, end)
    return spans


def _reach(stores: Stores, claim: Claim) -> dict[int, int]:
    """How far an attempt that died may have written."""
    with stores.postgres.transaction() as session:
        known = session.scalar(select(Ingestion.topic_range).where(Ingestion.id == claim.job_id))
    return {int(place): span.get("reached", span["begin"]) for place, span in (known or {}).items()}


def _note_reach(stores: Stores, claim: Claim, reached: dict[int, int]) -> None:
    """Note how far is about to be written."""
    with stores.postgres.transaction() as session:
        known = session.scalar(select(Ingestion.topic_range).where(Ingestion.id == claim.job_id))
        noted = {
            place: span | {"reached": max(reached[int(place)], span.get("reached", 0))}
            for place, span in (known or {}).items()
        }
        _update(session, claim, topic_range=noted)


def _update(session: Session, claim: Claim, **values: Any) -> None:
    changed = session.execute(
        update(Ingestion)
        .where(Ingestion.id == claim.job_id, Ingestion.lease_token == claim.lease_token)
        .values(**values)
        .returning(Ingestion.id)
        .execution_options(synchronize_session=False)
    ).first()
    if changed is None:
        raise LeaseLost("lease_lost", "Another worker has this job by now.")


def _as_json(spans: Spans) -> dict[str, dict[str, int]]:
    return {str(place): {"begin": begin, "end": end} for place, (begin, end) in sorted(spans.items())}


def _reject(refused: Refused) -> Reject:
    message, row = refused.message, 0 if refused.row is None else refused.row + 1
    raw = cut(refused.value.decode(errors="replace"))
    return Reject(row, refused.reason, raw, message.partition, message.offset)
