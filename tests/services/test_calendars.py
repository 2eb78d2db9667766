"""An instrument's own calendar: what is expected, what is a gap, what is a holiday."""

from datetime import date, timedelta

import numpy as np
import pytest

from cift_core.services.calendars import DAY_NS, HOUR_NS, History, Verdict, day_of, holidays, judge

MONDAY = day_of(date(2024, 1, 1))
SESSION = range(8, 17)


def history(grains: set[int], grain_ns: int, is_holiday: object = None) -> History:
    in_order = np.array(sorted(grains), dtype=np.int64)
    return History(grain_ns, in_order, min(grains), max(grains), is_holiday or (lambda _: False))  # type: ignore[arg-type]


def hours(weeks: int, shift: int = 0) -> set[int]:
    """Hourly grains of so many weeks, Monday to Friday, in the session."""
    return {
        (MONDAY + 7 * week + day) * 24 + hour + shift
        for week in range(weeks)
        for day in range(5)
        for hour in SESSION
    }


def verdicts(of: History) -> dict[int, Verdict]:
    return judge(of, set(range(of.first // of.per_day, of.last // of.per_day + 1)))


def with_gaps(of: History) -> list[date]:
    return [date(1970, 1, 1) + timedelta(days=day) for day, one in sorted(verdicts(of).items()) if one.gaps]


def test_a_whole_history_has_no_gaps_and_nothing_is_expected_outside_of_its_sessions() -> None:
    found = verdicts(history(hours(10), HOUR_NS))
    assert len(found) == 50
    assert {(one.expected, one.present) for one in found.values()} == {(7, 7)}, (
        "no session's first, last hour"
    )
    assert not any(one.gaps for one in found.values())


def test_a_missing_hour_is_a_gap_and_a_missing_day_is_one() -> None:
    missing = MONDAY + 43
    grains = hours(10) - {(MONDAY + 37) * 24 + 11} - {missing * 24 + hour for hour in SESSION}
    found = verdicts(history(grains, HOUR_NS))
    (gap,) = found[MONDAY + 37].gaps
    assert (gap.begin_ns, gap.end_ns) == (
        (MONDAY + 37) * DAY_NS + 11 * HOUR_NS,
        (MONDAY + 37) * DAY_NS + 12 * HOUR_NS,
    )
    (gap,) = found[missing].gaps
    assert (gap.begin_ns % DAY_NS, gap.end_ns % DAY_NS) == (9 * HOUR_NS, 16 * HOUR_NS)
    assert (found[missing].expected, found[missing].present) == (7, 0)
    assert len(with_gaps(history(grains, HOUR_NS))) == 2


@pytest.mark.parametrize("shift", [-1, 1])
def test_a_session_that_moves_by_an_hour_with_the_clocks_has_no_gaps(shift: int) -> None:
    grains = hours(10) | {grain + 10 * 7 * 24 for grain in hours(10, shift)}
    assert with_gaps(history(grains, HOUR_NS)) == []


def test_a_silence_is_long_only_against_what_is_usual() -> None:
    """Of ten minutes one is without a row: three in a row are usual, four are not."""
    minutes = {MONDAY * 1440 + minute for minute in range(70 * 1440) if minute % 10 != 3}
    silence = MONDAY * 1440 + 65 * 1440 + 720
    short = minutes - {silence + 4, silence + 5}
    assert with_gaps(history(short, 60_000_000_000)) == []
    long = short - {silence + 6}
    assert with_gaps(history(long, 60_000_000_000)) == [date(2024, 3, 6)]


def test_a_gap_over_midnight_is_on_both_days() -> None:
    whole = {MONDAY * 24 + hour for hour in range(24 * 70)}
    grains = whole - {(MONDAY + 60) * 24 + hour for hour in range(22, 27)}
    found = verdicts(history(grains, HOUR_NS))
    spans = [
        (gap.begin_ns // HOUR_NS, gap.end_ns // HOUR_NS)
        for day in (60, 61)
        for gap in found[MONDAY + day].gaps
    ]
    midnight = (MONDAY + 61) * 24
    assert spans == [(midnight - 2, midnight), (midnight, midnight + 3)]


def test_with_less_than_four_weeks_nothing_is_expected() -> None:
    assert with_gaps(history(hours(3) - {(MONDAY + 8) * 24 + 11}, HOUR_NS)) == []
    assert with_gaps(history(hours(4) - {(MONDAY + 8) * 24 + 11}, HOUR_NS)) == [date(2024, 1, 9)]


def test_what_is_judged_does_not_depend_on_what_else_is() -> None:
    of = history(hours(20) - {(MONDAY + 50) * 24 + 11, (MONDAY + 51) * 24 + 12}, HOUR_NS)
    whole = verdicts(of)
    for day in range(MONDAY, MONDAY + 140):
        assert judge(of, {day}) == ({day: whole[day]} if day in whole else {})


def test_days_are_judged_against_weekdays() -> None:
    days = {MONDAY + 7 * week + day for week in range(20) for day in range(5)}
    assert with_gaps(history(days - {MONDAY + 73}, DAY_NS)) == [date(2024, 3, 14)]


YEARS = range(2000, 2012)


def traded(*closed: date) -> set[int]:
    """Every weekday of twelve years but these."""
    days = range(day_of(date(2000, 1, 1)), day_of(date(2012, 1, 1)))
    return {day for day in days if (day + 3) % 7 < 5} - set(map(day_of, closed))


def moved(day: date) -> date:
    return day + timedelta(days={5: -1, 6: 1}.get(day.weekday(), 0))


@pytest.mark.parametrize(
    "closed",
    [
        [moved(date(year, 7, 4)) for year in YEARS],
        [date(year, 11, 22 + (3 - date(year, 11, 22).weekday()) % 7) for year in YEARS],  # the 4th Thursday
        [date(year, 5, 31 - date(year, 5, 31).weekday()) for year in YEARS],  # the last Monday
        [date(2000, 4, 21), date(2001, 4, 13), date(2002, 3, 29), date(2003, 4, 18)],  # Good Fridays
    ],
)
def test_a_holiday_is_one_that_returns(closed: list[date]) -> None:
    days = traded(*closed, date(2001, 9, 11))
    if len(closed) == 4:
        days = {day for day in days if day < day_of(date(2004, 1, 1))}
    is_holiday = holidays(days)
    assert all(is_holiday(day_of(one)) for one in closed)
    assert not is_holiday(day_of(date(2001, 9, 11)))
    of = history(days, DAY_NS, is_holiday)
    assert with_gaps(of) == [date(2001, 9, 11)]


def test_one_year_tells_nothing_of_holidays() -> None:
    days = {day for day in traded(date(2000, 7, 4), date(2001, 7, 4)) if day < day_of(date(2002, 1, 1))}
    assert not holidays(days)(day_of(date(2000, 7, 4)))
    assert not holidays(set())(5)
