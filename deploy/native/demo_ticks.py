"""The demo's ticks: real trades in, the last price, and backtests on them and on bars built from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Json = dict[str, Any]
SYMBOL = "BTCUSDT"
TRADES: dict[str, Any] = {
    "source": {"type": "file", "path": "sample/BTCUSDT-trades.csv.gz", "timestamp_unit": "ms"},
    "kind": "ticks",
}
INTERVALS = ("tick", "1s", "5s")


def show_ticks(submit: Callable[[str, Json], Json], get: Callable[[str], Json]) -> None:
    """Ingest eleven minutes of trades, and print what is made of them."""
    trades = submit("/ingestions", TRADES)
    results = [submit("/backtests", _backtest(interval)) for interval in INTERVALS]
    last = get(f"/api/v1/instruments/{SYMBOL}/last")
    minute = get(f"/api/v1/bars?symbol={SYMBOL}&interval=1m&limit=1")["items"][0]
    counts = [trades[f"rows_{name}"] for name in ("read", "written", "duplicate", "rejected")]
    print("\n{:<30}{:>8}{:>9}{:>11}{:>10}".format("Trades", "read", "written", "duplicate", "rejected"))
    print("{:<30}{:>8}{:>9}{:>11}{:>10}".format(TRADES["source"]["path"], *counts))
    print(f"last price of {SYMBOL}: {last['price']:,.2f} at {last['time']}, from {last['kind']}")
    prices = " ".join(f"{name} {minute[name]:,.2f}" for name in ("open", "high", "low", "close"))
    print(f"first minute: {minute['time']} {prices} volume {minute['volume']:.5f}")
    print(f"\n{'sma_cross 10/20 on ' + SYMBOL:<30}" + "".join(f"{name:>12}" for name in INTERVALS))
    rows = (
        ("bars", [f"{job['data']['rows']:,d}" for job in results]),
        ("built from", [job["data"]["source"]["kind"] for job in results]),
        ("trades", [f"{job['metrics']['trades']:,d}" for job in results]),
        ("total_return", [f"{job['metrics']['total_return']:+.3%}" for job in results]),
    )
    for name, values in rows:
        print(f"{name:<30}" + "".join(f"{value:>12}" for value in values))


def _backtest(interval: str) -> Json:
    return {
        "strategy": {"name": "sma_cross", "params": {"fast": 10, "slow": 20}},
        "symbols": [SYMBOL],
        "interval": interval,
        "cash": 10_000,
        "tags": ["demo"],
    }
