"""The OpenAPI document: whole, true, checked in; and its page, without anything from another host."""

import json
import re
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from flask import Flask

from cift_core.engine import EXIT_REASONS, Bars, Execution, run_backtest, run_portfolio
from cift_core.errors import InvalidInput
from cift_core.services.api_keys import SCOPES
from cift_core.strategies import STRATEGIES
from cift_web.app import openapi_document
from cift_web.backtest_answers import Metrics, OpenPosition, Trade
from cift_web.backtest_requests import ExecutionSchema
from tests.web.conftest import Client

CHECKED_IN = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"
DOCUMENT = openapi_document()
OPERATIONS = [
    (method, path, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if method in ("get", "post", "patch", "delete")
]
UNDOCUMENTED = {"/api/v1/openapi.json", "/api/v1/docs"}


def test_the_checked_in_copy_is_current() -> None:
    assert json.loads(CHECKED_IN.read_text()) == json.loads(json.dumps(DOCUMENT)), (
        "run: python -m cift_web > docs/openapi.json"
    )


def test_the_served_document_is_the_same(charlie: Client) -> None:
    assert charlie.get("/api/v1/openapi.json").json == json.loads(json.dumps(DOCUMENT))


def test_the_document_is_valid_openapi_3_1() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    schemathesis.openapi.from_dict(DOCUMENT).validate()


def test_every_route_is_documented(app: Flask) -> None:
    routes = {
        (method.lower(), re.sub(r"<(?:\w+(?:\([^)]*\))?:)?(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    documented = {(method, path) for method, path, _ in OPERATIONS}
    assert {path for _, path in routes - documented if not path.startswith("/api/v1/docs/")} == UNDOCUMENTED
    assert documented <= routes


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=lambda value: str(value)[:40])
def test_every_operation_is_described(method: str, path: str, operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert operation["operationId"]
    answers = operation["responses"]
    assert "default" not in answers
    for status, answer in answers.items():
        if int(status) >= 400 and status != "503":
            assert answer == {"$ref": f"#/components/responses/Problem{status}"}
    if path in ("/live", "/ready"):
        assert operation["security"] == []
        return
    assert "401" in answers
    (security,) = operation["security"]
    assert set(security["key"]) == set(operation["x-required-scopes"]) <= set(SCOPES)
    if "{" in path:
        assert "404" in answers
    if "requestBody" in operation:
        assert {"400", "413", "415", "422"} <= set(answers)


def test_problems_are_documented_as_such() -> None:
    responses = DOCUMENT["components"]["responses"]
    for answer in responses.values():
        assert list(answer["content"]) == ["application/problem+json"]
    assert "WWW-Authenticate" in responses["Problem401"]["headers"]
    assert "Retry-After" in responses["Problem503"]["headers"]


def test_execution_agrees_with_the_engine() -> None:
    schema = ExecutionSchema()
    assert list(schema.fields) == [field.name for field in fields(Execution)]
    assert schema.load({}) == asdict(Execution())
    documented = DOCUMENT["components"]["schemas"]["Execution"]["properties"]
    for name, default in asdict(Execution()).items():
        assert documented[name]["default"] == default


@pytest.mark.parametrize(
    "name", [field.name for field in fields(Execution) if field.name not in ("fill", "stop_base", "size")]
)
def test_the_documented_bounds_are_the_engines(name: str) -> None:
    documented = DOCUMENT["components"]["schemas"]["Execution"]["properties"][name]
    for value in (-2, -1, -0.5, 0, 0.5, 1, 1.5, 300, None, True, "x"):
        try:
            Execution.from_mapping({name: value})
            accepted = True
        except InvalidInput:
            accepted = False
        assert _fits(documented, value) is accepted, (name, value)


def _fits(schema: dict[str, Any], value: Any) -> bool:
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if value is None or isinstance(value, bool | str):
        kind = "null" if value is None else "boolean" if isinstance(value, bool) else "string"
        return kind in kinds
    if "number" not in kinds and not ("integer" in kinds and value % 1 == 0):
        return False
    return (
        value >= schema.get("minimum", value)
        and value > schema.get("exclusiveMinimum", value - 1)
        and value < schema.get("exclusiveMaximum", value + 1)
    )


def test_metrics_and_trades_are_those_of_the_engine() -> None:
    day_ns = 86_400_000_000_000
    closes = [10.0, 11.0, 12.0, 11.0, 10.0, 9.0]
    bars = Bars(
        time=[place * day_ns for place in range(6)], open=closes, high=closes, low=closes, close=closes
    )
    left_open = Execution(close_at_end=False)
    result = run_backtest(bars, STRATEGIES["buy_and_hold"], {}, left_open, cash=1_000)
    several = run_portfolio({"A": bars, "B": bars}, STRATEGIES["buy_and_hold"], {}, left_open, cash=1_000)
    assert set(Metrics().fields) == set(several.metrics) == {*result.metrics, "open_positions"}
    (position, _) = several.metrics["open_positions"]
    assert set(OpenPosition().fields) == set(position) == {*result.metrics["open_position"], "symbol"}
    columns = {field.data_key or name for name, field in Trade().fields.items()}
    assert columns == set(result.trades.dtype.names)
    assert set(Trade().fields["exit_reason"].validate.choices) == set(EXIT_REASONS)


def test_the_page_needs_nothing_from_elsewhere(charlie: Client) -> None:
    page = charlie.get("/api/v1/docs")
    assert page.status_code == 200
    policy = page.headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "default-src 'none'" in policy
    assert not re.search(r"https?://|//[a-z]", page.text)
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|<style|\sstyle=", page.text)
    linked = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(linked) == 5
    for path in linked:
        asset = charlie.get(path)
        assert asset.status_code == 200, path
        assert len(asset.data) > 50
        assert asset.headers["X-Content-Type-Options"] == "nosniff"


def test_the_bundle_is_swagger_ui(charlie: Client) -> None:
    bundle = charlie.get("/api/v1/docs/swagger-ui-bundle.js")
    assert bundle.content_type.startswith("text/javascript")
    assert b"SwaggerUIBundle" in bundle.data
