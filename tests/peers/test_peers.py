"""A sample of the cases of `python -m tests.peers`, and that the comparison sees what it should."""

from typing import Any

import pytest

from tests.peers import on_backtrader, on_vectorbt
from tests.peers.cases import Case, compare, grid, ours, put_to, sampled

PEERS: dict[str, Any] = {"vectorbt": on_vectorbt, "backtrader": on_backtrader}
FIELDS = ("symbol", "strategy", "allow_short", "fractional", "levels", "all_in", "stop_base")


@pytest.mark.parametrize("name", PEERS)
def test_trade_by_trade_and_bar_by_bar(name: str) -> None:
    peer, every = PEERS[name], list(grid())
    cases = sampled([case for case in every if peer.can(case)], peer.SAMPLE)
    for field in FIELDS:
        assert {getattr(case, field) for case in cases} == {getattr(case, field) for case in every}
    tally = put_to(peer, cases)
    assert tally.faults == []
    assert tally.trades > 10 * len(cases)
    assert len(tally.departures) == len(peer.DEPARTURES)


def test_a_comparison_sees_each_figure() -> None:
    one, _ = ours(Case("AAPL", 300, 500, "random", allow_short=True, fractional=True))
    other, _ = ours(Case("AAPL", 300, 500, "random", allow_short=True, fractional=True))
    assert compare(one, other) == []
    other.trades[3] = other.trades[3]._replace(exit_price=other.trades[3].exit_price * (1 + 1e-11), pnl=1.0)
    other.equity[7] += 0.001
    faults = compare(one, other)
    assert [fault.split(":")[-1].split()[0] for fault in faults] == ["exit_price", "pnl", "equity"]
    other.trades.pop()
    assert compare(one, other)[0].endswith(f"trades, theirs {len(other.trades)}")
