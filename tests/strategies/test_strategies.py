"""Each shipped strategy: its catalog entry, its rule by hand. Every strategy: no look at the future."""

import re
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from cift_core.engine import Bars, Panel, Param, Series, Signals
from cift_core.engine.bars import FloatArray
from cift_core.strategies import SHIPPED, STRATEGIES, warm_up
from tests.engine.samples import DAILY, bars_from, part, sample


def signals(name: str, bars: Bars, **params: float) -> Signals:
    strategy = STRATEGIES[name]
    return strategy.signals(Series(bars), strategy.validate(params))


def closes(*values: float) -> Bars:
    return bars_from(*[(v, v, v, v) for v in values])


def at(values: np.ndarray) -> list[int]:  # type: ignore[type-arg]
    return np.flatnonzero(values).tolist()


def test_catalog() -> None:
    assert list(SHIPPED) == [
        "sma_cross",
        "ema_cross",
        "rsi_reversion",
        "donchian_breakout",
        "bollinger_breakout",
        "bollinger_reversion",
        "macd_cross",
        "momentum",
        "supertrend",
        "buy_and_hold",
        "momentum_rotation",
    ]
    defaults = {name: {p.name: p.default for p in s.params} for name, s in SHIPPED.items()}
    assert defaults == {
        "sma_cross": {"fast": 10, "slow": 20},
        "ema_cross": {"fast": 12, "slow": 26},
        "rsi_reversion": {"window": 14, "lower": 30, "upper": 70},
        "donchian_breakout": {"window": 20},
        "bollinger_breakout": {"window": 20, "width": 2},
        "bollinger_reversion": {"window": 20, "width": 2},
        "macd_cross": {"fast": 12, "slow": 26, "signal": 9},
        "momentum": {"lookback": 252},
        "supertrend": {"window": 10, "width": 3},
        "buy_and_hold": {},
        "momentum_rotation": {"lookback": 126, "top": 3, "every": 21},
    }
    for name, strategy in SHIPPED.items():
        assert strategy.name == name
        assert all((strategy.title, strategy.rule, strategy.source))
        for param in strategy.params:
            assert param.doc
            assert param.problem(param.default) is None
            assert param.problem(param.min) is None
            assert param.problem(param.max) is None
            assert param.problem(param.min - 1)
            assert param.problem(param.max + 1)


def test_the_documentation_lists_what_ships() -> None:
    text = (Path(__file__).parents[2] / "docs" / "strategies.md").read_text()
    rows = [line for line in text.splitlines() if re.match(r"\| `\w+` \| (–|\w+ [\d.]+)", line)]
    assert rows == [
        f"| `{name}` | {', '.join(f'{p.name} {p.default:g}' for p in one.params) or '–'} | {one.rule} |"
        for name, one in SHIPPED.items()
    ]


def test_warm_up_leaves_nothing_to_compile() -> None:
    warm_up()


# A smaller example would show no more, and take long to find.
CUTS = settings(max_examples=30, phases=(Phase.generate,))


def values_of(param: Param) -> st.SearchStrategy[float]:
    """Within the bounds, and such that 300 bars are enough for signals."""
    if param.kind == "int":
        least = ceil(param.min)
        return st.integers(least, min(int(param.max), least + 18))
    middle = param.min if param.default is None else param.default
    reach = max(abs(middle), 1.0)
    return st.floats(max(param.min, middle - reach), min(param.max, middle + reach))


def some_params(name: str, data: st.DataObject) -> dict[str, Any]:
    return {p.name: data.draw(values_of(p), p.name) for p in STRATEGIES[name].params}


def order_prices(result: Signals) -> list[FloatArray]:
    return [order.price for order in (result.long_order, result.short_order) if order is not None]


