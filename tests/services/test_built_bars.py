"""Bars that are not stored: built from the sample trades and from finer bars, equal to the last digit."""

import csv
import gzip
import math
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cift_core.engine import INTERVALS
from cift_core.errors import InvalidInput
from cift_core.services import bars as bars_module
from cift_core.services.bars import BarsRead, read_bars
from cift_core.stores.questdb import QuestDBPool
from cift_core.stores.questdb_batches import Rows
from tests.engine.test_candles import label
from tests.services.desk import SAMPLE, Desk

MS = 1_000_000


def sample_trades() -> list[tuple[int, float, float]]:
    with gzip.open(SAMPLE / "BTCUSDT-trades.csv.gz", "rt") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: (int(row["timestamp"]), int(row["trade_id"])))
    return [(int(row["timestamp"]) * MS, float(row["price"]), float(row["quantity"])) for row in rows]


@pytest.fixture
def read(desk: Desk) -> Any:
    def read(
        interval: str,
        start: datetime | None = None,
        end: datetime | None = None,
        max_bars: int = 100_000,
        prices: Any = None,
    ) -> BarsRead:
        return read_bars(desk.stores.questdb, desk.symbol, interval, start, end, prices, max_bars=max_bars)

    return read


@pytest.fixture
def traded(desk: Desk) -> Desk:
    """A desk whose symbol has the sample's Bitcoin trades."""
    columns = {"timestamp": "timestamp", "price": "price", "size": "quantity", "trade_id": "trade_id"}
    source = {"timestamp_unit": "ms", "columns": columns}
    data = (SAMPLE / "BTCUSDT-trades.csv.gz").read_bytes()
    desk.run(desk.submit(None, upload=data, kind="ticks", source=source))
    return desk


def store_bars(
    questdb: QuestDBPool, symbol: str, interval: str, times: list[datetime], **columns: Any
) -> None:
    close = 100.0 + np.arange(len(times))
    frame = {"timestamp": pd.DatetimeIndex(times), "symbol": symbol, "interval": interval}
    prices = {"open": close - 0.5, "high": close + 1, "low": close - 1, "close": close, "volume": 1.0}
    rows = pd.DataFrame(frame | prices | {"adjusted_close": np.nan} | columns)
    questdb.write(Rows("bars", rows, at="timestamp", symbols=("symbol", "interval")))
    questdb.wait_visible("bars")


