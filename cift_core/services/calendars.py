"""When an instrument trades, learned from its own history, and the silences that do not fit it.

A history is a set of grains (a minute, or a bar's length where that is more) that have rows. The week is cut
into cells (an hour, or a grain where that is more). A cell is open in a week when at least half of the
reference weeks had rows in it: the weeks with rows among the eight before or, where these are fewer than
four, among the eight before and after and the week itself; with fewer than four nothing is expected. Of cells
shorter than a day only those between two open ones are expected, so that a session that moves by an hour with
the clocks is never missed. Nothing is expected on a holiday.

What is usual is the median, over the days of the reference weeks (their weeks, where grains are days), of the
longest silence in expected grains. A silence of more than three times as many expected grains is a gap.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

import numpy as np
from dateutil.easter import easter  # type: ignore[import-untyped]

from cift_core.clock import EPOCH

HOUR_NS: Final = 3_600_000_000_000
DAY_NS: Final = 24 * HOUR_NS
REFERENCE_WEEKS: Final = 8
FEWEST_WEEKS: Final = 4
TOLERANCE: Final = 3
FEWEST_YEARS: Final = 2
_TO_MONDAY: Final = 3  # 1970-01-01 was a Thursday
_NOTHING: Final = np.empty(0, dtype=np.int64)


def week_of(day: int) -> int:
    """The week, from Monday, of a day counted from 1970."""
    return (day + _TO_MONDAY) // 7


def first_day(week: int) -> int:
    """The Monday of a week."""
    return week * 7 - _TO_MONDAY


@dataclass(frozen=True)
class Gap:
    """A silence: from the first grain without a row to the end of the last, in nanoseconds."""

    begin_ns: int
    end_ns: int


@dataclass
class Verdict:
    """Of one day: how many grains were expected, how many of them have rows, and its part of each gap."""

    expected: int = 0
    present: int = 0
    gaps: list[Gap] = field(default_factory=list)


@dataclass(frozen=True)
class History:
    """The grains with rows in reach, in order, those of the series' first and last row, and what is known of
    holidays: whether a day (from 1970) without a row is one."""

    grain_ns: int
    grains: np.ndarray
    first: int
    last: int
    is_holiday: Callable[[int], bool]

    @property
    def per_day(self) -> int:
        """How many grains a day has."""
        return DAY_NS // self.grain_ns


def judge(history: History, days: set[int]) -> dict[int, Verdict]:
    """The verdicts on those of these days that have rows or of which some were expected."""
    cells = _Cells(history)
    verdicts: dict[int, Verdict] = {}
    for week in sorted({week_of(day) for day in days}):
        for day in range(first_day(week), first_day(week) + 7):
            if day in days and cells.has_rows(day):
                verdicts[day] = Verdict()
    for first, last in _runs_of({week_of(day) for day in days}):
        _judge_weeks(cells, range(first - 1, last + 2), days, verdicts)
    return verdicts


def _judge_weeks(cells: "_Cells", weeks: range, days: set[int], verdicts: dict[int, Verdict]) -> None:
    history = cells.history
    per_week = [cells.expected(week) for week in weeks]
    expected = np.concatenate([grains for grains, _ in per_week])
    limits = np.concatenate([np.full(len(grains), TOLERANCE * usual) for grains, usual in per_week])
    present = np.isin(expected, history.grains)
    of_day = expected // history.per_day
    for day in days & set(of_day.tolist()):
        begin, end = np.searchsorted(of_day, (day, day + 1))
        verdict = verdicts.setdefault(day, Verdict())
        verdict.expected, verdict.present = int(end - begin), int(present[begin:end].sum())
    for begin, end in _silences(present):
        if end - begin <= limits[begin]:
            continue
        for day in np.unique(of_day[begin:end]).tolist():
            if day in days:
                grains = expected[begin:end][of_day[begin:end] == day]
                gap = Gap(int(grains[0]) * history.grain_ns, (int(grains[-1]) + 1) * history.grain_ns)
                verdicts[day].gaps.append(gap)


class _Cells:
    """The cells of each week that have rows."""

    def __init__(self, history: History) -> None:
        self.history = history
        self._cell_ns = max(HOUR_NS, history.grain_ns)
        self._per_week = 7 * DAY_NS // self._cell_ns
        self._grains_per_cell = self._cell_ns // history.grain_ns
        cells = history.grains // self._grains_per_cell + _TO_MONDAY * (DAY_NS // self._cell_ns)
        weeks, of_week = np.unique(cells // self._per_week, return_inverse=True)
        self._used = np.zeros((len(weeks), self._per_week), dtype=bool)
        self._used[of_week, cells % self._per_week] = True
        self._rows_of = {int(week): place for place, week in enumerate(weeks)}
        self._days = set(np.unique(history.grains // history.per_day).tolist())

    def has_rows(self, day: int) -> bool:
        return day in self._days

    def expected(self, week: int) -> tuple[np.ndarray, float]:
        """The grains of a week that are expected, and the longest silence that is usual, in grains."""
        before = [w for w in range(week - REFERENCE_WEEKS, week) if w in self._rows_of]
        if len(before) < FEWEST_WEEKS:
            around = range(week - REFERENCE_WEEKS, week + REFERENCE_WEEKS + 1)
            before = [w for w in around if w in self._rows_of]
        if len(before) < FEWEST_WEEKS:
            return _NOTHING, 0.0
        used = self._used[[self._rows_of[w] for w in before]]
        is_open = 2 * used.sum(axis=0) >= len(before)
        if self._cell_ns < DAY_NS:
            is_open = is_open & np.roll(is_open, 1) & np.roll(is_open, -1)
        silences = [silence for w in before for silence in self._longest(self._grains(w, is_open))]
        return self._grains(week, is_open), float(np.median(silences)) if silences else 0.0

    def _grains(self, week: int, is_open: np.ndarray) -> np.ndarray:
        """The grains of the open cells of a week, without holidays and within the series."""
        history = self.history
        begin = first_day(week) * history.per_day
        starts = begin + np.flatnonzero(is_open) * self._grains_per_cell
        grains = (starts[:, np.newaxis] + np.arange(self._grains_per_cell)).ravel()
        grains = grains[(grains >= history.first) & (grains <= history.last)]
        for day in np.unique(grains // history.per_day).tolist():
            if day not in self._days and history.is_holiday(day):
                grains = grains[grains // history.per_day != day]
        return grains

    def _longest(self, grains: np.ndarray) -> list[int]:
        """The longest silence of each day of a week's grains, of the whole week where a grain is a day."""
        if not len(grains):
            return []
        present = np.isin(grains, self.history.grains)
        edges = np.flatnonzero(np.diff(grains // self.history.per_day)) + 1
        parts = np.split(present, edges) if self.history.per_day > 1 else [present]
        return [max((end - begin for begin, end in _silences(part)), default=0) for part in parts]


def _silences(present: np.ndarray) -> list[tuple[int, int]]:
    """Where nothing is present: [begin, end) of each run."""
    steps = np.diff(np.concatenate(([True], present, [True])).astype(np.int8))
    begins, ends = np.flatnonzero(steps == -1), np.flatnonzero(steps == 1)
    return list(zip(begins.tolist(), ends.tolist(), strict=True))


def _runs_of(weeks: set[int]) -> list[tuple[int, int]]:
    """First and last of each run of weeks that are judged together."""
    runs: list[tuple[int, int]] = []
    for week in sorted(weeks):
        if runs and week <= runs[-1][1] + 2:
            runs[-1] = (runs[-1][0], week)
        else:
            runs.append((week, week))
    return runs


def holidays(traded: set[int]) -> Callable[[int], bool]:
    """Whether a day without a row is a holiday, told by all days with rows of the series.

    It is one when in most of the other years that the series covers, two at least, the day that corresponds
    had no row either: that of the same date (one on a Saturday is kept on the Friday before, one on a Sunday
    on the Monday after), that weekday of the month, counted from its begin or its end, or that distance from
    Easter.
    """
    if not traded:
        return lambda _: False
    first, last = min(traded), max(traded)
    years = range(date_of(first).year, date_of(last).year + 1)

    def is_holiday(day: int) -> bool:
        return any(_most_closed(day, rule, years, traded, first, last) for rule in _rules(date_of(day)))

    return is_holiday


def _most_closed(
    day: int, rule: Callable[[int], date | None], years: range, traded: set[int], first: int, last: int
) -> bool:
    found = [rule(year) for year in years if year != date_of(day).year]
    others = [other for other in (day_of(one) for one in found if one) if first <= other <= last]
    return len(others) >= FEWEST_YEARS and 2 * sum(one not in traded for one in others) > len(others)


def _rules(day: date) -> list[Callable[[int], date | None]]:
    """The corresponding days of other years."""
    kept = [day]
    if day.weekday() == 4:
        kept.append(day + timedelta(days=1))
    if day.weekday() == 0:
        kept.append(day - timedelta(days=1))
    after_easter: timedelta = day - easter(day.year)
    nth, from_end = (day.day - 1) // 7, (_days_in(day.year, day.month) - day.day) // 7
    return [
        *(lambda year, date_=one: _observed(year, date_) for one in kept),
        lambda year: _weekday(year, day, nth),
        lambda year: _weekday(year, day, -1 - from_end),
        lambda year: easter(year) + after_easter,
    ]


def _observed(year: int, day: date) -> date | None:
    if (day.month, day.day) == (2, 29):
        return None
    moved = {5: -1, 6: 1}
    same = day.replace(year=year)
    return same + timedelta(days=moved.get(same.weekday(), 0))


def _weekday(year: int, day: date, nth: int) -> date | None:
    of_month = [
        date(year, day.month, number)
        for number in range(1, _days_in(year, day.month) + 1)
        if date(year, day.month, number).weekday() == day.weekday()
    ]
    return of_month[nth] if -len(of_month) <= nth < len(of_month) else None


def _days_in(year: int, month: int) -> int:
    following = date(year + month // 12, month % 12 + 1, 1)
    return (following - timedelta(days=1)).day


def date_of(day: int) -> date:
    """The date of a day counted from 1970."""
    return EPOCH.date() + timedelta(days=day)


def day_of(moment: date) -> int:
    """A date as a day counted from 1970."""
    return (moment - EPOCH.date()).days
