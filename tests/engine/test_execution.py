"""Execution: defaults, and every wrong field at once with its pointer."""

import json
from dataclasses import FrozenInstanceError, asdict
from typing import Any

import numpy as np
import pytest

from cift_core.engine import Execution
from cift_core.errors import InvalidInput

DEFAULTS = {
    "fill": "next_open",
    "commission_rate": 0.0,
    "commission_fixed": 0.0,
    "slippage_rate": 0.0,
    "allow_short": False,
    "size": None,
    "fractional": True,
    "stop_loss": None,
    "take_profit": None,
    "trailing_stop": None,
    "stop_base": "signal_close",
    "close_at_end": True,
    "min_trade_value": 0.0,
    "good_for": 1,
    "risk_free_rate": 0.0,
    "periods_per_year": None,
}


def test_defaults() -> None:
    assert asdict(Execution()) == DEFAULTS
    assert Execution.from_mapping({}) == Execution()


def test_round_trip_through_json() -> None:
    execution = Execution(
        fill="same_close", size={"type": "units", "value": 3}, stop_loss=0.1, allow_short=True
    )
    again = Execution.from_mapping(json.loads(json.dumps(asdict(execution))))
    assert again == execution
    assert hash(again) == hash(execution)


def test_numbers_become_floats_and_the_size_is_its_own() -> None:
    size: Any = {"type": "units", "value": np.int64(3)}
    execution = Execution(commission_fixed=np.int64(2), size=size)
    size["value"] = 99
    assert asdict(execution) == {**DEFAULTS, "commission_fixed": 2.0, "size": {"type": "units", "value": 3.0}}
    json.dumps(asdict(execution))


def test_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Execution().fill = "same_close"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("wrong", "pointer", "detail"),
    [
        (
            {"fill": "next_opne"},
            "/fill",
            "must be next_open or same_close, got 'next_opne' (did you mean \"next_open\"?)",
        ),
        ({"fill": None}, "/fill", "got null"),
        ({"stop_base": 3}, "/stop_base", "must be signal_close or fill, got 3"),
        ({"commission_rate": -0.1}, "/commission_rate", "must be a number at least 0 and below 1, got -0.1"),
        ({"commission_rate": 1}, "/commission_rate", "got 1"),
        ({"commission_rate": "0.1"}, "/commission_rate", "got '0.1'"),
        ({"commission_rate": True}, "/commission_rate", "got true"),
        ({"commission_rate": None}, "/commission_rate", "got null"),
        ({"commission_fixed": float("nan")}, "/commission_fixed", "must be a number at least 0, got nan"),
        ({"commission_fixed": 10**400}, "/commission_fixed", "must be a number at least 0"),
        ({"slippage_rate": float("inf")}, "/slippage_rate", "got inf"),
        ({"allow_short": 1}, "/allow_short", "must be true or false, got 1"),
        ({"fractional": None}, "/fractional", "must be true or false, got null"),
        ({"close_at_end": "yes"}, "/close_at_end", "got 'yes'"),
        ({"stop_loss": 0}, "/stop_loss", "must be a number above 0 and below 1, or null, got 0"),
        ({"stop_loss": 1}, "/stop_loss", "got 1"),
        ({"take_profit": 0}, "/take_profit", "must be a number above 0, or null, got 0"),
        ({"trailing_stop": 1.5}, "/trailing_stop", "got 1.5"),
        ({"risk_free_rate": -1}, "/risk_free_rate", "must be a number above -1, got -1"),
        ({"periods_per_year": 0}, "/periods_per_year", "must be a number above 0, or null, got 0"),
        ({"size": 0.5}, "/size", 'must be an object {"type", "value"}, or null, got 0.5'),
        ({"size": {"type": "unit", "value": 1}}, "/size/type", 'did you mean "units"?'),
        ({"size": {"type": ["units"], "value": 1}}, "/size/type", "got ['units']"),
        ({"size": {"type": "units"}}, "/size/value", "must be a number above 0, got null"),
        ({"size": {"type": "units", "value": 0}}, "/size/value", "must be a number above 0, got 0"),
        (
            {"size": {"type": "equity_fraction", "value": 1.1}},
            "/size/value",
            "above 0 and at most 1, got 1.1",
        ),
        ({"size": {"type": "units", "value": 1, "vlaue": 2}}, "/size/vlaue", 'did you mean "value"?'),
        ({"stoploss": 0.1}, "/stoploss", 'unknown field "stoploss" (did you mean "stop_loss"?)'),
        ({"good_for": 0}, "/good_for", "must be a number that is whole, 1 to 1000000, got 0"),
        ({"good_for": 1.5}, "/good_for", "got 1.5"),
        ({"good_for": None}, "/good_for", "got null"),
        ({"min_trade_value": -1}, "/min_trade_value", "must be a number at least 0, got -1"),
        ({"min_trade_valu": 0}, "/min_trade_valu", 'unknown field "min_trade_valu"'),
    ],
)
def test_one_wrong_field(wrong: dict[str, Any], pointer: str, detail: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Execution.from_mapping(wrong)
    (error,) = caught.value.errors
    assert error.pointer == f"/execution{pointer}"
    assert detail in error.detail
    assert caught.value.code == "invalid_execution"


def test_all_wrong_fields_at_once() -> None:
    wrong = {"fil": "x", "stop_loss": 2, "size": {"type": "lots", "value": -1}, "allow_short": "no"}
    with pytest.raises(InvalidInput) as caught:
        Execution.from_mapping(wrong)
    assert {e.pointer for e in caught.value.errors} == {
        "/execution/fil",
        "/execution/stop_loss",
        "/execution/size/type",
        "/execution/size/value",
        "/execution/allow_short",
    }
    with pytest.raises(InvalidInput) as caught:
        Execution(stop_loss=2, commission_rate=-1)
    assert [e.pointer for e in caught.value.errors] == ["/execution/commission_rate", "/execution/stop_loss"]


def test_not_an_object() -> None:
    for wrong in (None, [], "x"):
        with pytest.raises(InvalidInput, match="execution must be an object"):
            Execution.from_mapping(wrong)  # type: ignore[arg-type]
