"""Bars: validation that names the bar, no copies, adjusted prices, digest, periods per year."""

import hashlib
import struct
from typing import Any

import numpy as np
import pytest

from cift_core.engine import Bars
from cift_core.engine.bars import periods_per_year, rfc3339
from cift_core.errors import InvalidInput
from tests.engine.samples import bars_of, frame, part, sample

DAY_NS = 86_400_000_000_000
HOUR_NS = DAY_NS // 24


def columns(n: int = 3, **changed: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "time": np.arange(n, dtype=np.int64) * DAY_NS,
        "open": np.full(n, 10.0),
        "high": np.full(n, 12.0),
        "low": np.full(n, 9.0),
        "close": np.full(n, 11.0),
        "volume": np.full(n, 100.0),
    }
    return {**base, **changed}


def spaced(step_ns: int, n: int, interval: str | None) -> Bars:
    return Bars(**columns(n, time=np.arange(n, dtype=np.int64) * step_ns), interval=interval)


def test_views_share_the_callers_memory_and_are_read_only() -> None:
    given = columns()
    bars = Bars(**given)
    for name, array in given.items():
        view = getattr(bars, name)
        assert np.shares_memory(view, array)
        assert not view.flags.writeable
        assert array.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        bars.close[0] = 1.0
    assert len(bars) == 3


