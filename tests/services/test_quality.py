"""The quality of market data: found for what was touched, told to the operators, asked for by backtests."""

import csv
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from cift_core.errors import InvalidInput
from cift_core.models import Alert, AlertKind, Backtest, InstrumentSeries, JobStatus
from cift_core.services import alerts, backtest_runs, backtests, ingestion_runs, jobs, quality, quality_checks
from cift_core.services.leases import Lease
from tests.services.desk import SAMPLE, Desk

START = datetime(2024, 1, 1, tzinfo=UTC)
HEADER = "time,open,high,low,close\n"
REQUEST: dict[str, Any] = {"strategy": {"name": "buy_and_hold"}, "interval": "1h", "cash": 1000}


def hour(week: int, day: int, hour_: int) -> datetime:
    return START + timedelta(days=7 * week + day, hours=hour_)


def bars(moments: list[datetime], close: float = 2) -> str:
    return HEADER + "".join(f"{moment:%Y-%m-%dT%H:%M},1,{max(3, close)},1,{close}\n" for moment in moments)


def session(weeks: range, *, without: tuple[datetime, ...] = ()) -> list[datetime]:
    """Hours 8 to 16 of Mondays to Fridays."""
    found = [hour(week, day, at) for week in weeks for day in range(5) for at in range(8, 17)]
    return [moment for moment in found if moment not in without]


def ingest(desk: Desk, text: str, **request: Any) -> Any:
    return desk.ingest(text, **{"interval": "1h", "source": {}} | request)


def check(desk: Desk, interval: str = "1h", kind: str = "bars") -> None:
    quality_checks.check_series(desk.stores, (desk.symbol, kind, interval), lambda: None)


def listed(desk: Desk, **query: Any) -> list[dict[str, Any]]:
    with desk.stores.postgres.transaction() as session:
        found, _ = quality.list_days(session, desk.symbol, limit=10_000, **query)
    return found


def not_available(desk: Desk) -> dict[str, str]:
    return {str(one["day"]): one["condition"] for one in listed(desk) if one["condition"] != "available"}


def open_alert(desk: Desk) -> Alert | None:
    with desk.stores.postgres.transaction() as session:
        query = select(Alert).where(Alert.kind == AlertKind.DATA_GAP, Alert.resolved_at.is_(None))
        return session.scalar(query.where(Alert.subject.startswith(desk.symbol)))


MISSING_HOUR = hour(9, 2, 11)
MISSING_DAY = tuple(hour(10, 3, at) for at in range(24))


@pytest.fixture
def holed(desk: Desk) -> Desk:
    """Twelve weeks with a missing hour and a missing day, checked."""
    ingest(desk, bars(session(range(12), without=(MISSING_HOUR, *MISSING_DAY))))
    check(desk)
    return desk


def test_each_day_says_what_there_is_and_what_is_not(holed: Desk) -> None:
    found = {str(one["day"]): one for one in listed(holed)}
    assert len(found) == 60, "no weekend"
    assert found["2024-03-06"] == {
        "day": date(2024, 3, 6),
        "kind": "bars",
        "interval": "1h",
        "condition": "degraded",
        "rows": 8,
        "first": "2024-03-06T08:00:00Z",
        "last": "2024-03-06T16:00:00Z",
        "coverage": 6 / 7,
        "gaps": [{"start": "2024-03-06T11:00:00Z", "end": "2024-03-06T12:00:00Z"}],
        "duplicates": 0,
        "rejects": 0,
        "out_of_order": 0,
        "outliers": 0,
        "zero_spreads": 0,
        "negative_spreads": 0,
    }
    missing = found["2024-03-14"]
    assert (missing["condition"], missing["rows"], missing["first"]) == ("missing", 0, None)
    assert missing["coverage"] == 0
    assert not_available(holed) == {"2024-03-06": "degraded", "2024-03-14": "missing"}


def test_filters_and_pages(holed: Desk) -> None:
    assert [one["rows"] for one in listed(holed, condition="missing")] == [0]
    assert listed(holed, kind="ticks") == listed(holed, interval="1d") == []
    some = listed(holed, start=hour(10, 3, 12), end=hour(10, 4, 0))
    assert [str(one["day"]) for one in some] == ["2024-03-14"]
    seen, cursor = [], None
    while True:
        with holed.stores.postgres.transaction() as session:
            page, cursor = quality.list_days(session, holed.symbol, cursor=cursor, limit=7)
        seen += page
        if cursor is None:
            break
    assert seen == listed(holed)


