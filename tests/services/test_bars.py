"""Stored bars as a backtest reads them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest

from cift_core.clock import to_ns
from cift_core.errors import InvalidInput
from cift_core.services import bars as bars_module
from cift_core.services import market_reads
from cift_core.services.bars import BarsRead, Prices, read_bars
from cift_core.stores import Stores
from cift_core.stores.questdb import QuestDBPool
from cift_core.stores.questdb_batches import Rows

US = timedelta(microseconds=1)
DAY = timedelta(days=1)
FIRST = datetime(2024, 1, 1, tzinfo=UTC)
Store = Callable[..., str]


@pytest.fixture
def questdb(stores: Stores) -> QuestDBPool:
    return stores.questdb


@pytest.fixture
def store(questdb: QuestDBPool) -> Store:
    """Stores n daily bars from 2024 on under a symbol of the test's own, and returns the symbol."""

    def store(
        n: int = 10,
        *,
        symbol: str | None = None,
        interval: str = "1d",
        first: datetime = FIRST,
        step: timedelta = DAY,
        **columns: object,
    ) -> str:
        symbol = symbol or f"T{uuid4().hex[:12]}"
        close = 100.0 + np.arange(n)
        rows = pd.DataFrame(
            {
                "timestamp": [first + i * step for i in range(n)],
                "symbol": symbol,
                "interval": interval,
                "open": close - 0.5,
                "high": close + 1,
                "low": close - 1,
                "close": close,
                "volume": 1_000.0 + np.arange(n),
                "adjusted_close": close / 2,
            }
            | columns
        )
        questdb.write(Rows("bars", rows, at="timestamp", symbols=("symbol", "interval")))
        questdb.wait_visible("bars")
        return symbol

    return store


@pytest.fixture
def read(questdb: QuestDBPool) -> Callable[..., BarsRead]:
    def read(
        symbol: str,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        interval: str = "1d",
        prices: Prices | None = None,
        max_bars: int = 1_000,
    ) -> BarsRead:
        return read_bars(questdb, symbol, interval, start, end, prices, max_bars=max_bars)

    return read


Read = Callable[..., BarsRead]


def days(found: BarsRead) -> list[int]:
    """Which of the stored days were read, counted from 0."""
    return [int(t) for t in (found.bars.time - to_ns(FIRST)) // to_ns(datetime(1970, 1, 2, tzinfo=UTC))]


def refused(read: Read, *args: object, **kwargs: object) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        read(*args, **kwargs)
    return caught.value


def test_without_a_range_all_bars_are_read_as_they_were_stored(store: Store, read: Read) -> None:
    symbol = store(10)
    bars = read(symbol, prices="raw").bars
    close = 100.0 + np.arange(10)
    assert bars.time.tolist() == [to_ns(FIRST + i * DAY) for i in range(10)]
    for column, expected in (
        (bars.open, close - 0.5),
        (bars.high, close + 1),
        (bars.low, close - 1),
        (bars.close, close),
        (bars.volume, 1_000.0 + np.arange(10)),
    ):
        assert column is not None
        assert column.tolist() == expected.tolist()
    assert bars.interval == "1d"


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (FIRST, FIRST + 3 * DAY, [0, 1, 2]),
        (FIRST + US, FIRST + 3 * DAY + US, [1, 2, 3]),
        (FIRST + DAY - US, FIRST + 2 * DAY - US, [1]),
        (FIRST + 8 * DAY, None, [8, 9]),
        (None, FIRST + US, [0]),
        (datetime(1900, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC), list(range(10))),
    ],
)
def test_start_is_inclusive_and_end_exclusive_to_the_microsecond(
    store: Store, read: Read, start: datetime | None, end: datetime | None, expected: list[int]
) -> None:
    assert days(read(store(10), start, end)) == expected


def test_a_moment_is_the_same_in_every_zone(store: Store, read: Read) -> None:
    symbol, there = store(10), timezone(timedelta(hours=5))
    found = read(symbol, (FIRST + 2 * DAY).astimezone(there), (FIRST + 4 * DAY).astimezone(there))
    assert days(found) == [2, 3]