def test_other_numbers_and_strides_are_converted() -> None:
    bars = Bars(
        **columns(close=np.array([11, 11, 11]), open=np.full(6, 10.0)[::2], low=np.full(3, 9, np.float32))
    )
    for name in ("open", "low", "close"):
        assert getattr(bars, name).dtype == np.float64
        assert getattr(bars, name).flags.c_contiguous


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"high": [12, 9.5, 12.0]},
            r"bar 1 \(1970-01-02T00:00:00Z\): high 9.5 is below open 10.0, low 9.0 or close 11.0",
        ),
        ({"low": [9, 9, 10.5]}, r"bar 2 \(1970-01-03T00:00:00Z\): low 10.5 is above open 10.0 or close 11.0"),
        ({"close": [11, np.nan, 11]}, "bar 1 .*: prices must be finite and positive, got .* close nan"),
        (
            {"close": [11, np.inf, 11], "high": [12, np.inf, 12]},
            "bar 1 .*: prices must be finite and positive",
        ),
        ({"low": [9, 0.0, 9]}, "bar 1 .*: prices must be finite and positive, got .* low 0.0"),
        ({"open": [-10.0, 10, 10], "low": [-11.0, 9, 9]}, "bar 0 .*: prices must be finite and positive"),
        ({"volume": [1, -1.0, 1]}, "bar 1 .*: volume must be NaN or at least 0, got -1.0"),
        ({"volume": [1, np.inf, 1]}, "bar 1 .*: volume must be NaN or at least 0, got inf"),
        ({"time": np.array([0, 5, 5])}, "bar 2 .*: its time is not after that of bar 1"),
        ({"time": np.array([0, 5, 4])}, "bar 2 .*: its time is not after that of bar 1"),
        ({"high": [1.0, 1.0, 1.0]}, r"bar 0 .*\(3 bad bars in all\)"),
        ({"time": np.array([], np.int64)}, "at least one bar"),
        ({"time": np.zeros((3, 1), np.int64)}, r"got shape \(3, 1\)"),
        ({"time": np.arange(3.0)}, r"time must be int64 \(ns since 1970 UTC\), got float64"),
        ({"time": np.arange(3).astype("datetime64[ns]")}, r"time must be int64"),
        ({"close": np.full(4, 11.0)}, r"close must have one value for each of the 3 times, got shape \(4,\)"),
        ({"close": np.array(["a", "b", "c"])}, "close must be float64, got <U1"),
        ({"interval": "1 h"}, r'interval must be one of .*, got "1 h" \(did you mean "1h"\?\)'),
    ],
)
def test_bad_bars_are_named(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        Bars(**columns(**changed))
    assert caught.value.code == "invalid_bars"
    assert [e.pointer for e in caught.value.errors] == ["/bars"]


def test_nan_volume_and_no_volume_are_fine() -> None:
    assert np.isnan(Bars(**columns(volume=np.full(3, np.nan))).volume).all()
    assert Bars(**columns(volume=None)).volume is None


def test_the_two_impossible_bars_of_the_spy_sample() -> None:
    table = frame("SPY")
    with pytest.raises(
        InvalidInput,
        match=r"bar 1806 \(2015-03-05T00:00:00Z\): low 209.850006 is above open .*2 bad bars in all",
    ):
        bars_of(table, "1d")
    with pytest.raises(
        InvalidInput, match=r"\(2015-03-30T00:00:00Z\): low 206.960007 is above open 205.740005"
    ):
        bars_of(table.drop(table.index[1806]), "1d")


def test_adjusted_scales_every_price_by_one_factor() -> None:
    bars, adjusted_close = sample("AAPL"), frame("AAPL")["adj close"].to_numpy()
    adjusted = bars.adjusted(adjusted_close)
    factor = adjusted_close / bars.close
    for name in ("open", "high", "low", "close"):
        np.testing.assert_array_equal(getattr(adjusted, name), getattr(bars, name) * factor)
    np.testing.assert_allclose(adjusted.close, adjusted_close, rtol=1e-15)
    np.testing.assert_array_equal(adjusted.volume, bars.volume)
    assert adjusted.interval == "1d"
    # Two of the three raw falls by more than 40 % are splits; the profit warning of 2000-09-29 remains.
    assert (bars.close[1:] / bars.close[:-1] < 0.6).sum() == 3
    assert (adjusted.close[1:] / adjusted.close[:-1] < 0.6).sum() == 1


def test_adjusted_close_must_be_a_price() -> None:
    bars = Bars(**columns())
    for bad in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(InvalidInput, match=r"bar 1 .*adjusted_close must be finite and positive"):
            bars.adjusted(np.array([11.0, bad, 11.0]))
    with pytest.raises(InvalidInput, match="one value for each of the 3 times"):
        bars.adjusted(np.array([11.0]))


def test_digest_is_the_sha256_of_the_columns() -> None:
    packed = struct.pack("<3q", 0, DAY_NS, 2 * DAY_NS)
    for value in (10.0, 12.0, 9.0, 11.0, 100.0):
        packed += struct.pack("<3d", value, value, value)
    assert Bars(**columns()).sha256() == hashlib.sha256(packed).hexdigest()
    assert Bars(**columns(volume=None)).sha256() == hashlib.sha256(packed[:-24]).hexdigest()
    assert Bars(**columns(close=[11.0, 11.0, 11.5])).sha256() != Bars(**columns()).sha256()


@pytest.mark.parametrize(
    ("bars", "expected"),
    [
        (spaced(7 * DAY_NS, 100, "1w"), 52.0),
        (spaced(30 * DAY_NS, 100, "1M"), 12.0),
        (spaced(HOUR_NS, 10_000, "tick"), None),
        (spaced(DAY_NS, 61, "1d"), 365.0),  # every calendar day: 365.25, snapped
        (spaced(DAY_NS, 61, None), 365.0),
        (spaced(DAY_NS, 60, "1d"), 365.25),  # 59 days: nominal
        (spaced(DAY_NS, 60, None), None),
        (spaced(DAY_NS, 1, "1d"), 365.25),
        (spaced(HOUR_NS, 24 * 59, "1h"), 365.25 * 24),
        (spaced(HOUR_NS, 24 * 100, "1h"), 365.25 * 24),  # measured, nothing to snap to
        (spaced(60_000_000_000, 100, "1m"), 365.25 * 24 * 60),
        (spaced(int(DAY_NS * 365.25 / 264), 300, "1d"), 252.0),  # 4.8 % above
        (spaced(int(DAY_NS * 365.25 / 240), 300, "1d"), 252.0),  # 4.8 % below
        (spaced(int(DAY_NS * 365.25 / 347), 300, "1d"), 365.0),
        (spaced(int(DAY_NS * 365.25 / 383), 300, "1d"), 365.0),
        (spaced(DAY_NS, 61, "1h"), 365.0),
        (sample("AAPL"), 252.0),
        (part(sample("AAPL"), 0, 10), 365.25),
    ],
)
def test_periods_per_year(bars: Bars, expected: float | None) -> None:
    assert periods_per_year(bars.time, bars.interval) == (
        None if expected is None else pytest.approx(expected, rel=1e-12)
    )


@pytest.mark.parametrize("per_year", [239, 265, 346, 384])
def test_periods_per_year_is_measured_beyond_five_percent(per_year: int) -> None:
    bars = spaced(int(DAY_NS * 365.25 / per_year), 300, "1d")
    assert periods_per_year(bars.time, bars.interval) == pytest.approx(per_year, rel=1e-9)


def test_periods_per_year_of_hourly_gold_counts_its_bars() -> None:
    bars = sample("XAUUSD")
    years = (bars.time[-1] - bars.time[0]) / (365.25 * DAY_NS)
    assert periods_per_year(bars.time, bars.interval) == pytest.approx((len(bars) - 1) / years)
    assert 5_500 < periods_per_year(bars.time, bars.interval) < 6_500


def test_rfc3339() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00Z"
    assert rfc3339(1_500_000_000_123_456_789) == "2017-07-14T02:40:00.123456789Z"
    assert rfc3339(1_500_000_000_120_000_000) == "2017-07-14T02:40:00.12Z"
    assert rfc3339(-1) == "1969-12-31T23:59:59.999999999Z"
