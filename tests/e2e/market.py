"""The sample files as the engine takes them, read here by other code than the service's."""

import csv
import gzip
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np

from cift_core.clock import rfc3339, to_ns
from cift_core.engine import EXIT_REASONS, SIDES, Bars, Result
from deploy.native.environment import CHECKOUT

SAMPLE = CHECKOUT / "data" / "sample"


@cache
def rows(name: str) -> tuple[dict[str, str], ...]:
    """The records of a file in data/sample, by lower-case column name."""
    path = SAMPLE / name
    text = gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()
    table = csv.DictReader(text.decode().splitlines())
    return tuple({key.lower(): value for key, value in row.items()} for row in table)


def bars(name: str, interval: str, start: str = "", end: str = "9") -> Bars:
    """The raw bars of a file in [start, end), which are ISO dates."""
    taken = [row for row in rows(name) if start <= _label(row) < end]
    columns: dict[str, Any] = {
        column: np.array([float(row[column]) for row in taken]) for column in ("open", "high", "low", "close")
    }
    volume = [float(row.get("volume", "nan")) for row in taken]
    time = [to_ns(datetime.fromisoformat(_label(row)).replace(tzinfo=UTC)) for row in taken]
    return Bars(time=np.array(time), volume=np.array(volume), interval=interval, **columns)


def adjusted_bars(name: str) -> Bars:
    """All daily bars of a file, adjusted."""
    closes = np.array([float(row["adj close"]) for row in rows(name)])
    return bars(name, "1d").adjusted(closes)


def trade_items(symbols: Sequence[str], result: Result) -> list[dict[str, Any]]:
    """What GET /backtests/{id}/trades must answer for a result."""
    return [
        {
            "symbol": symbols[trade["symbol"]],
            "side": SIDES[trade["side"]],
            "size": float(trade["size"]),
            "entry_time": rfc3339(int(trade["entry_time"])),
            "entry_price": float(trade["entry_price"]),
            "exit_time": rfc3339(int(trade["exit_time"])),
            "exit_price": float(trade["exit_price"]),
            "pnl": float(trade["pnl"]),
            "return": float(trade["return"]),
            "fees": float(trade["fees"]),
            "bars_held": int(trade["bars_held"]),
            "exit_reason": EXIT_REASONS[trade["exit_reason"]],
        }
        for trade in result.trades
    ]


def equity_items(result: Result) -> list[dict[str, Any]]:
    """What GET /backtests/{id}/equity must answer for a result."""
    columns = (result.equity, result.cash, result.position_value, result.drawdown)
    table = zip(result.time.tolist(), *(column.tolist() for column in columns), strict=True)
    return [
        {
            "time": rfc3339(time),
            "equity": equity,
            "cash": cash,
            "position_value": position,
            "drawdown": drawdown,
        }
        for time, equity, cash, position, drawdown in table
    ]


def _label(row: dict[str, str]) -> str:
    return row["date"] if "date" in row else row["timestamp"]