@CUTS
@given(data=st.data())
@pytest.mark.parametrize("name", [name for name, one in STRATEGIES.items() if one.compute])
def test_truncation(name: str, data: st.DataObject) -> None:
    """Cutting off the bars after i changes no signal, and no price of an order, at or before i."""
    whole = sample(data.draw(st.sampled_from(["AAPL", "IBM", "MSFT", "XAUUSD"])))
    start = data.draw(st.integers(0, len(whole) - 300))
    bars = part(whole, start, start + 300)
    params = some_params(name, data)
    full = signals(name, bars, **params)
    # One bar of each signal, for some are rare, and one of all.
    for told in filter(None, [[*range(300)], *map(at, full.flags)]):
        i = data.draw(st.sampled_from(told))
        cut = signals(name, part(bars, 0, i + 1), **params)
        for before, after in zip(
            [*full.flags, *order_prices(full)], [*cut.flags, *order_prices(cut)], strict=True
        ):
            np.testing.assert_array_equal(after, before[: i + 1])


@CUTS
@given(data=st.data())
@pytest.mark.parametrize("name", [name for name, one in STRATEGIES.items() if one.weigh])
def test_truncation_of_weights(name: str, data: st.DataObject) -> None:
    """Cutting off what comes after a time changes no weight at or before it."""
    strategy, bars = STRATEGIES[name], {s: part(sample(s), 2_000, 2_300) for s in DAILY}
    params = strategy.validate(some_params(name, data))
    full = strategy.weights(Panel(bars), params)
    for i in at(np.isfinite(full).any(axis=1))[-10:]:
        cut = strategy.weights(Panel({s: part(one, 0, i + 1) for s, one in bars.items()}), params)
        np.testing.assert_array_equal(cut, full[: i + 1])


@pytest.mark.parametrize("name", ["sma_cross", "ema_cross"])
def test_crosses_by_hand(name: str) -> None:
    # With windows 2 and 3 a fall, a rise and a fall: the fast mean turns first.
    result = signals(name, closes(5, 4, 3, 2, 6, 7, 8, 2, 1), fast=2, slow=3)
    assert at(result.long_entry) == [4]
    assert at(result.long_exit) == [7]
    assert at(result.short_entry) == [7]
    assert at(result.short_exit) == [4]


def test_sma_cross_needs_a_bar_below_before() -> None:
    assert at(signals("sma_cross", closes(*range(1, 30)), fast=2, slow=3).long_entry) == []


def test_rsi_reversion_by_hand() -> None:
    # RSI(2) from bar 2: 0, 0 | 4 up: (0 + 4)/2 = 2 against (1 + 0)/2 = 0.5: 80.
    result = signals("rsi_reversion", closes(10, 9, 8, 7, 11), window=2, lower=30, upper=70)
    assert at(result.long_entry) == [3]  # bar 2 is warm-up
    assert at(result.short_exit) == [3]
    assert at(result.short_entry) == [4]
    assert at(result.long_exit) == [4]


def test_rsi_reversion_on_prices_that_never_move() -> None:
    assert [at(s) for s in signals("rsi_reversion", closes(*[7.0] * 40)).flags] == [[], [], [], []]


def test_rsi_at_the_level_is_not_beyond_it() -> None:
    bars = closes(10, 12, 11, 12, 11)
    # RSI(2): 66.7, 80, then gains (1 + 0)/2 = 0.5 and losses (0.25 + 1)/2 = 0.625: 44.4.
    assert at(signals("rsi_reversion", bars, window=2, upper=80).short_entry) == []
    assert at(signals("rsi_reversion", bars, window=2, upper=79.9).short_entry) == [3]


def test_donchian_breakout_by_hand() -> None:
    bars = bars_from(
        (10, 11, 9, 10),
        (10, 12, 9, 10),
        (10, 12, 9, 12),  # channel of bars 0-1 is 9 to 12: a close at 12 is not above, and it is warm-up
        (12, 12, 8, 12),  # at the high of bars 1-2: not above
        (12, 13, 12, 12.5),  # above 12
        (12.5, 13, 7, 7.5),  # below the low of 8
    )
    result = signals("donchian_breakout", bars, window=2)
    assert at(result.long_entry) == [4]
    assert at(result.short_exit) == [4]
    assert at(result.long_exit) == [5]
    assert at(result.short_entry) == [5]