def test_a_gap_is_told_once_and_is_over_when_it_is_filled(holed: Desk) -> None:
    alert = open_alert(holed)
    assert alert is not None
    assert alert.subject == f"{holed.symbol} bars 1h"
    assert alert.detail == f"{holed.symbol} bars 1h has gaps on 2024-03-14, 2024-03-06."
    assert (alert.owner_id, alert.occurrences, alert.details["count"]) == (None, 1, 2)
    ingest(holed, bars([hour(9, 2, 10)], close=2.5))
    check(holed)
    again = open_alert(holed)
    assert again is not None
    assert (again.id, again.occurrences) == (alert.id, 1), "nothing new"
    ingest(holed, bars(session(range(12, 14), without=(hour(12, 1, 12),))))
    check(holed)
    more = open_alert(holed)
    assert more is not None
    assert (more.id, more.occurrences, more.details["count"]) == (alert.id, 2, 3)
    ingest(holed, bars([MISSING_HOUR, *session(range(10, 11)), hour(12, 1, 12)]))
    check(holed)
    assert not_available(holed) == {}
    assert open_alert(holed) is None


def test_an_acknowledged_gap_is_over_and_the_next_one_is_told_anew(holed: Desk) -> None:
    alert = open_alert(holed)
    assert alert is not None
    with holed.stores.postgres.transaction() as session_:
        done = alerts.acknowledge(session_, holed.owner_id, alert.id, operator=True)
        assert done.status == "resolved"
    ingest(holed, bars(session(range(12, 14), without=(hour(12, 1, 12),))))
    check(holed)
    new = open_alert(holed)
    assert new is not None
    assert (new.id != alert.id, new.details["days"]) == (True, ["2024-03-26"])


