"""The long series of a backtest in QuestDB: its trades and its equity, written once and read by page.

Rows carry the job's id and the attempt that made them, and all have one timestamp, the moment of recording.
The job's row names both, so a read touches nothing else and what another attempt wrote is never seen.
A trade is a row; the equity is a row for every 1,024 bars, whose columns are arrays: less to write and to
keep than a row for each bar, and bars may share a time.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count, pairwise
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cift_core.clock import NS_PER_S, rfc3339
from cift_core.engine import EXIT_REASONS, SIDES, Result
from cift_core.errors import Gone
from cift_core.models import Backtest
from cift_core.services.paging import decode_cursor, encode_cursor
from cift_core.stores.questdb import QuestDBPool, Row
from cift_core.stores.questdb_batches import Records, Rows

TRADE_COLUMNS = (
    "symbol",
    "side",
    "size",
    "entry_time_ns",
    "entry_price",
    "exit_time_ns",
    "exit_price",
    "pnl",
    "return",
    "fees",
    "bars_held",
    "exit_reason",
)
EQUITY_COLUMNS = ("equity", "cash", "position_value", "drawdown")
# A float64 can't hold nanoseconds since 1970, so a time is two of them.
TIME_COLUMNS = ("time_s", "time_subsecond_ns")
CHUNK_BARS = 1_024
PAGE_CHUNKS = 64


@dataclass(frozen=True)
class _Series:
    """One of a backtest's series: its table, its columns with the key of its order first, what it holds."""

    name: str
    table: str
    columns: tuple[str, ...]
    must_have_rows: Callable[[Backtest], bool]


TRADES = _Series(
    "list of trades",
    "backtest_trades",
    ("seq", *TRADE_COLUMNS),
    lambda backtest: bool((backtest.metrics or {}).get("trades")),
)
EQUITY = _Series(
    "equity curve",
    "backtest_equity_chunks",
    ("first_bar", *TIME_COLUMNS, *EQUITY_COLUMNS),
    lambda _: True,
)


def write_series(
    questdb: QuestDBPool,
    job_id: UUID,
    attempt: int,
    recorded_at: datetime,
    symbols: Sequence[str],
    result: Result,
) -> None:
    """Write the trades and the equity of a result over these symbols: acknowledged, and readable after
    `wait_readable`.

    Raises:
        StoreUnavailable: QuestDB does not answer.
    """
    key = {"job_id": str(job_id), "attempt": attempt}
    trades = Rows(
        TRADES.table,
        _trade_frame(symbols, result, key),
        at=recorded_at,
        symbols=("symbol", "side", "exit_reason"),
    )
    questdb.write(trades, Records(EQUITY.table, list(_chunks(result, key)), recorded_at))


def wait_readable(questdb: QuestDBPool) -> None:
    """Return when the series that were written before can be read.

    Raises:
        StoreUnavailable: QuestDB does not answer, or a table is suspended.
    """
    questdb.wait_visible(TRADES.table, EQUITY.table)


def _trade_frame(symbols: Sequence[str], result: Result, key: dict[str, Any]) -> pd.DataFrame:
    trades = result.trades
    return pd.DataFrame(
        {
            "seq": np.arange(len(trades)),
            "symbol": np.array(symbols, dtype=object)[trades["symbol"]],
            "side": np.array(SIDES, dtype=object)[trades["side"]],
            "size": trades["size"],
            "entry_time_ns": trades["entry_time"],
            "entry_price": trades["entry_price"],
            "exit_time_ns": trades["exit_time"],
            "exit_price": trades["exit_price"],
            "pnl": trades["pnl"],
            "return": trades["return"],
            "fees": trades["fees"],
            "bars_held": trades["bars_held"],
            "exit_reason": np.array(EXIT_REASONS, dtype=object)[trades["exit_reason"]],
            **key,
        }
    )


def _chunks(result: Result, key: dict[str, Any]) -> Iterator[dict[str, Any]]:
    seconds, subsecond_ns = np.divmod(result.time, NS_PER_S)
    columns = {"time_s": seconds.astype(np.float64), "time_subsecond_ns": subsecond_ns.astype(np.float64)}
    columns |= {name: getattr(result, name) for name in EQUITY_COLUMNS}
    for first in range(0, len(result.time), CHUNK_BARS):
        chunk = {name: column[first : first + CHUNK_BARS] for name, column in columns.items()}
        yield {**key, "first_bar": first, **chunk}