def test_bollinger_breakout_by_hand() -> None:
    # Window 3, width 1: of 10, 10, 13 the last is over 11 + sqrt(2); of 10, 13, 13 it is under 12 + sqrt(2).
    result = signals("bollinger_breakout", closes(10, 10, 10, 10, 13, 13, 13, 10), window=3, width=1)
    assert at(result.long_entry) == [4]
    assert at(result.long_exit) == [7]
    assert at(result.short_entry) == [7]


def test_bollinger_breakout_on_flat_prices_signals_nothing() -> None:
    assert [at(s) for s in signals("bollinger_breakout", closes(*[0.1] * 60), width=0).flags] == [
        [],
        [],
        [],
        [],
    ]


def test_bollinger_reversion_by_hand() -> None:
    # Window 3, width 1: 7 is under 9 - sqrt(2), 9 over its mean of 8.67; 14 is over 11.33 + sqrt(3.56).
    result = signals("bollinger_reversion", closes(10, 10, 10, 10, 7, 9, 10, 10, 14, 10), window=3, width=1)
    assert at(result.long_entry) == [4]
    assert at(result.short_entry) == [6, 8]
    assert at(result.long_exit) == [5, 6, 7, 8]
    assert at(result.short_exit) == [4, 9]


def test_macd_cross_on_flat_prices_signals_nothing() -> None:
    assert [at(s) for s in signals("macd_cross", closes(*[0.1] * 90)).flags] == [[], [], [], []]


def test_macd_cross_by_hand() -> None:
    # EMA(2) less EMA(4) stays at 1 while prices rise evenly and widens with the steps; level prices end that.
    result = signals("macd_cross", closes(1, 2, 3, 4, 5, 7, 9, 9, 9, 9), fast=2, slow=4, signal=2)
    assert at(result.long_entry) == []
    assert at(result.short_entry) == [7]


def test_momentum_by_hand() -> None:
    result = signals("momentum", closes(1, 1, 2, 1, 1, 3), lookback=2)
    assert at(result.long_entry) == [5]
    assert at(result.short_entry) == [4]


def test_supertrend_by_hand() -> None:
    # True ranges are about 1: the line is above the bars until a close breaks it, then below, only rising.
    bars = bars_from(
        (10, 11, 10, 10.5),
        (10, 11, 10, 10.5),
        (10, 11, 10, 10.5),
        (10.5, 11.5, 10.5, 11.4),
        (11.5, 12.5, 11.5, 12.4),
        (12.5, 12.5, 11.5, 11.6),
        (11.5, 11.5, 10.5, 10.6),
    )
    result = signals("supertrend", bars, window=2, width=1)
    assert at(result.long_entry) == [4]
    assert at(result.short_entry) == [6]


def test_supertrend_is_not_turned_by_float_noise() -> None:
    # The middle of 10.12 and 10.14 is 1.8e-15 below 10.13, that of 10.11 and 10.13 as much above 10.12.
    flat = bars_from(*[(10.13, 10.14, 10.12, 10.13)] * 9)
    assert [at(s) for s in signals("supertrend", flat, window=2, width=0).flags] == [[], [], [], []]
    risen = bars_from(*[(9.0, 9.0, 9.0, 9.0)] * 4, *[(10.12, 10.13, 10.11, 10.12)] * 9)
    result = signals("supertrend", risen, window=2, width=0)
    assert (at(result.long_entry), at(result.long_exit)) == ([4], [])


def test_buy_and_hold_signals_once() -> None:
    result = signals("buy_and_hold", closes(1, 2, 3))
    assert [at(s) for s in result.flags] == [[0], [], [], []]