def test_all_intervals_equal_an_independent_computation_to_the_last_digit(
    traded: Desk, read: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trades = sample_trades()
    for interval in INTERVALS:
        monkeypatch.setattr(bars_module, "PAGE_ROWS", 7_000 if interval in ("tick", "1m") else 250_000)
        found = read(interval)
        wanted = []
        for opened, group in groupby(trades, lambda trade: label(trade[0], interval)):  # noqa: B023
            _, prices, sizes = zip(*group, strict=True)
            wanted.append([opened, prices[0], max(prices), min(prices), prices[-1], math.fsum(sizes)])
        bars = found.bars
        columns = (bars.time, bars.open, bars.high, bars.low, bars.close, bars.volume)
        assert [list(row) for row in zip(*(c.tolist() for c in columns), strict=True)] == wanted
        assert (bars.interval, found.prices) == (interval, "raw")
        assert found.summary(1)["source"] == {"kind": "ticks", "interval": None}
    assert len(read("tick").bars) < len(trades)


def test_trades_of_one_time_count_by_their_ids_also_when_they_arrive_in_another_order(
    desk: Desk, read: Any
) -> None:
    for number, price in ((3, 30), (1, 10), (2, 20), (4, 5), (0, 15)):
        text = f"time,id,price\n2024-01-01T00:00:00,{number},{price}\n"
        desk.run(desk.submit(None, upload=text.encode(), kind="ticks"))
    bars = read("1m").bars
    assert (bars.open[0], bars.high[0], bars.low[0], bars.close[0]) == (15, 30, 5, 5)
    arrived = "SELECT first(price), last(price) FROM ticks WHERE symbol = %s"
    assert desk.stores.questdb.fetch(arrived, (desk.symbol,)) == [(30, 15)], (
        "so a view of trades would be wrong"
    )


def test_a_range_takes_whole_bars_by_their_open(traded: Desk, read: Any) -> None:
    start = datetime(2024, 8, 8, 23, 56, 30, tzinfo=UTC)
    whole = read("1m").bars
    some = read("1m", start, start + timedelta(minutes=3)).bars
    assert some.time.tolist() == whole.time[3:6].tolist()
    assert some.volume.tolist() == whole.volume[3:6].tolist()
    with pytest.raises(InvalidInput, match="in \\[2024-08-08T23:56:30Z"):
        read("1h", start, start + timedelta(minutes=3))


def test_stored_bars_of_the_interval_win(traded: Desk, read: Any) -> None:
    first = datetime(2024, 8, 9, tzinfo=UTC)
    store_bars(traded.stores.questdb, traded.symbol, "1m", [first, first + timedelta(minutes=1)])
    found = read("1m")
    assert (len(found.bars), found.source.as_json()) == (2, {"kind": "bars", "interval": "1m"})
    assert len(read("1m", None, first).bars) == 6, "where no bar is stored, ticks are read"
    # the ticks reach over eleven minutes, the bars over two
    assert read("5m").source.as_json() == {"kind": "ticks", "interval": None}


def test_finer_bars_are_used_and_the_coarsest_of_those_that_reach_as_far(desk: Desk, read: Any) -> None:
    first = datetime(2024, 1, 1, tzinfo=UTC)
    questdb = desk.stores.questdb
    store_bars(questdb, desk.symbol, "1h", [first + timedelta(hours=n) for n in range(24 * 45)])
    store_bars(questdb, desk.symbol, "4h", [first + timedelta(hours=4 * n) for n in range(6 * 45)])
    store_bars(questdb, desk.symbol, "1m", [first + timedelta(minutes=n) for n in range(60)])
    store_bars(questdb, desk.symbol, "1w", [first, first + timedelta(days=700)])
    found = read("1M")
    assert found.source.as_json() == {"kind": "bars", "interval": "4h"}
    bars = found.bars
    opens = [datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)]
    assert bars.time.tolist() == [int(moment.timestamp()) * 10**9 for moment in opens]
    assert (bars.open.tolist(), bars.close.tolist()) == ([99.5, 285.5], [285.0, 369.0])
    assert (bars.high.tolist(), bars.low.tolist()) == ([286.0, 370.0], [99.0, 285.0])
    assert bars.volume.tolist() == [186.0, 84.0]
    assert read("5m").source.interval == "1m"


def test_a_split_inside_a_built_bar_is_taken_out_before_it_is_built(desk: Desk, read: Any) -> None:
    days = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=n) for n in range(3)]
    close = np.array([100.0, 102.0, 51.0])
    store_bars(
        desk.stores.questdb,
        desk.symbol,
        "1d",
        days,
        open=close,
        high=close,
        low=close,
        close=close,
        adjusted_close=[50.0, 51.0, 51.0],
    )
    found = read("1w")
    assert (found.prices, found.bars.high[0], found.bars.low[0]) == ("adjusted", 51.0, 50.0)
    assert read("1w", prices="raw").bars.high[0] == 102.0


def test_what_ticks_can_t_give_is_said(traded: Desk, read: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        read("1m", prices="adjusted")
    assert caught.value.code == "no_adjusted_closes"
    for interval in ("tick", "5s"):
        with pytest.raises(InvalidInput, match="has more than 10 bars") as caught:
            read(interval, max_bars=10)
        assert caught.value.code == "too_many_bars"
    with pytest.raises(InvalidInput, match=r"ticks 2024-08-08T23:54:15.342Z to .* \(19904 trades\)"):
        read("tick", datetime(2025, 1, 1, tzinfo=UTC))