def test_only_what_was_touched_is_checked_again(holed: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[tuple[date, date]] = []
    keep = quality_checks._keep

    def spy(stores: Any, key: Any, days: Any, rows: Any) -> None:
        checked.append((quality_checks.date_of(min(days)), quality_checks.date_of(max(days))))
        keep(stores, key, days, rows)

    monkeypatch.setattr(quality_checks, "_keep", spy)
    check(holed)
    assert checked == []
    ingest(holed, bars([hour(11, 4, 17)]))
    check(holed)
    assert checked == [(date(2024, 3, 22), date(2024, 3, 22))]
    whole = listed(holed)
    ingest(holed, bars([hour(0, 0, 17)]))
    check(holed)
    assert checked[1:] == [(date(2024, 1, 1), date(2024, 3, 3))], "and the eight weeks that are judged by it"
    later = [one for one in listed(holed) if one["day"] > date(2024, 3, 3)]
    assert later == [one for one in whole if one["day"] > date(2024, 3, 3)]


def test_a_check_that_died_is_done_again(holed: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    ingest(holed, bars([MISSING_HOUR]))

    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(quality_checks, "_keep", dies)
        with pytest.raises(KeyboardInterrupt):
            check(holed)
    check(holed)
    assert not_available(holed) == {"2024-03-14": "missing"}


def test_beat_checks_every_series_that_was_touched(holed: Desk) -> None:
    desk = holed
    desk.ingest(HEADER + "2020-01-01,1,2,1,2\n")
    while quality_checks.check_touched(desk.stores, budget_s=30):
        pass
    assert [one["rows"] for one in listed(desk, interval="1d")] == [1]
    with desk.stores.postgres.transaction() as session_:
        query = select(InstrumentSeries).where(InstrumentSeries.symbol == desk.symbol)
        assert not any(one.unchecked or one.checking for one in session_.scalars(query))


def test_what_ingestions_saw_is_counted_by_day(desk: Desk) -> None:
    text = "time,bid,ask\n2024-01-02T10:00,1,2\n2024-01-01T10:00,2,2\n2024-01-01T11:00,3,2\n"
    text += "2024-01-03T10:00,0,2\nx,1,2\n2024-01-03T11:00,1,2\n2024-01-02T11:00,1,2\n"
    for _ in range(2):
        desk.run(desk.submit(None, upload=text.encode(), kind="quotes"), chunk_bytes=40)
    check(desk, "", "quotes")
    names = ("rows", "duplicates", "rejects", "out_of_order", "zero_spreads", "negative_spreads")
    assert [[str(one["day"]), *(one[name] for name in names)] for one in listed(desk)] == [
        ["2024-01-01", 2, 2, 0, 4, 1, 1],
        ["2024-01-02", 2, 2, 0, 2, 0, 0],
        ["2024-01-03", 1, 1, 2, 0, 0, 0],
    ]


def test_a_row_that_contradicts_an_earlier_one_is_a_reject_of_its_day(desk: Desk) -> None:
    desk.ingest(HEADER + "2020-01-01,1,3,1,2\n2020-01-01,1,3,1,3\n2020-01-01,1,3,1,2\n")
    check(desk, "1d")
    (day,) = listed(desk)
    assert (day["rejects"], day["duplicates"], day["rows"]) == (1, 1, 1)


def test_an_attempt_that_died_does_not_count(desk: Desk) -> None:
    text = HEADER + "2020-01-01,1,3,1,2\n2020-01-01,1,3,1,2\n2020-01-02,1,3,1,2\n"
    ingestion = desk.submit(upload=text.encode(), path=None)
    claim = desk.claim(ingestion)

    class Dying(Lease):
        chunks = 0

        def check(self) -> None:
            self.chunks += 1
            if self.chunks > 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingestion_runs.run(desk.stores, Dying(desk.stores.postgres, claim, 60), chunk_bytes=24)
    with desk.stores.postgres.transaction() as session_:
        jobs.release(session_, claim)
    desk.run(ingestion, chunk_bytes=24)
    check(desk, "1d")
    assert [one["duplicates"] for one in listed(desk)] == [1, 0]


def test_a_price_far_from_those_around_is_an_outlier_and_a_new_level_is_none(desk: Desk) -> None:
    moments = session(range(8))
    lines = [f"{m:%Y-%m-%dT%H:%M},100,101,99,{100 + n % 2}\n" for n, m in enumerate(moments[:180])]
    lines += [f"{m:%Y-%m-%dT%H:%M},50,51,49,{50 + n % 2}\n" for n, m in enumerate(moments[180:])]
    lines[75] = f"{moments[75]:%Y-%m-%dT%H:%M},100,150,99,100\n"
    ingest(desk, HEADER + "".join(lines))
    check(desk)
    assert not_available(desk) == {f"{moments[75]:%Y-%m-%d}": "degraded"}
    assert [one["outliers"] for one in listed(desk, condition="degraded")] == [1]


def test_trades_are_looked_at_by_the_minute(desk: Desk) -> None:
    start = START
    gone = range(31 * 1440 + 600, 31 * 1440 + 620)
    trades = "".join(
        f"{start + timedelta(minutes=m, seconds=7):%Y-%m-%dT%H:%M:%S},{m},{5 + m % 2}\n"
        for m in range(35 * 1440)
        if m not in gone
    )
    desk.run(desk.submit(None, upload=f"time,id,price\n{trades}".encode(), kind="ticks"))
    check(desk, "", "ticks")
    assert not_available(desk) == {"2024-02-01": "degraded"}
    (day,) = listed(desk, condition="degraded")
    assert day["gaps"] == [{"start": "2024-02-01T10:00:00Z", "end": "2024-02-01T10:20:00Z"}]
    assert (day["rows"], day["coverage"]) == (1420, 1420 / 1440)


def test_of_real_daily_bars_only_what_no_calendar_knew_is_missing(sample_desk: Desk) -> None:
    """Thirteen years of weekdays: September 2001, two state funerals and a hurricane; no holiday."""
    desk = sample_desk
    desk.run(desk.submit("AAPL-1d.csv"))
    check(desk, "1d")
    with (SAMPLE / "AAPL-1d.csv").open() as file:
        rows = len(list(csv.DictReader(file)))
    assert sum(one["rows"] for one in listed(desk)) == rows
    missing = [day for day, condition in not_available(desk).items() if condition == "missing"]
    assert missing == [
        *(f"2001-09-{day}" for day in (11, 12, 13, 14)),
        *("2004-06-11", "2007-01-02", "2012-10-29", "2012-10-30"),
    ]


def submit(desk: Desk, **request: Any) -> Backtest:
    with desk.stores.postgres.transaction() as session_:
        wanted = REQUEST | {"symbols": [desk.symbol]} | request
        return backtests.submit(session_, desk.owner_id, wanted, max_in_flight=50)


def run(desk: Desk, made: Backtest) -> Backtest:
    with desk.stores.postgres.transaction() as session_:
        claim = jobs.claim(session_, Backtest, made.id, lease_s=60, task_id="-")
    assert claim is not None
    with Lease(desk.stores.postgres, claim, 60) as lease:
        values = backtest_runs.run(desk.stores, lease)
    with desk.stores.postgres.transaction() as session_:
        assert jobs.finish(session_, claim, JobStatus.SUCCEEDED, **values)
        return backtests.get(session_, desk.owner_id, made.id)


def test_a_backtest_says_what_the_quality_of_its_data_is(holed: Desk) -> None:
    seen = (run(holed, submit(holed)).data or {})["quality"]
    assert seen == {
        "days": {"available": 58, "degraded": 1, "missing": 1},
        "unchecked_days": 0,
        "gaps": 2,
        "coverage": (60 * 7 - 8) / (60 * 7),
        "gap_pnl_share": 1.0,
    }
    ingest(holed, bars([hour(11, 4, 16)], close=2.5))
    after = (run(holed, submit(holed)).data or {})["quality"]
    assert (after["unchecked_days"], after["gap_pnl_share"]) == (1, 1.0)
    start = f"{hour(10, 4, 0):%Y-%m-%dT%H:%M:%SZ}"
    late = (run(holed, submit(holed, start=start)).data or {})["quality"]
    assert (late["gaps"], late["coverage"], late["gap_pnl_share"]) == (0, 1.0, 0.0)


def test_the_share_is_of_the_trades_that_are_held_while_there_is_a_gap() -> None:
    none = {"days": {}, "expected": 0, "present": 0, "unchecked": 0}
    one = quality.Quality(**none, begins_ns=np.array([10, 30]), ends_ns=np.array([20, 40]))  # type: ignore[arg-type]
    entries = np.array([0, 0, 12, 20, 20, 39, 40])
    exits = np.array([10, 11, 15, 30, 31, 50, 50])
    spanned = one.spanned(entries, exits)
    assert spanned.tolist() == [False, True, True, False, True, True, False]
    pnl = np.array([1.0, -2, 3, 4, 5, 6, -7])
    assert quality.summary(one, pnl, spanned)["gap_pnl_share"] == 16 / 28


def test_strict_refuses_degraded_data_at_once_where_it_is_known(holed: Desk) -> None:
    with pytest.raises(InvalidInput) as refused:
        submit(holed, data_policy="strict")
    assert refused.value.code == "degraded_data"
    assert [(one.pointer, one.detail) for one in refused.value.errors] == [
        ("/symbols/0", f"{holed.symbol} bars 1h is missing on 2024-03-14, and degraded on 2024-03-06")
    ]
    assert "2024-03-14" in refused.value.message
    good = submit(holed, data_policy="strict", end=f"{hour(9, 0, 0):%Y-%m-%dT%H:%M:%SZ}")
    assert (run(holed, good).data or {})["quality"]["coverage"] == 1.0


def test_strict_checks_what_is_not_checked_yet_before_it_runs(desk: Desk) -> None:
    ingest(desk, bars(session(range(12), without=(MISSING_HOUR,))))
    made = submit(desk, data_policy="strict")
    with pytest.raises(InvalidInput) as refused:
        run(desk, made)
    assert "degraded on 2024-03-06" in refused.value.message
    assert not_available(desk) == {"2024-03-06": "degraded"}


def test_strict_looks_at_what_bars_are_built_from(holed: Desk) -> None:
    made = submit(holed, data_policy="strict", interval="4h")
    with pytest.raises(InvalidInput) as refused:
        run(holed, made)
    assert "bars 1h is missing on 2024-03-14" in refused.value.message