def test_a_time_without_a_zone_is_refused(store: Store, read: Read) -> None:
    symbol, naive = store(1), FIRST.replace(tzinfo=None)
    with pytest.raises(ValueError, match="time zone"):
        read(symbol, naive)
    with pytest.raises((ValueError, TypeError)):
        read(symbol, None, naive)


def test_prices_are_adjusted_where_that_is_possible(store: Store, read: Read) -> None:
    symbol = store(4)
    for found in (read(symbol), read(symbol, prices="adjusted")):
        assert found.prices == "adjusted"
        close = 100.0 + np.arange(4)
        assert found.bars.close.tolist() == (close * 0.5).tolist()
        assert found.bars.open.tolist() == ((close - 0.5) * 0.5).tolist()
        assert found.bars.volume is not None
        assert found.bars.volume.tolist() == [1_000.0, 1_001.0, 1_002.0, 1_003.0]
    raw = read(symbol, prices="raw")
    assert (raw.prices, raw.bars.close[0]) == ("raw", 100.0)


def test_prices_are_raw_where_adjusted_closes_are_missing(store: Store, read: Read) -> None:
    symbol = store(3, adjusted_close=[50.0, np.nan, 51.0])
    found = read(symbol)
    assert (found.prices, found.bars.close[0]) == ("raw", 100.0)
    error = refused(read, symbol, prices="adjusted")
    assert error.code == "no_adjusted_closes"
    assert "1 of 3" in error.message
    assert read(symbol, FIRST, FIRST + DAY).prices == "adjusted", "what is missing lies outside the range"


def test_a_missing_volume_is_nan(store: Store, read: Read) -> None:
    volume = read(store(2, volume=[np.nan, 5.0])).bars.volume
    assert volume is not None
    assert np.isnan(volume[0])
    assert volume[1] == 5.0


def test_numbers_keep_every_bit(store: Store, read: Read) -> None:
    close = [0.1 + 0.2, 1e-8, 123_456_789.123_456_78]
    columns = dict.fromkeys(("open", "high", "low", "close"), close)
    volume = [2.0**53 - 1, 1e300, 5e-324]
    bars = read(store(3, volume=volume, adjusted_close=np.nan, **columns)).bars
    assert bars.close.tolist() == close
    assert bars.volume is not None
    assert bars.volume.tolist() == volume


def test_neither_another_symbol_nor_another_interval_is_read(store: Store, read: Read) -> None:
    symbol = store(3)
    store(5, symbol=symbol, interval="1h")
    store(7, symbol=symbol + "X")
    assert len(read(symbol).bars) == 3
    assert len(read(symbol, interval="1h").bars) == 5


def test_bars_of_the_first_and_of_no_representable_moment(store: Store, read: Read) -> None:
    assert read(store(1, first=datetime(1970, 1, 1, tzinfo=UTC))).bars.time.tolist() == [0]
    last = datetime(2255, 6, 4, 23, 59, 59, 999_999, tzinfo=UTC)
    symbol = store(2, first=last, step=US)
    assert read(symbol, None, datetime(9999, 1, 1, tzinfo=UTC)).bars.time.tolist() == [to_ns(last)]


