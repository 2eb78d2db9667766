"""A result's trades and equity: written once, read back page by page, exactly."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from numpy.typing import NDArray

from cift_core.clock import rfc3339, utc_now
from cift_core.engine import EXIT_REASONS, SIDES, TRADE, Bars, Execution, Result, run_backtest
from cift_core.errors import InvalidInput
from cift_core.models import Backtest
from cift_core.services.paging import encode_cursor
from cift_core.services.series import (
    read_equity,
    read_thinned_equity,
    read_trades,
    wait_readable,
    write_series,
)
from cift_core.stores import Stores
from cift_core.stores.questdb import QuestDBPool
from cift_core.strategies import STRATEGIES

HOUR_NS = 3_600_000_000_000


@pytest.fixture
def questdb(stores: Stores) -> QuestDBPool:
    return stores.questdb


@pytest.fixture(scope="module")
def bars() -> Bars:
    rng = np.random.default_rng(7)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, 400)))
    open_ = np.roll(close, 1)
    return Bars(
        time=1_600_000_000_000_000_000 + HOUR_NS * np.arange(400) + np.arange(400) % 2,
        open=open_,
        high=np.maximum(open_, close) * 1.001,
        low=np.minimum(open_, close) * 0.999,
        close=close,
        interval="1h",
    )


@pytest.fixture(scope="module")
def result(bars: Bars) -> Result:
    execution = Execution(allow_short=True, commission_rate=0.001, stop_loss=0.02)
    result = run_backtest(bars, STRATEGIES["sma_cross"], {"fast": 3, "slow": 9}, execution)
    assert len(result.trades) > 20
    return result


def flat(equity: NDArray[np.float64]) -> Result:
    """A result without trades, of this equity."""
    zero = np.zeros(len(equity))
    return Result({}, {}, np.empty(0, TRADE), np.arange(len(equity)), equity, equity, zero, zero)


def recorded(
    questdb: QuestDBPool,
    time: NDArray[np.int64],
    result: Result,
    *,
    at: datetime | None = None,
    attempt: int = 1,
    job: Backtest | None = None,
) -> Backtest:
    """The row of a backtest whose series were written."""
    backtest = Backtest(id=job.id if job else uuid4(), result_attempt=attempt, recorded_at=at or utc_now())
    assert backtest.recorded_at is not None
    write_series(questdb, backtest.id, attempt, backtest.recorded_at, ["BRK.B"], replace(result, time=time))
    wait_readable(questdb)
    return backtest


def pages(read: Any, questdb: QuestDBPool, backtest: Backtest, limit: int) -> list[list[dict[str, Any]]]:
    found, cursor = [], None
    while True:
        items, cursor = read(questdb, backtest, cursor, limit)
        found.append(items)
        if cursor is None:
            return found


def expected_trades(result: Result) -> list[dict[str, Any]]:
    names = ("size", "entry_price", "exit_price", "pnl", "return", "fees", "bars_held")
    return [
        {
            "symbol": "BRK.B",
            "side": SIDES[trade["side"]],
            "entry_time": rfc3339(int(trade["entry_time"])),
            "exit_time": rfc3339(int(trade["exit_time"])),
            "exit_reason": EXIT_REASONS[trade["exit_reason"]],
            **{name: trade[name].item() for name in names},
        }
        for trade in result.trades
    ]


def expected_equity(time: NDArray[np.int64], result: Result) -> list[dict[str, Any]]:
    columns = (result.equity, result.cash, result.position_value, result.drawdown)
    names = ("equity", "cash", "position_value", "drawdown")
    return [
        {"time": rfc3339(int(time[i]))} | {n: c[i].item() for n, c in zip(names, columns, strict=True)}
        for i in range(len(time))
    ]


@pytest.mark.parametrize("limit", [1, 7, 500])
def test_trades_are_paged_through_in_exit_order_to_the_last_bit(
    questdb: QuestDBPool, bars: Bars, result: Result, limit: int
) -> None:
    backtest = recorded(questdb, bars.time, result)
    found = pages(read_trades, questdb, backtest, limit)
    assert all(len(page) == limit for page in found[:-1])
    assert 0 < len(found[-1]) <= limit
    assert [trade for page in found for trade in page] == expected_trades(result)


@pytest.mark.parametrize("limit", [37, 200, 400, 500])
def test_the_equity_is_paged_through_in_time_order_to_the_last_bit(
    questdb: QuestDBPool, bars: Bars, result: Result, limit: int
) -> None:
    backtest = recorded(questdb, bars.time, result)
    found = pages(read_equity, questdb, backtest, limit)
    assert len(found) == -(-400 // limit), "no empty last page"
    assert [item for page in found for item in page] == expected_equity(bars.time, result)


def test_neither_another_attempt_nor_another_job_is_seen(
    questdb: QuestDBPool, bars: Bars, result: Result
) -> None:
    moment = utc_now()
    mine = recorded(questdb, bars.time, result, at=moment)
    other = flat(np.full(3, 7.0))
    recorded(questdb, bars.time[:3], other, at=moment)  # another job's, at the same moment
    recorded(questdb, bars.time[:3], other, at=moment, attempt=2, job=mine)
    recorded(questdb, bars.time[:3], other, at=moment + timedelta(microseconds=1), job=mine)
    assert pages(read_equity, questdb, mine, 500) == [expected_equity(bars.time, result)]
    assert pages(read_trades, questdb, mine, 500) == [expected_trades(result)]


def test_series_written_again_stand_once(questdb: QuestDBPool, bars: Bars, result: Result) -> None:
    mine = recorded(questdb, bars.time, result)
    recorded(questdb, bars.time, result, at=mine.recorded_at, job=mine)
    assert pages(read_equity, questdb, mine, 500) == [expected_equity(bars.time, result)]
    assert pages(read_trades, questdb, mine, 500) == [expected_trades(result)]


def test_a_backtest_without_a_result_has_no_series(questdb: QuestDBPool) -> None:
    backtest = Backtest(id=uuid4())
    assert read_trades(questdb, backtest, None, 10) == ([], None)
    assert read_equity(questdb, backtest, None, 10) == ([], None)
    assert read_thinned_equity(questdb, backtest, 10) == []


def test_a_result_without_trades_has_its_equity(questdb: QuestDBPool, bars: Bars) -> None:
    backtest = recorded(questdb, bars.time[:5], flat(np.full(5, 1e4)))
    assert read_trades(questdb, backtest, None, 10) == ([], None)
    assert len(read_equity(questdb, backtest, None, 10)[0]) == 5


def test_times_are_exact_to_the_nanosecond_begin_with_the_epoch_and_may_repeat(questdb: QuestDBPool) -> None:
    time = np.array([0, 1, 999, 40_000, 2**31, 2**62 - 1, 2**62 - 1], dtype=np.int64)
    backtest = recorded(questdb, time, flat(np.arange(7, dtype=float)))
    items = [item for page in pages(read_equity, questdb, backtest, 1) for item in page]
    assert [item["time"] for item in items] == [rfc3339(int(t)) for t in time]
    assert [item["equity"] for item in items] == list(range(7))


@pytest.mark.parametrize("bars", [1_023, 1_024, 1_025, 3_000])
def test_pages_cross_the_bounds_of_what_is_stored_together(questdb: QuestDBPool, bars: int) -> None:
    backtest = recorded(questdb, np.arange(bars), flat(np.arange(bars, dtype=float)))
    found = pages(read_equity, questdb, backtest, 400)
    assert [item["equity"] for page in found for item in page] == list(range(bars))
    assert [len(page) for page in found[:-1]] == [400] * (len(found) - 1)
    assert len(read_thinned_equity(questdb, backtest, bars)) == bars


def test_a_long_equity_is_written_in_several_requests(questdb: QuestDBPool) -> None:
    equity = np.arange(500_000, dtype=float)
    backtest = recorded(questdb, np.arange(500_000), flat(equity))
    last, _ = read_equity(questdb, backtest, encode_cursor(499_999), 10)
    assert [item["equity"] for item in last] == [499_999.0]
    assert len(read_thinned_equity(questdb, backtest, 1_000)) == 1_000


def test_the_zone_of_the_recording_moment_does_not_matter(
    questdb: QuestDBPool, bars: Bars, result: Result
) -> None:
    backtest = recorded(questdb, bars.time, result)
    assert backtest.recorded_at is not None
    there = backtest.recorded_at.astimezone(timezone(timedelta(hours=5)))
    seen = Backtest(id=backtest.id, result_attempt=1, recorded_at=there)
    assert len(read_equity(questdb, seen, None, 500)[0]) == 400


@pytest.mark.parametrize(
    "cursor", ["nonsense", encode_cursor(2**63), encode_cursor("2024-01-01", UUID(int=1))]
)
@pytest.mark.parametrize("read", [read_trades, read_equity])
def test_a_foreign_cursor_is_refused(
    questdb: QuestDBPool, bars: Bars, result: Result, read: Any, cursor: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(questdb, recorded(questdb, bars.time[:1], flat(np.ones(1))), cursor, 10)
    assert [error.pointer for error in caught.value.errors] == ["/cursor"]


@pytest.mark.parametrize("max_points", [2, 3, 4, 5, 10, 99, 399, 400, 5_000])
def test_a_thinned_equity_keeps_its_ends_its_lowest_and_its_highest_point(
    questdb: QuestDBPool, bars: Bars, result: Result, max_points: int
) -> None:
    backtest = recorded(questdb, bars.time, result)
    whole = expected_equity(bars.time, result)
    thinned = read_thinned_equity(questdb, backtest, max_points)
    assert len(thinned) <= max_points
    assert (thinned[0], thinned[-1]) == (whole[0], whole[-1])
    assert [item for item in whole if item in thinned] == thinned, "in order, each once, unchanged"
    if max_points >= 4:
        low, high = int(np.argmin(result.equity)), int(np.argmax(result.equity))
        assert whole[low] in thinned
        assert whole[high] in thinned
    if max_points >= 400:
        assert thinned == whole


def test_a_thinned_spike_is_not_lost(questdb: QuestDBPool) -> None:
    equity = np.full(10_000, 100.0)
    equity[1], equity[5_000], equity[9_998] = 50.0, 200.0, 1.0
    backtest = recorded(questdb, np.arange(10_000), flat(equity))
    assert {50.0, 200.0, 1.0} <= {item["equity"] for item in read_thinned_equity(questdb, backtest, 50)}
