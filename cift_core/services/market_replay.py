"""A recorded file onto the topic, as fast as it goes or at a multiple of the time it was recorded in."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np

from cift_core.clock import NS_PER_S
from cift_core.services.ingestion_requests import layout_of
from cift_core.services.market_kinds import KINDS, Kind
from cift_core.services.market_messages import encode_rows
from cift_core.services.market_rows import MarketRows, Reject, parse_rows
from cift_core.services.record_files import RecordFile
from cift_core.services.seen_keys import SeenKeys
from cift_core.settings import Settings
from cift_core.stores.kafka import MARKET_DATA
from cift_core.stores.kafka_producer import Producer
from cift_core.stores.spools import Spool

CHUNK_BYTES = 4 * 2**20
MESSAGE_ROWS: Final = 500
WINDOW_S: Final = 0.1  # of real time: rows that fall into one go out together
REJECTS_KEPT = 10


@dataclass
class Replayed:
    """What was sent; `rejects` are the first of those refused."""

    rows: int = 0
    messages: int = 0
    rejected: int = 0
    rejects: list[Reject] = field(default_factory=list)


def replay(
    settings: Settings,
    producer: Producer,
    request: dict[str, Any],
    speed: float | None,
    *,
    pause: Callable[[float], None] = time.sleep,
) -> Replayed:
    """Send the good rows of the file of a full ingestion request; `speed` 1 is as they were recorded.

    Rows without an id of their own are numbered as an ingestion of the file numbers them: however often the
    file is sent or ingested, it is there once.

    Raises:
        InvalidInput: the file can't be read to its end; what comes before that was sent.
        StoreUnavailable: Kafka did not take a message.
    """
    done, ordinals = Replayed(), Ordinals()
    kind, interval = KINDS[request["kind"]], request["interval"]
    pace = None if speed is None else Pace(speed, pause)
    with RecordFile(settings, request["source"], None) as file:
        layout = layout_of(request, file.names())
        for records in file.chunks(layout, CHUNK_BYTES):
            parsed = parse_rows(records, layout)
            for reject in parsed.rejects(np.empty(0, dtype=np.int64), ""):
                done.rejected += 1
                done.rejects += [reject][: REJECTS_KEPT - len(done.rejects)]
            rows = ordinals.number(parsed.rows)
            for window in [rows] if pace is None else pace.windows(rows):
                _send(producer, kind, interval, window, done)
    return done


def _send(producer: Producer, kind: Kind, interval: str | None, rows: MarketRows, done: Replayed) -> None:
    for symbol, which in _by_symbol(rows):
        for begin in range(0, len(which), MESSAGE_ROWS):
            part = rows.take(which[begin : begin + MESSAGE_ROWS])
            producer.send(MARKET_DATA, symbol.encode(), encode_rows(kind, interval, symbol, part))
            done.rows += len(part)
            done.messages += 1


class Pace:
    """Holds rows back until their time has come, counted from the first."""

    def __init__(
        self, speed: float, pause: Callable[[float], None], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._window_ns = WINDOW_S * speed * NS_PER_S
        self._pause = pause
        self._now = now
        self._first_ns: int | None = None
        self._began_s = 0.0

    def windows(self, rows: MarketRows) -> Iterator[MarketRows]:
        """The rows, window by window, each when it is due; a row that is behind its time at once."""
        if not len(rows):
            return
        if self._first_ns is None:
            self._first_ns, self._began_s = int(rows.times_ns[0]), self._now()
        windows = np.floor((rows.times_ns - self._first_ns) / self._window_ns).astype(np.int64)
        edges = np.flatnonzero(np.append(True, np.diff(windows) != 0))
        for begin, end in zip(edges, [*edges[1:], len(rows)], strict=True):
            due_s = self._began_s + windows[begin] * WINDOW_S - self._now()
            if due_s > 0:
                self._pause(float(due_s))
            yield rows.take(np.arange(begin, end))


class Ordinals:
    """Numbers rows that have no number by their ordinal among the file's rows of their symbol and time."""

    def __init__(self) -> None:
        self._seen: dict[str, SeenKeys] = defaultdict(partial(SeenKeys, Spool()))

    def number(self, rows: MarketRows) -> MarketRows:
        """The next rows of the file, numbered."""
        if not len(rows) or rows.numbers[0] >= 0:
            return rows
        numbers = np.empty(len(rows), dtype=np.int64)
        for symbol, which in _by_symbol(rows):
            order = which[np.argsort(rows.times_ns[which], kind="stable")]
            times = rows.times_ns[order]
            heads = np.flatnonzero(np.append(True, np.diff(times) != 0))
            before = self._seen[symbol].count(times[heads])
            sizes = np.diff(np.append(heads, len(times)))
            numbers[order] = np.arange(len(times)) - np.repeat(heads - before, sizes)
            self._seen[symbol].add(times, numbers[order])
        return rows.numbered(numbers)


def _by_symbol(rows: MarketRows) -> Iterator[tuple[str, np.ndarray]]:
    """Each symbol with the indices of its rows, in their order."""
    for code in np.unique(rows.codes):
        yield rows.names[code], np.flatnonzero(rows.codes == code)