def test_many_bars_are_read_in_pages(store: Store, read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    symbol = store(50, step=US)
    whole = read(symbol).bars
    for page_rows in (1, 7, 25, 50, 51):
        monkeypatch.setattr(bars_module, "PAGE_ROWS", page_rows)
        assert read(symbol).bars.sha256() == whole.sha256()
        assert len(read(symbol, max_bars=50).bars) == 50
        assert refused(read, symbol, max_bars=49).code == "too_many_bars"


def test_many_bars_are_the_same_as_an_export(
    store: Store, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = np.where(np.arange(50) % 7, 0.1 + 0.2 * np.arange(50), np.nan)
    symbol = store(50, volume=volume)
    whole = read(symbol)
    exported: list[tuple[object, ...]] = []
    export = QuestDBPool.export

    def spied(pool: QuestDBPool, sql: str, params: tuple[object, ...]) -> object:
        exported.append(params)
        return export(pool, sql, params)

    monkeypatch.setattr(QuestDBPool, "export", spied)
    monkeypatch.setattr(market_reads, "FEW_ROWS", 10)
    assert read(symbol).summary(1) == whole.summary(1)
    assert len(exported) == 1
    for page_rows in (11, 25, 50, 51):
        monkeypatch.setattr(bars_module, "PAGE_ROWS", page_rows)
        assert read(symbol).bars.sha256() == whole.bars.sha256()
        assert refused(read, symbol, max_bars=49).code == "too_many_bars"
    few = len(exported)
    assert days(read(symbol, FIRST + 3 * DAY, FIRST + 9 * DAY)) == [3, 4, 5, 6, 7, 8]
    assert len(exported) == few


def test_more_bars_than_allowed_are_refused(store: Store, read: Read) -> None:
    symbol = store(5)
    assert len(read(symbol, max_bars=5).bars) == 5
    error = refused(read, symbol, max_bars=4)
    assert error.code == "too_many_bars"
    assert "4" in error.message
    assert len(read(symbol, None, FIRST + 4 * DAY, max_bars=4).bars) == 4


def test_what_there_is_instead_is_named(store: Store, read: Read) -> None:
    symbol = store(3)
    store(2, symbol=symbol, interval="1h", step=timedelta(hours=1))
    error = refused(read, symbol, interval="5m")
    assert error.code == "no_bars"
    assert error.message == (
        f"no bars for {symbol} 5m; available: "
        f"{symbol} 1d 2024-01-01T00:00:00Z to 2024-01-03T00:00:00Z (3 bars); "
        f"{symbol} 1h 2024-01-01T00:00:00Z to 2024-01-01T01:00:00Z (2 bars)."
    )


@pytest.mark.parametrize(
    ("start", "end", "shown"),
    [
        (FIRST + 10 * DAY, None, "[2024-01-11T00:00:00Z, …)"),
        (None, FIRST, "[…, 2024-01-01T00:00:00Z)"),
        (FIRST + DAY, FIRST + DAY, "[2024-01-02T00:00:00Z, 2024-01-02T00:00:00Z)"),
        (FIRST + 2 * DAY, FIRST, "[2024-01-03T00:00:00Z, 2024-01-01T00:00:00Z)"),
    ],
)
def test_an_empty_range_is_named(
    store: Store, read: Read, start: datetime | None, end: datetime | None, shown: str
) -> None:
    symbol = store(3)
    message = refused(read, symbol, start, end).message
    assert f"{symbol} 1d in {shown}" in message
    assert "(3 bars)" in message


def test_an_unknown_symbol_names_its_near_neighbour_and_some_of_what_there_is(
    store: Store, read: Read
) -> None:
    symbol = store(1)
    message = refused(read, symbol[:-1]).message
    assert f'(did you mean "{symbol}"?)' in message
    assert "available symbols: " in message


@pytest.mark.parametrize("tail", ["'; DROP TABLE bars; --", "%s", " OR 1=1", "/B.x_-", "日本"])
def test_a_symbol_is_a_value_and_never_a_part_of_the_query(store: Store, read: Read, tail: str) -> None:
    symbol = f"T{uuid4().hex[:8]}{tail}"
    assert symbol in refused(read, symbol).message
    store(2, symbol=symbol)
    assert len(read(symbol).bars) == 2
    assert refused(read, symbol, interval="1d' OR '1'='1").code == "no_bars"


def test_the_summary_says_exactly_what_was_read(store: Store, read: Read) -> None:
    found = read(store(3, first=FIRST + US))
    assert found.summary(7) == {
        "rows": 3,
        "first": "2024-01-01T00:00:00.000001Z",
        "last": "2024-01-03T00:00:00.000001Z",
        "prices": "adjusted",
        "source": {"kind": "bars", "interval": "1d"},
        "version": 7,
        "sha256": found.bars.sha256(),
    }
