"""Trades and equity older than they are kept: dropped by whole days, and told from a backtest without any."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest

from cift_core.clock import utc_now
from cift_core.engine import Bars, Execution, run_backtest
from cift_core.errors import Gone
from cift_core.models import Backtest
from cift_core.services.paging import encode_cursor
from cift_core.services.retention import SERIES_TABLES, drop_old_series
from cift_core.services.series import read_equity, read_thinned_equity, read_trades
from cift_core.stores import Stores
from cift_core.strategies import STRATEGIES
from tests.services.test_series import HOUR_NS, recorded

CLOSE = 100 + 10 * np.sin(np.arange(60) / 3)
BARS = Bars(
    time=HOUR_NS * np.arange(60),
    open=CLOSE,
    high=CLOSE,
    low=CLOSE,
    close=CLOSE,
    interval="1h",
)
RESULT = run_backtest(BARS, STRATEGIES["sma_cross"], {"fast": 2, "slow": 5}, Execution())


def stored(stores: Stores, at: datetime) -> Backtest:
    backtest = recorded(stores.questdb, BARS.time, RESULT, at=at)
    backtest.metrics = dict(RESULT.metrics)
    return backtest


def drop(stores: Stores, now: datetime, days: int) -> None:
    drop_old_series(stores.questdb, now, days)
    stores.questdb.wait_visible(*SERIES_TABLES)


def test_what_is_older_than_it_is_kept_is_gone_and_says_so(stores: Stores) -> None:
    now = utc_now()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    kept = stored(stores, midnight - timedelta(days=30))
    old = stored(stores, midnight - timedelta(days=30, microseconds=1))
    for _ in range(2):
        drop(stores, now, 30)
    assert len(read_equity(stores.questdb, kept, None, 100)[0]) == 60
    assert read_trades(stores.questdb, kept, None, 100)[0]
    reads = [
        lambda: read_trades(stores.questdb, old, None, 10),
        lambda: read_trades(stores.questdb, old, encode_cursor(3), 10),
        lambda: read_equity(stores.questdb, old, None, 10),
        lambda: read_equity(stores.questdb, old, encode_cursor(HOUR_NS), 10),
        lambda: read_thinned_equity(stores.questdb, old, 10),
    ]
    for read in reads:
        with pytest.raises(Gone) as caught:
            read()
        assert caught.value.code == "series_not_kept"
        assert f"{old.recorded_at:%Y-%m-%d}" in caught.value.message


def test_a_cursor_behind_the_last_row_of_what_is_kept_finds_nothing(stores: Stores) -> None:
    kept = stored(stores, utc_now())
    assert read_equity(stores.questdb, kept, encode_cursor(60 * HOUR_NS), 10) == ([], None)
    assert read_trades(stores.questdb, kept, encode_cursor(10_000), 10) == ([], None)


def test_a_backtest_without_trades_has_none_that_could_be_gone(stores: Stores) -> None:
    old = stored(stores, utc_now() - timedelta(days=90))
    old.metrics = {"trades": 0}
    drop(stores, utc_now(), 30)
    assert read_trades(stores.questdb, old, None, 10) == ([], None)
    with pytest.raises(Gone):
        read_equity(stores.questdb, old, None, 10)
