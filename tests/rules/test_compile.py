"""Rules as strategies: the built-ins once more, orders, stops, parameters, and what is refused."""

import json
from typing import Any

import numpy as np
import pytest
import talib

from cift_core.engine import Bars, Execution, Series, run_backtest, run_sweep
from cift_core.errors import InvalidInput
from cift_core.rules import FUNCTIONS, compile_rules
from cift_core.rules.functions import apply
from cift_core.rules.parser import Parser, read
from cift_core.rules.program import Program
from cift_core.strategies import STRATEGIES
from tests.engine.samples import bars_from, part, sample

SIDES = {
    "long": {"entry": "UP", "exit": "DOWN"},
    "short": {"entry": "DOWN", "exit": "UP"},
}


def both_ways(up: str, down: str, **indicators: str) -> dict[str, Any]:
    text = json.dumps({"indicators": indicators, **SIDES})
    rules: dict[str, Any] = json.loads(text.replace("UP", up).replace("DOWN", down))
    return rules


TWINS = {
    "sma_cross": both_ways(
        "crosses_above(fast, slow)",
        "crosses_below(fast, slow)",
        fast="sma(close, $fast)",
        slow="sma(close, $slow)",
    ),
    "ema_cross": both_ways(
        "crosses_above(a, b)", "crosses_below(a, b)", a="ema(close, $fast)", b="ema(close, $slow)"
    ),
    "rsi_reversion": both_ways("rsi(close, $window) < $lower", "rsi(close, $window) > $upper"),
    "donchian_breakout": both_ways("close > highest(high, $window)[1]", "close < lowest(low, $window)[1]"),
    "bollinger_breakout": both_ways(
        "close > middle + $width * sd",
        "close < middle - $width * sd",
        middle="mean(close, $window)",
        sd="stdev(close, $window)",
    ),
}


@pytest.mark.parametrize("symbol", ["AAPL", "IBM", "XAUUSD"])
@pytest.mark.parametrize("name", TWINS)
def test_the_rules_of_a_built_in_give_its_result_to_the_last_bit(name: str, symbol: str) -> None:
    bars, built_in, rules = sample(symbol), STRATEGIES[name], compile_rules(TWINS[name])
    params = {param.name: param.default for param in built_in.params}
    execution = Execution(commission_rate=0.001, allow_short=True)
    ours = run_backtest(bars, rules, params, execution, cash=10_000.0)
    assert ours.metrics["trades"] > 5
    assert ours.sha256() == run_backtest(bars, built_in, params, execution, cash=10_000.0).sha256()


def test_a_sweep_of_rules_equals_that_of_the_built_in() -> None:
    bars, sets = sample("AAPL"), [{"fast": fast, "slow": slow} for fast in (3, 5, 9) for slow in (12, 20)]
    execution = Execution(allow_short=True)
    ours = run_sweep(bars, compile_rules(TWINS["sma_cross"]), sets, execution, cash=10_000.0)
    theirs = run_sweep(bars, STRATEGIES["sma_cross"], sets, execution, cash=10_000.0)
    for name, column in theirs.items():
        np.testing.assert_array_equal(ours[name], column)


def test_each_distinct_operation_stands_once() -> None:
    program = Program()
    parser = Parser(program)
    parser.named["a"] = parser.parse(read("sma(close, 5)"), "series")
    for text in ("sma(close, 5) > close", "a < close", "sma( close ,5) > close"):
        parser.parse(read(text), "condition")
    assert [step.op for step in program.steps] == ["column", "number", "call", ">", "<"]


def test_orders_and_stops() -> None:
    rules = compile_rules(
        {
            "long": {
                "entry": "close > open",
                "order": {"type": "limit", "price": "close * (1 - $below)", "good_for": "$bars"},
            },
            "stops": {"stop_loss": "$stop", "take_profit": 0.2},
        }
    )
    params = {"below": 0.05, "bars": 2, "stop": 0.1}
    signals = rules.signals(
        Series(bars_from((90, 100, 90, 100), (100, 101, 99, 100))), rules.validate(params)
    )
    assert signals.short_order is None
    assert signals.long_order is not None
    assert (signals.long_order.type, signals.long_order.good_for) == ("limit", 2)
    assert signals.long_order.price.tolist() == [95.0, 95.0]
    execution = rules.execution(Execution(stop_loss=0.5, trailing_stop=0.3), params)
    assert (execution.stop_loss, execution.take_profit, execution.trailing_stop) == (0.1, 0.2, 0.3)