def read_trades(
    questdb: QuestDBPool, backtest: Backtest, cursor: str | None, limit: int
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of the trades in exit order, and the cursor of the next page or None; none without a result.

    Raises:
        InvalidInput: the cursor is none of this list.
        Gone: they are not kept any longer.
        StoreUnavailable: QuestDB does not answer.
    """
    after = -1 if cursor is None else decode_cursor(cursor, int)[0]
    rows = _fetch(questdb, backtest, TRADES, after, limit + 1)
    items = [_trade(row[1:]) for row in rows[:limit]]
    return items, encode_cursor(rows[limit - 1][0]) if len(rows) > limit else None


def read_equity(
    questdb: QuestDBPool, backtest: Backtest, cursor: str | None, limit: int
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of the equity, one item per bar, and the cursor of the next page or None; none without a result.

    Raises:
        InvalidInput: the cursor is none of this list.
        Gone: they are not kept any longer.
        StoreUnavailable: QuestDB does not answer.
    """
    begin = 0 if cursor is None else max(0, decode_cursor(cursor, int)[0])
    skipped = begin % CHUNK_BARS
    chunks = -(-(skipped + limit + 1) // CHUNK_BARS)
    bars = _read_bars(questdb, backtest, begin - skipped, chunks)[skipped:]
    items = [_equity(bar) for bar in bars[:limit]]
    return items, encode_cursor(begin + limit) if len(bars) > limit else None


def read_thinned_equity(questdb: QuestDBPool, backtest: Backtest, max_points: int) -> list[dict[str, Any]]:
    """The equity in at most `max_points` items for a plot: the first and last bar, and between them the
    lowest and highest of each of equally long stretches.

    Raises:
        Gone: it is not kept any longer.
        StoreUnavailable: QuestDB does not answer.
    """
    pages = []
    for first_bar in count(0, PAGE_CHUNKS * CHUNK_BARS):
        pages.append(_read_bars(questdb, backtest, first_bar, PAGE_CHUNKS))
        if len(pages[-1]) < PAGE_CHUNKS * CHUNK_BARS:
            break
    bars = np.concatenate(pages)
    equity = bars[:, len(TIME_COLUMNS)]
    return [_equity(bars[i]) for i in _thinned(equity, max_points)]


def _thinned(equity: NDArray[np.float64], max_points: int) -> list[int]:
    n = len(equity)
    if n <= max_points:
        return list(range(n))
    stretches = (max_points - 2) // 2
    if stretches < 1:
        return [0, n - 1][:max_points]
    kept = {0, n - 1}
    for begin, end in pairwise(np.linspace(1, n - 1, stretches + 1).astype(int).tolist()):
        kept |= {begin + int(np.argmin(equity[begin:end])), begin + int(np.argmax(equity[begin:end]))}
    return sorted(kept)


def _read_bars(questdb: QuestDBPool, backtest: Backtest, first_bar: int, chunks: int) -> NDArray[np.float64]:
    """float64[n, 6], `TIME_COLUMNS` and `EQUITY_COLUMNS`: the bars of so many chunks from `first_bar` on."""
    rows = _fetch(questdb, backtest, EQUITY, first_bar - 1, chunks)
    parts = [np.array(row[1:], dtype=np.float64) for row in rows]
    return np.concatenate(parts, axis=1).T if parts else np.empty((0, len(EQUITY.columns) - 1))


def _fetch(questdb: QuestDBPool, backtest: Backtest, series: _Series, after: int, limit: int) -> list[Row]:
    if backtest.recorded_at is None:
        return []
    moment = backtest.recorded_at.astimezone(UTC).replace(tzinfo=None)
    result = (moment, str(backtest.id), backtest.result_attempt)
    rows = _rows(questdb, result, series, after, limit)
    if not rows and series.must_have_rows(backtest) and not _rows(questdb, result, series, -1, 1):
        raise Gone(
            "series_not_kept",
            f"The {series.name} of this backtest, recorded on {moment:%Y-%m-%d}, is not kept any longer; "
            "its metrics are. Submit the backtest again to have it anew.",
        )
    return rows


def _rows(
    questdb: QuestDBPool, result: tuple[Any, ...], series: _Series, after: int, limit: int
) -> list[Row]:
    selected = ", ".join(f'"{name}"' for name in series.columns)
    key = series.columns[0]
    sql = (
        f"SELECT {selected} FROM {series.table}"  # noqa: S608  ours
        f' WHERE recorded_at = %s AND job_id = %s AND attempt = %s AND "{key}" > %s'
        f' ORDER BY "{key}" LIMIT {limit:d}'
    )
    return questdb.fetch(sql, (*result, after))


def _trade(row: Row) -> dict[str, Any]:
    trade = dict(zip(TRADE_COLUMNS, row, strict=True))
    for name in ("entry_time", "exit_time"):
        trade[name] = rfc3339(trade.pop(f"{name}_ns"))
    return trade


def _equity(bar: NDArray[np.float64]) -> dict[str, Any]:
    seconds, subsecond_ns, *values = bar.tolist()
    time_ns = int(seconds) * NS_PER_S + int(subsecond_ns)
    return {"time": rfc3339(time_ns), **dict(zip(EQUITY_COLUMNS, values, strict=True))}
