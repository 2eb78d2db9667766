"""What comes back over HTTP is what the engine says on the file's bars, to the last bit."""

import hashlib
from typing import Any

import pytest

from cift_core.engine import Bars, Execution, Result, run_backtest, run_portfolio
from cift_core.strategies import STRATEGIES
from tests.e2e import market
from tests.e2e.client import Client

SHORTS_AND_STOPS = {
    "commission_rate": 0.001,
    "slippage_rate": 0.0002,
    "allow_short": True,
    "stop_loss": 0.04,
    "take_profit": 0.1,
}
pytestmark = pytest.mark.usefixtures("imported")


def assert_equals_engine(
    client: Client,
    job_id: str,
    bars: Bars,
    symbol: str,
    strategy: str,
    execution: dict[str, Any],
    prices: str,
) -> Result:
    """The finished backtest has the engine's metrics, trades, equity and digests for these bars."""
    job = client.succeeded(job_id)
    params = job["request"]["strategy"]["params"]
    result = run_backtest(bars, STRATEGIES[strategy], params, Execution.from_mapping(execution), cash=10_000)
    assert job["metrics"] == result.metrics
    assert job["result_digest"] == result.sha256()
    times = market.equity_items(result)
    quality = job["data"].pop("quality")  # beat checks when it comes to it
    assert sum(quality["days"].values()) + quality["unchecked_days"] >= 1
    assert job["data"] == {
        "rows": len(bars),
        "first": times[0]["time"],
        "last": times[-1]["time"],
        "prices": prices,
        "sha256": bars.sha256(),
        "source": {"kind": "bars", "interval": job["request"]["interval"]},
        "version": 1,
    }
    assert client.items(f"/backtests/{job_id}/trades") == market.trade_items([symbol], result)
    assert client.items(f"/backtests/{job_id}/equity") == times
    return result


@pytest.mark.parametrize("strategy", sorted(name for name, one in STRATEGIES.items() if one.compute))
def test_every_strategy_on_adjusted_daily_bars(alice: Client, strategy: str) -> None:
    execution = SHORTS_AND_STOPS | {"trailing_stop": 0.06}
    job_id = alice.submit(strategy={"name": strategy}, execution=execution, prices="adjusted")
    bars = market.adjusted_bars("AAPL-1d.csv")
    result = assert_equals_engine(alice, job_id, bars, "AAPL", strategy, execution, "adjusted")
    assert len(result.trades) > (0 if strategy == "buy_and_hold" else 50)


@pytest.mark.parametrize(
    ("strategy", "params", "execution"),
    [
        ("sma_cross", {"fast": 10, "slow": 20}, SHORTS_AND_STOPS | {"close_at_end": False}),
        ("momentum_rotation", {"lookback": 63, "top": 1, "every": 21}, {"commission_rate": 0.001}),
    ],
)
def test_several_symbols_on_one_account(
    alice: Client, strategy: str, params: dict[str, int], execution: dict[str, Any]
) -> None:
    symbols = ["SPY", "AAPL"]
    asked = {"strategy": {"name": strategy, "params": params}, "symbols": symbols, "execution": execution}
    job_id = alice.submit(**asked, prices="raw", start="2011-01-01T00:00:00Z", end="2014-01-01T00:00:00Z")
    job = alice.succeeded(job_id)
    bars = {symbol: market.bars(f"{symbol}-1d.csv", "1d", "2011-01-01", "2014-01-01") for symbol in symbols}
    strategy_, filled = STRATEGIES[strategy], Execution.from_mapping(execution)
    result = run_portfolio(bars, strategy_, params, filled, cash=10_000)
    assert {trade["symbol"] for trade in result.trades} == {0, 1}
    assert job["metrics"] == result.metrics
    assert job["result_digest"] == result.sha256()
    assert alice.items(f"/backtests/{job_id}/trades") == market.trade_items(symbols, result)
    assert alice.items(f"/backtests/{job_id}/equity") == market.equity_items(result)
    size = None if strategy_.weigh else {"type": "equity_fraction", "value": 0.5}
    assert job["request"]["execution"]["size"] == size
    lines = "".join(f"{symbol} {bars[symbol].sha256()}\n" for symbol in symbols)
    assert job["data"]["sha256"] == hashlib.sha256(lines.encode()).hexdigest()
    assert job["data"]["rows"] == sum(map(len, bars.values()))
    assert job["data"]["symbols"]["AAPL"]["sha256"] == bars["AAPL"].sha256()


def test_rules_give_the_result_of_the_built_in_they_spell_out(alice: Client) -> None:
    up, down = "crosses_above(fast, slow)", "crosses_below(fast, slow)"
    rules = {
        "indicators": {"fast": "sma(close, $fast)", "slow": "sma(close, $slow)"},
        "long": {"entry": up, "exit": down},
        "short": {"entry": down, "exit": up},
    }
    params = {"fast": 10, "slow": 20}
    jobs = [
        alice.succeeded(alice.submit(strategy=strategy, execution=SHORTS_AND_STOPS))
        for strategy in ({"rules": rules, "params": params}, {"name": "sma_cross", "params": params})
    ]
    assert jobs[0]["metrics"]["trades"] > 50
    assert jobs[0]["result_digest"] == jobs[1]["result_digest"]
    assert jobs[0]["request"]["strategy"] == {"rules": rules, "params": params}


def test_shorts_and_stops_on_raw_hourly_bars_of_a_range(alice: Client) -> None:
    execution = SHORTS_AND_STOPS | {"stop_loss": 0.004, "take_profit": 0.01}
    job_id = alice.submit(
        symbols=["XAUUSD"],
        interval="1h",
        start="2008-01-01T00:00:00Z",
        end="2009-01-01T00:00:00Z",
        execution=execution,
        prices="raw",
    )
    bars = market.bars("XAUUSD-1h.csv.gz", "1h", "2008-01-01T00:00:00", "2009-01-01T00:00:00")
    result = assert_equals_engine(alice, job_id, bars, "XAUUSD", "sma_cross", execution, "raw")
    reasons = {trade["exit_reason"] for trade in market.trade_items(["XAUUSD"], result)}
    assert {"stop_loss", "take_profit", "signal"} <= reasons
    assert {trade["side"] for trade in market.trade_items(["XAUUSD"], result)} == {"long", "short"}


def test_all_76499_hourly_bars(alice: Client) -> None:
    job_id = alice.submit(symbols=["XAUUSD"], interval="1h")
    job = alice.succeeded(job_id)
    bars = market.bars("XAUUSD-1h.csv.gz", "1h")
    result = run_backtest(bars, STRATEGIES["sma_cross"], {"fast": 10, "slow": 20}, cash=10_000)
    assert job["data"]["rows"] == len(bars) == 76_499
    assert (job["data"]["prices"], job["data"]["sha256"]) == ("raw", bars.sha256())
    assert job["metrics"] == result.metrics
    assert job["result_digest"] == result.sha256()
    thinned = alice.get(f"/backtests/{job_id}/equity", max_points=10_000)["items"]
    whole = {item["time"]: item for item in market.equity_items(result)}
    assert len(thinned) > 9_000
    assert all(item == whole[item["time"]] for item in thinned)


def test_the_same_request_gives_the_same_result_again(alice: Client) -> None:
    first, second = (alice.succeeded(alice.submit()) for _ in range(2))
    assert first["id"] != second["id"]
    assert [first[name] for name in ("metrics", "data", "result_digest")] == [
        second[name] for name in ("metrics", "data", "result_digest")
    ]