def test_parameters_have_the_bounds_of_their_uses() -> None:
    rules = compile_rules(
        {
            "indicators": {"r": "rsi(close, $n)", "old": "close[$n]"},
            "long": {"entry": "r < $level and old ** $power > 0"},
        }
    )
    assert [(p.name, p.kind, p.min, p.max, p.default) for p in rules.params] == [
        ("level", "float", -1e15, 1e15, None),
        ("n", "int", 2, 10_000, None),
        ("power", "float", -16, 16, None),
    ]
    with pytest.raises(InvalidInput) as caught:
        rules.validate({"n": 1, "powr": 2})
    assert {error.pointer for error in caught.value.errors} == {
        "/params/n",
        "/params/powr",
        "/params/power",
        "/params/level",
    }
    assert 'did you mean "power"' in caught.value.message
    assert "level is missing" in caught.value.message


ENTRY = "/rules/long/entry"
DEEP = "(" * 60 + "close" + ")" * 60 + " > 1"


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (
            "closee > 1",
            'at character 1 ("closee > 1"): there is no series or indicator "closee" (did you mean "close"?)',
        ),
        ("1 < smaa(close, 3)", 'at character 5 ("smaa(close, 3)"): there is no function "smaa"'),
        ("close.__class__ > 1", "at character 7: a name begins with a letter"),
        ("close.real > 1", "an attribute (a dot) is not part"),
        ("__import__('os') > 1", "at character 1: a name begins with a letter"),
        ("(lambda: 1) > 1", "a lambda is not part"),
        ("(x := close) > 1", "an assignment is not part"),
        ("f'{close}' > 1", "a text is not part"),
        ("'a' > 'b'", "only numbers may stand here"),
        ("True", "only numbers may stand here"),
        ("[c for c in close] > 1", "a comprehension is not part"),
        ("close if open else high", "if ... else is not part"),
        ("close is open", "is and in are not part"),
        ("close % 2 > 1", "this operator is not part"),
        ("~close > 1", "this operator is not part"),
        ("cl\u043ese > 1", "at character 3: '\u043e' is not part"),
        ("close[-1] > 1", "a look-back must be a whole number from 0 to 10000, or a $parameter, got -1"),
        ("close[1.5] > 1", "a look-back must be a whole number"),
        ("close[99999] > 1", "got 99999"),
        ("close[open] > 1", "a look-back must be a whole number"),
        ("close[1:2] > 1", "is not part"),
        ("close ** 99999 > 1", "an exponent must be a number or $parameter from -16 to 16"),
        ("close ** open > 1", "an exponent must be"),
        ("9 ** 9 ** 9 > 1", "an exponent must be"),
        ("1e999 > close", "is too large a number"),
        ("9" * 5000 + " > close", "at most 2000"),
        ("9" * 1900 + " > close", "too large a number"),
        (DEEP.replace("(", "abs("), "nested deeper than 40 levels"),
        ("not " * 400 + "close > 1", "nested deeper than 40 levels"),
        ("close > ", "can't be read"),
        ("close > 1 close", "can't be read"),
        ("$ > 1", "can't be read"),
        ("", "must be an expression"),
        (3, "must be an expression"),
        ("close", "must be a condition, such as close > open, not a series"),
        ("close and open", "must be a condition"),
        ("(close > 1) + 1 > 0", "is a condition where a number or a series must stand"),
        ("sma(close) > 1", "sma takes 2 arguments, got 1: sma(series, window)"),
        ("sma(close, 0) > 1", "window must be a whole number from 1 to 100000, or a $parameter, got 0"),
        ("sma(close, open) > 1", "window must be a whole number"),
        ("sma(close, window=3) > 1", "without names"),
        ("sma > 1", "sma is a function: write sma(series, window)"),
        ("crosses_above(close) ", "crosses_above takes 2 values: crosses_above(a, b)"),
        ("close(3) > 1", 'there is no function "close"'),
        ("atr(14)(3) > 1", "only the functions of the rules language can be called"),
        (" + ".join(f"sma(close, {n})" for n in range(2, 130)) + " > 1", "2000"),
    ],
)
def test_what_is_refused_says_where_and_what_would_be_right(entry: Any, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        compile_rules({"long": {"entry": entry}})
    (error,) = caught.value.errors
    assert error.pointer == ENTRY
    assert said in error.detail


@pytest.mark.parametrize(
    ("rules", "pointer", "said"),
    [
        ([], "/rules", "must be an object with indicators, long, short, stops"),
        ({}, "/rules", "has no entry"),
        ({"lnog": {}}, "/rules/lnog", 'did you mean "long"?'),
        ({"long": {"entry": "close > 1", "exti": "close < 1"}}, "/rules/long/exti", 'did you mean "exit"?'),
        ({"long": {"exit": "close < 1"}}, "/rules/long/entry", "is missing"),
        ({"indicators": {"close": "open"}}, "/rules/indicators/close", "stands for something already"),
        ({"indicators": {"1x": "open"}}, "/rules/indicators/1x", "is no name"),
        ({"indicators": {"a/b~c": "open"}}, "/rules/indicators/a~1b~0c", '"a/b~c" is no name'),
        ({"lo/ng": {}}, "/rules/lo~1ng", 'did you mean "long"?'),
        ({"indicators": {"a": "b", "b": "a"}}, None, "is defined by itself: "),
        ({"indicators": {"a": "close > 1"}}, "/rules/indicators/a", "must be a number or a series"),
        ({"indicators": {f"a{n}": "close" for n in range(101)}}, "/rules/indicators", "at most 100"),
        ({"indicators": "x"}, "/rules/indicators", "must be an object"),
        ({"stops": {"stop_loss": 2}}, "/rules/stops/stop_loss", "above 0 and below 1"),
        ({"stops": {"stop_los": 0.1}}, "/rules/stops/stop_los", 'did you mean "stop_loss"?'),
        (
            {"long": {"entry": "close > 1", "order": {"type": "limt", "price": "close"}}},
            "/rules/long/order/type",
            "must be limit or stop",
        ),
        (
            {"long": {"entry": "close > 1", "order": {"type": "limit"}}},
            "/rules/long/order/price",
            "must be an expression",
        ),
        (
            {"long": {"entry": "close > 1", "order": {"type": "stop", "price": "high", "good_for": 0}}},
            "/rules/long/order/good_for",
            "must be a whole number from 1",
        ),
        (
            {"long": {"entry": "sma(close, $n + 1) > 1"}},
            ENTRY,
            "window must be a whole number",
        ),
    ],
)
def test_what_is_refused_of_the_object(rules: Any, pointer: str | None, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        compile_rules(rules)
    found = [error for error in caught.value.errors if pointer in (None, error.pointer)]
    assert any(said in error.detail for error in found), caught.value.errors


def test_a_chain_of_definitions_is_no_explosion() -> None:
    doubled = {f"x{n}": f"x{n - 1} + x{n - 1}" for n in range(1, 100)} | {"x0": "close"}
    rules = compile_rules({"indicators": doubled, "long": {"entry": "x99 > close"}})
    bars = part(sample("AAPL"), 0, 100)
    assert rules.signals(Series(bars), {}).long_entry[1:].all()
    terms = {f"s{n}": " + ".join(f"sma(close, {n * 40 + k})" for k in range(2, 42)) for n in range(13)}
    with pytest.raises(InvalidInput, match="more than 500 distinct operations"):
        compile_rules({"indicators": terms, "long": {"entry": "s1 > s2"}})


def test_all_wrong_expressions_are_told_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        compile_rules(
            {"indicators": {"a": "clos"}, "long": {"entry": "opn > 1"}, "short": {"entry": "hgh > 1"}}
        )
    assert len(caught.value.errors) == 3


@pytest.mark.parametrize(
    ("rules", "first"),
    [
        ({"long": {"entry": "100 / (close - 10) > 0"}}, 1),  # undefined at bar 0, where it divides by zero
        ({"indicators": {"x": "100 / (close - 10)"}, "long": {"entry": "x > 0"}}, 2),
        ({"indicators": {"x": "close[2]"}, "long": {"entry": "close > 0"}}, 3),
        ({"long": {"entry": "sma(close, 3) > 0"}}, 3),
        ({"indicators": {"x": "close"}, "long": {"entry": "x > 0"}}, 1),
        ({"long": {"entry": "close > 0"}}, 0),
    ],
)
def test_the_first_signal_comes_after_all_that_is_named_called_or_looked_back_to(
    rules: dict[str, Any], first: int
) -> None:
    bars = bars_from(*[(price, price, price, price) for price in (10, 11, 12, 13, 14, 15)])
    signals = compile_rules(rules).signals(Series(bars), {})
    assert signals.long_entry.tolist() == [i >= first for i in range(6)]


def test_volume_that_is_not_there_is_said() -> None:
    rules = compile_rules({"long": {"entry": "volume > 0"}})
    with pytest.raises(InvalidInput, match="these bars have none"):
        run_backtest(bars_from((1, 1, 1, 1)), rules, {})


@pytest.mark.parametrize("entry", ["close / 0 > 1", "sma(close, 5000) > 1", "sma(close / 0, 3) > 0"])
def test_what_is_never_defined_trades_nothing(entry: str) -> None:
    result = run_backtest(part(sample("AAPL"), 0, 50), compile_rules({"long": {"entry": entry}}), {})
    assert (result.metrics["trades"], result.metrics["sharpe"]) == (0, None)


def test_talib_refuses_in_a_sentence() -> None:
    rules = compile_rules({"long": {"entry": "linearreg(close, $n) > 1"}})
    with pytest.raises(InvalidInput, match="TA-Lib's LINEARREG can't be computed with 1"):
        run_backtest(part(sample("AAPL"), 0, 50), rules, {"n": 1})


def example(name: str, bars: Bars) -> tuple[list[np.ndarray[Any, Any]], list[float]]:
    function = FUNCTIONS[name]
    written = [bars.close, np.full(len(bars), 5.0) if name == "mavp" else bars.high]
    wanted = sum(argument.kind == "series" for argument in function.arguments)
    series = [*written[:wanted], *(getattr(bars, column) for column in function.columns)]
    constants: list[float] = []
    for argument in function.arguments:
        if argument.kind != "series":
            value = 14.0 if argument.default is None else argument.default
            constants.append(int(value) if argument.kind == "whole" else value)
    return series, constants


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_no_function_looks_ahead_or_fills_a_gap(name: str) -> None:
    function, bars = FUNCTIONS[name], part(sample("MSFT"), 700, 1_000)
    series, constants = example(name, bars)
    whole = apply(function, series, constants)
    assert np.isfinite(whole).any()
    assert not np.isinf(whole).any()
    for i in (1, 2, 60, 299):
        cut = apply(function, [values[:i] for values in series], constants)
        np.testing.assert_array_equal(cut, whole[:i])
    late = [np.concatenate([np.full(7, np.nan), values]) for values in series]
    np.testing.assert_array_equal(
        apply(function, late, constants), np.concatenate([np.full(7, np.nan), whole])
    )
    gap = [values.copy() for values in series]
    gap[0][250] = np.nan
    holed = apply(function, gap, constants)
    assert np.isnan(holed[250])
    np.testing.assert_array_equal(holed[:250], whole[:250])


@pytest.mark.parametrize("name", ["sma", "ema", "rsi", "highest", "lowest", "stdev", "sum"])
def test_our_own_functions_are_talibs(name: str) -> None:
    close = sample("IBM").close
    peers = {"highest": "MAX", "lowest": "MIN", "stdev": "STDDEV"}
    peer = getattr(talib, peers.get(name, name.upper()))
    np.testing.assert_allclose(FUNCTIONS[name].compute(close, 14), peer(close, 14), rtol=1e-6)


def test_outputs_have_names_of_their_own() -> None:
    names = {
        "macd",
        "macd_signal",
        "macd_hist",
        "bbands_upper",
        "bbands_middle",
        "bbands_lower",
        "atr",
        "stoch_slowk",
    }
    assert names <= FUNCTIONS.keys()
    assert FUNCTIONS["atr"].signature == "atr(timeperiod=14)"
    assert FUNCTIONS["atr"].columns == ("high", "low", "close")
    assert not {"add", "ln", "fractal_swinghigh"} & FUNCTIONS.keys()
