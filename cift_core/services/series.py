"""The long series of a backtest in QuestDB: its trades and its equity, written once and read by page.

Rows carry the job's id and the attempt that made them, and all have one timestamp, the moment of recording.
The job's row names both, so a read touches nothing else and what another attempt wrote is never seen.
"""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cift_core.clock import rfc3339
from cift_core.engine import EXIT_REASONS, SIDES, Result
from cift_core.models import Backtest
from cift_core.services.paging import decode_cursor, encode_cursor
from cift_core.stores.questdb import QuestDBPool, Row, Rows

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
EQUITY_COLUMNS = ("time_ns", "equity", "cash", "position_value", "drawdown")


def write_series(
    questdb: QuestDBPool,
    job_id: UUID,
    attempt: int,
    recorded_at: datetime,
    symbol: str,
    time_ns: NDArray[np.int64],
    result: Result,
) -> None:
    """Write the trades and the equity of a result, and return when they can be read.

    Raises:
        StoreUnavailable: QuestDB does not answer, or a table is suspended.
    """
    head = {"job_id": str(job_id), "attempt": attempt}
    trades = result.trades
    trade_rows = pd.DataFrame(
        {
            "seq": np.arange(len(trades)),
            "symbol": symbol,
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
            **head,
        }
    )
    equity_rows = pd.DataFrame(
        {
            "time_ns": time_ns,
            "equity": result.equity,
            "cash": result.cash,
            "position_value": result.position_value,
            "drawdown": result.drawdown,
            **head,
        }
    )
    questdb.write(
        Rows("backtest_trades", trade_rows, at=recorded_at, symbols=("symbol", "side", "exit_reason")),
        Rows("backtest_equity", equity_rows, at=recorded_at),
    )
    questdb.wait_visible("backtest_trades", "backtest_equity")


def read_trades(
    questdb: QuestDBPool, backtest: Backtest, cursor: str | None, limit: int
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of the trades in exit order, and the cursor of the next page or None; none without a result.

    Raises:
        InvalidInput: the cursor is none of this list.
        StoreUnavailable: QuestDB does not answer.
    """
    after = -1 if cursor is None else decode_cursor(cursor, int)[0]
    rows = _fetch(questdb, backtest, "backtest_trades", ("seq", *TRADE_COLUMNS), after, limit + 1)
    items = [_trade(row[1:]) for row in rows[:limit]]
    return items, encode_cursor(rows[limit - 1][0]) if len(rows) > limit else None


def read_equity(
    questdb: QuestDBPool, backtest: Backtest, cursor: str | None, limit: int
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of the equity, one item per bar, and the cursor of the next page or None; none without a result.

    Raises:
        InvalidInput: the cursor is none of this list.
        StoreUnavailable: QuestDB does not answer.
    """
    after = -(2**62) if cursor is None else decode_cursor(cursor, int)[0]
    rows = _fetch(questdb, backtest, "backtest_equity", EQUITY_COLUMNS, after, limit + 1)
    items = [_equity(row) for row in rows[:limit]]
    return items, encode_cursor(rows[limit - 1][0]) if len(rows) > limit else None


def read_thinned_equity(questdb: QuestDBPool, backtest: Backtest, max_points: int) -> list[dict[str, Any]]:
    """The equity in at most `max_points` items for a plot: the first and last bar, and between them the
    lowest and highest of each of equally long stretches.

    Raises:
        StoreUnavailable: QuestDB does not answer.
    """
    rows = _fetch(questdb, backtest, "backtest_equity", EQUITY_COLUMNS, -(2**62), None)
    equity = np.array([row[1] for row in rows], dtype=np.float64)
    return [_equity(rows[i]) for i in _thinned(equity, max_points)]


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


def _fetch(
    questdb: QuestDBPool,
    backtest: Backtest,
    table: str,
    columns: tuple[str, ...],
    after: int,
    limit: int | None,
) -> list[Row]:
    if backtest.recorded_at is None or backtest.result_attempt is None:
        return []
    selected = ", ".join(f'"{name}"' for name in columns)
    sql = (
        f"SELECT {selected} FROM {table} WHERE recorded_at = %s AND job_id = %s AND attempt = %s"  # noqa: S608  ours
        f' AND "{columns[0]}" > %s ORDER BY "{columns[0]}"'
    )
    moment = backtest.recorded_at.astimezone(UTC).replace(tzinfo=None)
    return questdb.fetch(
        sql if limit is None else f"{sql} LIMIT {limit:d}",
        (moment, str(backtest.id), backtest.result_attempt, after),
    )


def _trade(row: Row) -> dict[str, Any]:
    trade = dict(zip(TRADE_COLUMNS, row, strict=True))
    for name in ("entry_time", "exit_time"):
        trade[name] = rfc3339(trade.pop(f"{name}_ns"))
    return trade


def _equity(row: Row) -> dict[str, Any]:
    time_ns, equity, cash, position_value, drawdown = row
    return {
        "time": rfc3339(time_ns),
        "equity": equity,
        "cash": cash,
        "position_value": position_value,
        "drawdown": drawdown,
    }
