"""What `docs/conventions.md` says of the figures of others, on real bars."""

import math
from typing import Any

import backtesting
import backtrader
import numpy as np
import pandas as pd
import pytest

from tests.engine.samples import part, sample
from tests.peers.defaults import (
    Rows,
    portfolio_on_vectorbt,
    table_of,
)

# backtesting.py 0.6.6 itself uses what pandas 3.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:DatetimeIndex.dayofweek is deprecated")


def flat_and_long(symbol: str) -> tuple[Rows, list[int], list[int]]:
    """400 real bars, and where to enter and leave."""
    bars = part(sample(symbol), 300, 700)
    columns = (bars.open, bars.high, bars.low, bars.close)
    return (
        [tuple(map(float, row)) for row in zip(*columns, strict=True)],
        [*range(20, 380, 40)],
        [*range(40, 400, 40)],
    )


def test_vectorbt_figures() -> None:
    rows, entries, exits = flat_and_long("AAPL")
    given = {"entries": entries, "exits": exits}
    portfolio = portfolio_on_vectorbt(rows, given, size=np.inf, freq="1D")
    returns = portfolio.returns().to_numpy()
    per_year = math.sqrt(365)
    assert portfolio.sharpe_ratio() == pytest.approx(returns.mean() / returns.std(ddof=1) * per_year)
    downside = math.sqrt((np.minimum(returns, 0) ** 2).mean())
    assert portfolio.sortino_ratio() == pytest.approx(returns.mean() / downside * per_year)
    pnl = portfolio.trades.records["pnl"]
    assert portfolio.trades.profit_factor() == pytest.approx(pnl[pnl > 0].sum() / -pnl[pnl < 0].sum())
    assert math.isinf(portfolio_on_vectorbt(rows, {}, size=1.0, freq="1D").sharpe_ratio())


def test_backtrader_figures() -> None:
    bars = sample("AAPL")

    class Peer(backtrader.Strategy):  # type: ignore[misc]
        params = (("units", 10),)

        def next(self) -> None:
            if not self.position and self.p.units:
                self.buy(size=self.p.units)

    rows = list(zip(bars.open, bars.high, bars.low, bars.close, strict=True))
    table = table_of(rows).set_axis(pd.to_datetime(bars.time))

    def figures(units: int) -> tuple[float | None, Any]:
        cerebro = backtrader.Cerebro(stdstats=False)
        cerebro.adddata(backtrader.feeds.PandasData(dataname=table))
        cerebro.addstrategy(Peer, units=units)
        years = backtrader.TimeFrame.Years
        cerebro.addanalyzer(backtrader.analyzers.SharpeRatio, _name="sharpe")
        cerebro.addanalyzer(backtrader.analyzers.TimeReturn, _name="years", timeframe=years)
        (peer,) = cerebro.run()
        yearly = np.array(list(peer.analyzers.years.get_analysis().values()))
        return peer.analyzers.sharpe.get_analysis()["sharperatio"], yearly

    sharpe, yearly = figures(10)
    assert len(yearly) > 10
    assert sharpe == pytest.approx((yearly - 0.01).mean() / (yearly - 0.01).std())
    assert figures(0)[0] is None


def test_backtesting_figures() -> None:
    rows, entries, exits = flat_and_long("AAPL")

    class Peer(backtesting.Strategy):  # type: ignore[misc]
        def init(self) -> None:
            self.mean = self.I(lambda: pd.Series(self.data.Close).rolling(15).mean())

        def next(self) -> None:
            i = len(self.data) - 1
            if i in entries:
                self.buy()
            if i in exits:
                self.position.close()

    stats = backtesting.Backtest(table_of(rows), Peer, cash=10_000, finalize_trades=True).run()
    growth, volatility = stats["Return (Ann.) [%]"], stats["Volatility (Ann.) [%]"]
    assert stats["Sharpe Ratio"] == pytest.approx(growth / volatility)
    returns = stats["_equity_curve"]["Equity"].pct_change().dropna()
    downside = math.sqrt((np.minimum(returns, 0) ** 2).mean()) * math.sqrt(365)
    assert stats["Sortino Ratio"] == pytest.approx(growth / 100 / downside)
    gained = stats["_trades"]["ReturnPct"]
    assert stats["Profit Factor"] == pytest.approx(gained[gained > 0].sum() / -gained[gained < 0].sum())
    held = (stats["_trades"]["ExitBar"] - stats["_trades"]["EntryBar"] + 1).sum()
    assert stats["Exposure Time [%]"] == pytest.approx(100 * held / len(rows))
    close = [row[3] for row in rows]
    assert stats["Buy & Hold Return [%]"] == pytest.approx(100 * (close[-1] / close[14] - 1))
    entries.clear()
    idle = backtesting.Backtest(table_of(rows), Peer, cash=10_000).run()
    assert math.isnan(idle["Sharpe Ratio"])
