"""Indicators against TA-Lib on real bars, and where they differ on purpose."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import talib
from numpy.typing import NDArray

from cift_core.engine.indicators import (
    atr,
    band,
    ema,
    ema_seeded_at,
    highest,
    lag,
    lowest,
    macd_signal,
    rsi,
    sma,
    stdev,
    supertrend,
)
from tests.engine.samples import DAILY, sample

Array = NDArray[np.float64]
PAIRS: list[tuple[Callable[..., Array], Callable[..., Array]]] = [
    (sma, talib.SMA),
    (ema, talib.EMA),
    (rsi, talib.RSI),
    (highest, talib.MAX),
    (lowest, talib.MIN),
]


@pytest.mark.parametrize("symbol", [*DAILY, "XAUUSD"])
@pytest.mark.parametrize("window", [2, 3, 14, 20, 199])
@pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=lambda f: getattr(f, "__name__", ""))
def test_equals_talib(ours: Any, theirs: Any, window: int, symbol: str) -> None:
    close = sample(symbol).close
    np.testing.assert_allclose(ours(close, window), theirs(close, window), rtol=1e-10, atol=1e-8)


@pytest.mark.parametrize("window", [2, 20, 199])
def test_stdev_equals_talib_and_numpy(window: int) -> None:
    close = sample("AAPL").close
    ours = stdev(close, window)
    exact = np.std(np.lib.stride_tricks.sliding_window_view(close, window), axis=1)
    assert np.isnan(ours[: window - 1]).all()
    np.testing.assert_allclose(ours[window - 1 :], exact, rtol=1e-11, atol=1e-13)
    # TA-Lib forms a difference of squares: on its scale of 1e2 squared that leaves 1e-5.
    np.testing.assert_allclose(ours, talib.STDDEV(close, window), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("function", [sma, ema, rsi, highest, lowest, stdev], ids=lambda f: f.__name__)
def test_window_longer_than_the_series_is_undefined(function: Callable[..., Array]) -> None:
    for n in (1, 5, 9):
        values = function(np.arange(1.0, n + 1), 10)
        assert values.shape == (n,)
        assert np.isnan(values).all()


def test_first_defined_bar() -> None:
    x = np.linspace(1, 2, 30) + np.sin(np.arange(30)) / 10
    for function in (sma, ema, highest, lowest, stdev):
        assert int(np.isnan(function(x, 7)).sum()) == 6
    assert int(np.isnan(rsi(x, 7)).sum()) == 7


def test_sma_and_stdev_do_not_drift() -> None:
    # A million large values before two hundred small ones: a running sum would still carry their error.
    x = np.concatenate([np.random.default_rng(1).uniform(1e8, 1e9, 1_000_000), np.full(200, 0.1)])
    assert sma(x, 50)[-1] == pytest.approx(0.1, rel=1e-15)
    assert stdev(x, 50)[-1] == 0.0


def test_rsi_where_nothing_is_lost_or_nothing_moves() -> None:
    assert rsi(np.arange(1.0, 20.0), 5)[5:].tolist() == [100.0] * 14
    assert rsi(np.arange(20.0, 1.0, -1.0), 5)[5:].tolist() == [0.0] * 14
    flat = np.full(20, 3.0)
    assert np.isnan(rsi(flat, 5)).all()
    assert talib.RSI(flat, 5)[5:].tolist() == [0.0] * 15
    # Defined from the first change on.
    flat[12:] = 4.0
    assert np.isnan(rsi(flat, 5)[:12]).all()
    assert rsi(flat, 5)[12:].tolist() == [100.0] * 8


def test_rsi_by_hand() -> None:
    # Changes +2 -1 | +1: means 1 and 0.5; then (1 x 1 + 1) / 2 = 1 and (0.5 x 1 + 0) / 2 = 0.25.
    assert rsi(np.array([10.0, 12.0, 11.0, 12.0]), 2)[2:].tolist() == pytest.approx([100 / 1.5, 80.0])


@pytest.mark.parametrize("symbol", [*DAILY, "XAUUSD"])
@pytest.mark.parametrize("window", [2, 10, 199])
def test_atr_equals_talib(window: int, symbol: str) -> None:
    bars = sample(symbol)
    columns = bars.high, bars.low, bars.close
    np.testing.assert_allclose(atr(*columns, window), talib.ATR(*columns, window), rtol=1e-12)


@pytest.mark.parametrize("spans", [(12, 26, 9), (2, 3, 2), (5, 5, 40)])
def test_macd_equals_talib(spans: tuple[int, int, int]) -> None:
    close = sample("IBM").close
    fast, slow, window = spans
    bar = slow - 1
    means = ema_seeded_at(close, fast, bar), ema_seeded_at(close, slow, bar)
    line, signal, _ = talib.MACD(close, *spans)
    first = bar + window - 1
    np.testing.assert_allclose((means[0] - means[1])[first:], line[first:], atol=1e-10)
    ours = macd_signal(*means, window, bar)
    assert np.isnan(ours[:first]).all()
    np.testing.assert_allclose(ours[first:], signal[first:], atol=1e-10)


def test_ranges_and_seeds_beyond_the_series_are_undefined() -> None:
    x = np.arange(1.0, 6.0)
    for found in (
        ema_seeded_at(x, 2, 5),
        ema_seeded_at(x, 2, 50),
        macd_signal(x, x, 3, 4),
        macd_signal(x, x, 3, 40),
        atr(x, x, x, 5),
        supertrend(x, x, x, 5, 1.0),
    ):
        assert found.shape == (5,)
        assert np.isnan(found).all()


def test_lag_and_band() -> None:
    x = np.array([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(lag(x, 1), [np.nan, 1.0, 2.0])
    np.testing.assert_array_equal(lag(x, 2), [np.nan, np.nan, 1.0])
    for bars in (3, 4, 100):
        np.testing.assert_array_equal(lag(x, bars), [np.nan] * 3)
    np.testing.assert_array_equal(band(x, np.array([1.0, 0.5, np.nan]), -2.0), [-1.0, 1.0, np.nan])
