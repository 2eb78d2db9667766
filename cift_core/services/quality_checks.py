"""The quality of each UTC day of a series, found by what QuestDB counts for each grain of time, and kept."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import numpy as np
import pandas as pd
from sqlalchemy import delete, or_, select, update
from sqlalchemy.dialects.postgresql.ranges import MultiRange

from cift_core.engine import next_open
from cift_core.logs import logger
from cift_core.models import Condition, DataQuality, InstrumentSeries
from cift_core.services import calendars, day_counts, gap_alerts
from cift_core.services.calendars import DAY_NS, History, Verdict, date_of, day_of
from cift_core.services.market_kinds import BARS, KINDS, QUOTES, SYMBOL, TICKS, Kind
from cift_core.services.revisions import Key, day_range
from cift_core.stores import Stores
from cift_core.stores.advisory_locks import Lock, hold
from cift_core.stores.postgres_copy import copy_rows
from cift_core.stores.questdb import QuestDBPool

log = logger(__name__)
MINUTE_NS: Final = 60_000_000_000
DAYS_AT_ONCE: Final = 182
AROUND: Final = 30  # grains on either side that a price is compared with
FAR: Final = 10.0
LEAST_SCALE: Final = 0.001  # of the price
_IF: Final = "CASE WHEN {} THEN 1 ELSE 0 END"
_PRICES: Final = {
    BARS: ("low", "high", "close", "0", "0"),
    TICKS: ("price", "price", "price", "0", "0"),
    QUOTES: (*3 * ("(bid + ask) / 2",), _IF.format("ask = bid"), _IF.format("ask < bid")),
}
_GRAINS: Final = (
    "SELECT cast(first AS long) AS first_time, cast(last AS long) AS last_time, rows, low, high, close, zero,"
    " negative FROM (SELECT timestamp, min(timestamp) AS first, max(timestamp) AS last, count() AS rows,"
    " min({low}) AS low, max({high}) AS high, last({close}) AS close, sum({zero}) AS zero,"
    " sum({negative}) AS negative FROM {table} WHERE symbol = %s{interval}"
    " AND timestamp >= cast(%s AS {time}) AND timestamp < cast(%s AS {time})"
    " SAMPLE BY {grain} ALIGN TO CALENDAR)"
)
_DAYS: Final = (
    "SELECT timestamp, count() FROM {table} WHERE symbol = %s{interval} SAMPLE BY 1d ALIGN TO CALENDAR"
)


@dataclass(frozen=True)
class Grains:
    """What there is in each grain of time that has rows, in order: equally long arrays."""

    first_ns: np.ndarray
    last_ns: np.ndarray
    rows: np.ndarray
    low: np.ndarray
    high: np.ndarray
    close: np.ndarray
    zero_spreads: np.ndarray
    negative_spreads: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


def check_touched(stores: Stores, *, budget_s: float) -> int:
    """How many series were checked, of those with days that ingestions touched since; what is left waits.

    Raises:
        StoreUnavailable: a store does not answer.
    """
    deadline = time.monotonic() + budget_s
    count = 0
    for key in _touched(stores):
        try:
            check_series(stores, key, _walk_away, deadline)
        except _Busy:
            continue
        count += 1
        if time.monotonic() > deadline:
            break
    return count


def check_series(
    stores: Stores, key: Key, while_waiting: Callable[[], None], deadline: float | None = None
) -> None:
    """Check the touched days of a series, part by part, until none is left or the deadline has passed.

    Raises:
        StoreUnavailable: a store does not answer.
    """
    lock = Lock(f"quality:{'/'.join(key)}")
    with hold(stores.postgres, lock, while_waiting=while_waiting) as check_lock:
        while days := _take(stores, key):
            verdicts = _check(stores, key, days)
            check_lock()
            _keep(stores, key, days, verdicts)
            log.info("quality.checked", series="/".join(key), days=len(days))
            if deadline is not None and time.monotonic() > deadline:
                return


class _Busy(Exception):
    pass


def _walk_away() -> None:
    raise _Busy


def _touched(stores: Stores) -> list[Key]:
    series, none = InstrumentSeries, MultiRange[date]()
    query = select(series.symbol, series.kind, series.interval).where(
        or_(series.unchecked != none, series.checking != none)
    )
    with stores.postgres.transaction() as session:
        found = [(symbol, kind, interval) for symbol, kind, interval in session.execute(query.limit(1_000))]
    return [key for key in found if SYMBOL.fullmatch(key[0])]  # others may write other names to the tables


def _take(stores: Stores, key: Key) -> list[int]:
    """The next days to check; until they are kept, they are taken again."""
    with stores.postgres.transaction() as session:
        series = session.get(InstrumentSeries, key, with_for_update=True)
        if series is None:
            return []
        days = _days(series.checking) or _days(series.unchecked)[:DAYS_AT_ONCE]
        series.checking = _ranges(days)
        left = sorted(set(_days(series.unchecked)) - set(days))
        series.unchecked = _ranges(left)
        if series.first_ns is None or series.last_ns is None:
            return days
        following = {day + later for day in days for later in range(7 * (calendars.REFERENCE_WEEKS + 1))}
        last = series.last_ns // DAY_NS
        return sorted(set(days) | {day for day in following - set(left) if day <= last})


def _check(stores: Stores, key: Key, days: Sequence[int]) -> list[tuple[Any, ...]]:
    """The rows of `data_quality` that these days have."""
    symbol, kind, interval = key[0], KINDS[key[1]], key[2]
    with stores.postgres.transaction() as session:
        series = session.get_one(InstrumentSeries, key)
        first_ns, last_ns = series.first_ns, series.last_ns
    if first_ns is None or last_ns is None:
        return []
    grain_ns = _grain_ns(interval)
    around = 7 * (calendars.REFERENCE_WEEKS + 2)
    begin, end = min(days) - around, max(days) + around
    grains = _read(stores.questdb, kind, symbol, interval, begin, end)
    closed = _Holidays(stores.questdb, kind, symbol, interval)
    places = grains.first_ns // grain_ns
    history = History(grain_ns, places, first_ns // grain_ns, last_ns // grain_ns, closed)
    wanted = {day for day in days if first_ns // DAY_NS <= day <= last_ns // DAY_NS}
    verdicts = calendars.judge(history, wanted)
    with stores.postgres.transaction() as session:
        seen = day_counts.counted(session, key, min(days), max(days) + 1)
    outliers = _outliers(grains)
    of_day = grains.first_ns // DAY_NS
    rows = []
    for day in sorted(wanted & (set(verdicts) | set(seen))):
        part = slice(*np.searchsorted(of_day, (day, day + 1)).tolist())
        rows.append((*key, *_row(day, verdicts.get(day, Verdict()), grains, part, outliers, seen.get(day))))
    return rows


def _row(
    day: int,
    verdict: Verdict,
    grains: Grains,
    part: slice,
    outliers: np.ndarray,
    seen: tuple[int, int, int] | None,
) -> tuple[Any, ...]:
    count = int(grains.rows[part].sum())
    far = int(outliers[part].sum())
    condition = Condition.DEGRADED if verdict.gaps or far else Condition.AVAILABLE
    if verdict.gaps and not count:
        condition = Condition.MISSING
    return (
        date_of(day),
        count,
        int(grains.first_ns[part].min()) if count else None,
        int(grains.last_ns[part].max()) if count else None,
        verdict.expected,
        verdict.present,
        f"{{{','.join(f'[{gap.begin_ns},{gap.end_ns})' for gap in verdict.gaps)}}}",
        *(seen or (0, 0, 0)),
        far,
        int(grains.zero_spreads[part].sum()),
        int(grains.negative_spreads[part].sum()),
        condition,
    )


_COLUMNS: Final = (
    *("symbol", "kind", "interval", "day", "rows", "first_ns", "last_ns", "expected", "present", "gaps"),
    *("duplicates", "rejects", "out_of_order", "outliers", "zero_spreads", "negative_spreads", "condition"),
)


def _keep(stores: Stores, key: Key, days: Sequence[int], rows: Iterable[tuple[Any, ...]]) -> None:
    """Replace what is known of these days, and tell the operators of gaps that are new."""
    quality, moments = DataQuality, [date_of(day) for day in days]
    mine = (quality.symbol == key[0], quality.kind == key[1], quality.interval == key[2])
    with stores.postgres.transaction() as session:
        before = gap_alerts.days_with_gaps(session, key, moments)
        within = quality.day.between(moments[0], moments[-1]), quality.day.in_(moments)
        session.execute(delete(quality).where(*mine, *within).execution_options(synchronize_session=False))
        copy_rows(session, quality.__tablename__, _COLUMNS, rows)
        gap_alerts.tell(session, key, before, gap_alerts.days_with_gaps(session, key, moments))
        session.execute(
            update(InstrumentSeries)
            .where(
                InstrumentSeries.symbol == key[0],
                InstrumentSeries.kind == key[1],
                InstrumentSeries.interval == key[2],
            )
            .values(checking=MultiRange[date]())
            .execution_options(synchronize_session=False)
        )


def _read(questdb: QuestDBPool, kind: Kind, symbol: str, interval: str, begin: int, end: int) -> Grains:
    """The grains of the days [begin, end)."""
    low, high, close, zero, negative = _PRICES[kind]
    sql = _GRAINS.format(
        low=low,
        high=high,
        close=close,
        zero=zero,
        negative=negative,
        table=kind.name,
        interval=" AND interval = %s" if interval else "",
        time=kind.time_type,
        grain="1m" if _grain_ns(interval) == MINUTE_NS else _sampled(interval),
    )
    edges = (max(0, day) * (DAY_NS // kind.unit_ns) for day in (begin, end))
    table = questdb.export(sql, (symbol, *((interval,) if interval else ()), *edges))
    columns = [column.to_numpy() for column in table.columns]
    times = [column.astype(np.int64) * kind.unit_ns for column in columns[:2]]
    return Grains(*times, *columns[2:])


def _grain_ns(interval: str) -> int:
    if interval in ("1w", "1M"):
        return DAY_NS
    return MINUTE_NS if not interval else max(MINUTE_NS, next_open(0, interval))


def _sampled(interval: str) -> str:
    return "1d" if _grain_ns(interval) == DAY_NS else interval


def _outliers(grains: Grains) -> np.ndarray:
    """Which grains have a price far from those around: more than `FAR` scales from the median of the closes
    of the 30 grains before, itself and the 30 after. A scale is the largest, over the same grains, of 1.4826
    times the median of each close's distance from its own such median, the median true range (high to low,
    with the close before), and a thousandth of the price.
    """
    if not len(grains):
        return np.empty(0, dtype=bool)
    before = np.append(grains.close[:1], grains.close[:-1])
    ranges = np.maximum(grains.high, before) - np.minimum(grains.low, before)
    middle = _median_around(grains.close)
    spread = 1.4826 * _median_around(np.abs(grains.close - middle))
    scale = np.maximum(np.maximum(spread, _median_around(ranges)), LEAST_SCALE * middle)
    return np.asarray(np.maximum(grains.high - middle, middle - grains.low) > FAR * scale)


def _median_around(values: np.ndarray) -> np.ndarray:
    window = pd.Series(values).rolling(2 * AROUND + 1, min_periods=1, center=True)
    return np.asarray(window.median().to_numpy())


class _Holidays:
    """The holidays of a series, learned when they are asked for first."""

    def __init__(self, questdb: QuestDBPool, kind: Kind, symbol: str, interval: str) -> None:
        self._sql = _DAYS.format(table=kind.name, interval=" AND interval = %s" if interval else "")
        self._params = (symbol, *((interval,) if interval else ()))
        self._questdb = questdb
        self._known: Callable[[int], bool] | None = None

    def __call__(self, day: int) -> bool:
        if self._known is None:
            rows = self._questdb.fetch(self._sql, self._params)
            self._known = calendars.holidays({day_of(moment.date()) for moment, _ in rows})
        return self._known(day)


def _days(ranges: MultiRange[date]) -> list[int]:
    spans = ((one.lower, one.upper) for one in ranges)
    return [day for low, high in spans if low and high for day in range(day_of(low), day_of(high))]


def _ranges(days: Iterable[int]) -> MultiRange[date]:
    return MultiRange(day_range(day, day + 1) for day in days)
