"""Bars from trades and from finer bars, held against plain Python."""

import math
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cift_core.engine import INTERVALS, Bars, Candles, builds, floor_time, next_open

SECONDS = {"1s": 1, "5s": 5, "15s": 15, "1m": 60, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600}
SECONDS |= {"4h": 14_400, "1d": 86_400}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def label(time_ns: int, interval: str) -> int:
    """The open of a trade's bar, by Python's calendar."""
    if interval == "tick":
        return time_ns
    moment = EPOCH + timedelta(microseconds=time_ns // 1000)
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if interval == "1M":
        opened = day.replace(day=1)
    elif interval == "1w":
        opened = day - timedelta(days=day.weekday())
    else:
        seconds = (moment - day).seconds
        opened = day + timedelta(seconds=seconds - seconds % SECONDS[interval])
    return (opened - EPOCH) // timedelta(microseconds=1) * 1000


def expected(times: list[int], prices: list[float], sizes: list[float], interval: str) -> list[list[float]]:
    rows = zip(times, prices, sizes, strict=True)
    bars = []
    for opened, group in groupby(rows, lambda row: label(row[0], interval)):
        _, p, v = zip(*group, strict=True)
        bars.append([opened, p[0], max(p), min(p), p[-1], math.fsum(v)])
    return bars


def built(bars: Bars) -> list[list[float]]:
    columns = (bars.time, bars.open, bars.high, bars.low, bars.close, bars.volume)
    return [list(row) for row in zip(*(column.tolist() for column in columns), strict=True)]  # type: ignore[union-attr]


TRADES = st.lists(
    st.tuples(
        st.integers(0, 9_000_000_000_000_000_000),
        st.floats(1e-8, 1e8),
        st.floats(1e-8, 1e8),
    ),
    min_size=1,
    max_size=60,
)


@given(TRADES, st.sampled_from(INTERVALS), st.lists(st.integers(0, 60), max_size=5), st.integers(0, 40))
@settings(deadline=None)  # the first call compiles
def test_every_bar_is_what_plain_python_makes_of_the_trades(
    trades: list[tuple[int, float, float]], interval: str, cuts: list[int], crowded: int
) -> None:
    """Wherever the pages end."""
    trades = sorted((time >> crowded, price, size) for time, price, size in trades)
    times, prices, sizes = (list(column) for column in zip(*trades, strict=True))
    candles = Candles(interval)
    edges = [0, *sorted(cuts), len(times)]
    for begin, end in pairwise(edges):
        price, size = np.array(prices[begin:end]), np.array(sizes[begin:end])
        candles.add(np.array(times[begin:end], dtype=np.int64), price, price, price, price, size)
    wanted = expected(times, prices, sizes, interval)
    assert len(candles) == len(wanted)
    assert [row[:5] for row in built(candles.bars())] == [row[:5] for row in wanted]
    for ours, theirs in zip(built(candles.bars()), wanted, strict=True):
        assert ours[5] == pytest.approx(theirs[5], rel=1e-15)


def test_volume_is_added_as_if_exactly() -> None:
    sizes = np.array([1e16, 1.0, 1.0, 1.0, 1.0, 1e-3, 3.0])
    ones = np.ones(7)
    candles = Candles("1m")
    for begin, end in ((0, 3), (3, 7)):
        part = slice(begin, end)
        candles.add(
            np.arange(7, dtype=np.int64)[part], ones[part], ones[part], ones[part], ones[part], sizes[part]
        )
    assert candles.bars().volume == math.fsum(sizes)
    assert float(sizes.sum()) != math.fsum(sizes)


def test_an_unknown_volume_makes_the_bar_s_unknown_and_no_other_s() -> None:
    ones = np.ones(3)
    time = np.array([0, 1, 60_000_000_000], dtype=np.int64)
    candles = Candles("1m")
    candles.add(time, ones, ones, ones, ones, np.array([1.0, np.nan, 2.0]))
    volume = candles.bars().volume
    assert volume is not None
    assert np.isnan(volume[0])
    assert volume[1] == 2.0


@pytest.mark.parametrize("interval", [interval for interval in INTERVALS if interval != "tick"])
def test_the_next_bar_opens_where_this_one_ends(interval: str) -> None:
    for time_ns in (0, 1_723_161_255_342_000_000, 951_782_399_999_999_999):
        here = int(floor_time(np.array([time_ns]), interval)[0])
        following = next_open(time_ns, interval)
        assert here == label(time_ns, interval) <= time_ns < following
        assert int(floor_time(np.array([following]), interval)[0]) == following
        assert int(floor_time(np.array([following - 1]), interval)[0]) == here


def test_which_bars_are_made_of_which() -> None:
    made = {target: [finer for finer in INTERVALS if builds(finer, target)] for target in INTERVALS}
    assert made["15s"] == ["1s", "5s"]
    assert made["4h"] == ["1s", "5s", "15s", "1m", "5m", "15m", "30m", "1h"]
    assert made["1w"] == made["1M"] == [*made["4h"], "4h", "1d"]
    assert made["1s"] == made["tick"] == []
