"""Every error is a problem that names the field, what is wrong and what would be right."""

import json
import socket
from collections.abc import Callable
from dataclasses import replace
from email.message import Message
from http.client import HTTPResponse
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from flask import Flask

from cift_core.settings import Settings
from cift_web.app import create_app
from tests.web.conftest import BACKTEST, Client, assert_problem, close

ROTATION = BACKTEST | {"strategy": {"name": "momentum_rotation"}, "symbols": ["A", "B"]}

BACKTESTS = "/api/v1/backtests"
SECURITY_HEADERS = ("Content-Security-Policy", "X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy")


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in BACKTEST.items() if key != name}


WRONG = [
    (without("cash"), "/cash", "is missing"),
    (BACKTEST | {"cash": None}, "/cash", "must not be null"),
    (BACKTEST | {"cash": True}, "/cash", "must be a number"),
    (BACKTEST | {"cash": "10000"}, "/cash", "must be a number"),
    (BACKTEST | {"cash": 0}, "/cash", "above 0"),
    (BACKTEST | {"cash": 1e16}, "/cash", "at most 1e15"),
    (BACKTEST | {"cash": float("nan")}, "/cash", "finite"),
    (BACKTEST | {"cash": float("inf")}, "/cash", "finite"),
    (BACKTEST | {"cash": 2**60}, "/cash", "9007199254740991"),
    (BACKTEST | {"intervall": "1d"}, "/intervall", 'did you mean "interval"?'),
    (BACKTEST | {"execution": {"fi/ll~": 1}}, "/execution/fi~1ll~0", 'did you mean "fill"?'),
    (
        BACKTEST | {"strategy": {"name": "sma_cross", "params": {"fa/st": 1}}},
        "/strategy/params/fa~1st",
        'did you mean "fast"?',
    ),
    (
        BACKTEST | {"strategy": {"rules": {"indicators": {"a/b": "open"}}}},
        "/strategy/rules/indicators/a~1b",
        "is no name",
    ),
    (BACKTEST | {"interval": "2d"}, "/interval", "1s, 5s"),
    (BACKTEST | {"interval": "2d"}, "/interval", "must be one of"),
    (BACKTEST | {"symbols": []}, "/symbols", "must name 1 to 200 symbols"),
    (BACKTEST | {"symbols": ["A", "B", "A"]}, "/symbols", "must name each only once; twice: A"),
    (
        ROTATION | {"execution": {"stop_loss": 0.1}},
        "/execution/stop_loss",
        "must be left out: momentum_rotation",
    ),
    (
        BACKTEST | {"execution": {"min_trade_value": 9}},
        "/execution/min_trade_value",
        "sma_cross gives signals",
    ),
    (BACKTEST | {"symbols": "AAPL"}, "/symbols", "must be an array"),
    (BACKTEST | {"symbols": ["AAPL\n"]}, "/symbols/0", "must have 1 to 32"),
    (BACKTEST | {"symbols": ["x' OR 1=1"]}, "/symbols/0", "must have 1 to 32"),
    (BACKTEST | {"start": "2020-01-01"}, "/start", "2004-08-19T00:00:00Z"),
    (BACKTEST | {"start": "2020-01-01T00:00:00"}, "/start", "with a zone"),
    (BACKTEST | {"start": "2020-13-01T00:00:00Z"}, "/start", "RFC 3339"),
    (BACKTEST | {"start": "0001-01-01T00:00:00+14:00"}, "/start", "between 1678 and 2261"),
    (BACKTEST | {"start": 1577836800}, "/start", "RFC 3339"),
    (
        BACKTEST | {"start": "2020-01-01T00:00:00Z", "end": "2020-01-01T02:00:00+02:00"},
        "/end",
        "must be after start",
    ),
    (BACKTEST | {"prices": "dividend"}, "/prices", "adjusted, raw"),
    (BACKTEST | {"tags": ["x"] * 21}, "/tags", "at most 20"),
    (BACKTEST | {"tags": ["x" * 65]}, "/tags/0", "1 to 64"),
    (BACKTEST | {"tags": ["a\x00b"]}, "/tags/0", "can't be kept"),
    (BACKTEST | {"tags": ["\ud800"]}, "/tags/0", "can't be kept"),
    (BACKTEST | {"strategy": "sma_cross"}, "/strategy", "must be a JSON object"),
    (BACKTEST | {"strategy": {"name": "sma_crosss"}}, "/strategy/name", 'did you mean "sma_cross"?'),
    (BACKTEST | {"strategy": {"name": "sma_cross", "params": []}}, "/strategy/params", "JSON object"),
    (
        BACKTEST | {"strategy": {"name": "sma_cross", "params": {"fats": 3}}},
        "/strategy/params/fats",
        '"fast"',
    ),
    (
        BACKTEST | {"strategy": {"name": "sma_cross", "params": {"fast": 1}}},
        "/strategy/params/fast",
        "between 2",
    ),
    (BACKTEST | {"a/b~c": 1}, "/a~1b~0c", "is not a field here"),
    (BACKTEST | {"execution": {"comission_rate": 0}}, "/execution/comission_rate", '"commission_rate"'),
    (BACKTEST | {"execution": {"stop_loss": 5}}, "/execution/stop_loss", "above 0 and below 1"),
    (BACKTEST | {"execution": {"allow_short": 1}}, "/execution/allow_short", "true or false"),
    (
        BACKTEST | {"execution": {"size": {"type": "all", "value": 1}}},
        "/execution/size/type",
        "equity_fraction",
    ),
    (BACKTEST | {"execution": {"size": {"type": "units", "value": -1}}}, "/execution/size/value", "above 0"),
    (BACKTEST | {"execution": 5}, "/execution", "object"),
    ([BACKTEST], "", "must be a JSON object"),
]


@pytest.mark.parametrize(("body", "pointer", "says"), WRONG)
def test_a_wrong_field_is_named_with_what_would_be_right(
    alice: Client, body: Any, pointer: str, says: str
) -> None:
    response = alice.post(BACKTESTS, data=json.dumps(body), content_type="application/json")
    assert response.status_code == 422
    details = {field["pointer"]: field["detail"] for field in response.json["errors"]}
    assert says in details[pointer], details


def test_all_wrong_fields_are_told_at_once(alice: Client) -> None:
    body = {"strategy": {"nam": "x"}, "cash": -1, "execution": {"fill": "now", "slippage_rate": 2}, "tags": 3}
    pointers = [field["pointer"] for field in alice.post(BACKTESTS, json=body).json["errors"]]
    assert set(pointers) == {
        *("/strategy/nam", "/strategy/name", "/symbols", "/interval", "/cash", "/tags"),
        *("/execution/fill", "/execution/slippage_rate"),
    }


def test_wrong_parameters_are_told_with_wrong_fields(alice: Client) -> None:
    strategy = {"name": "sma_cross", "params": {"fast": 1, "slwo": 20}, "verison": 1}
    body = BACKTEST | {"cash": -1, "strategy": strategy, "execution": {"stop_loss": 5}}
    pointers = [field["pointer"] for field in alice.post(BACKTESTS, json=body).json["errors"]]
    assert set(pointers) == {
        *("/cash", "/strategy/verison", "/strategy/params/fast", "/strategy/params/slwo"),
        "/execution/stop_loss",
    }


@pytest.mark.parametrize(
    ("text", "status", "says"),
    [
        (b"", 400, "empty"),
        (b"{", 400, "line 1, column 2"),
        (b"\xff{}", 400, "UTF-8"),
        (b"[" + b"9" * 5000 + b"]", 400, "thousands of digits"),
        (b'{"cash": 1, "cash": 2}', 422, "more than once"),
        (b"[" * 100_000, 422, "nested deeper"),
        (b"[" * 40 + b"]" * 40, 422, "nested deeper"),
        (b'{"cash": 1e999}', 422, "finite"),
    ],
)
def test_what_is_not_json_is_refused(alice: Client, text: bytes, status: int, says: str) -> None:
    response = alice.post(BACKTESTS, data=text, content_type="application/json")
    assert response.status_code == status
    assert says in response.json["detail"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_another_content_type_is_415(alice: Client, content_type: str) -> None:
    response = alice.post(BACKTESTS, data=b"{}", content_type=content_type)
    assert response.status_code == 415
    assert "application/json" in response.json["detail"]


def test_a_large_body_is_413(alice: Client) -> None:
    response = alice.post(BACKTESTS, data=b" " * (2**20 + 1), content_type="application/json")
    assert response.status_code == 413
    assert "1,048,576 bytes" in response.json["detail"]


def test_a_large_body_without_a_length_is_413(gunicorn: str, alice: Client) -> None:
    chunks = (b" " * 65_536 for _ in range(17))
    headers = {"Authorization": f"Bearer {alice.token}", "Content-Type": "application/json"}
    response = requests.post(f"{gunicorn}{BACKTESTS}", data=chunks, headers=headers, timeout=10)
    assert (response.status_code, response.json()["code"]) == (413, "request_entity_too_large")


NOT_HTTP = [
    (b"GET /live?" + b"x" * 5_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 414, "4,094 bytes"),
    (b"GET /live HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 9_000 + b"\r\n\r\n", 431, "8,190 bytes"),
    (b"GET /live HTTP/1.1\r\nHost: h\r\nExpect: cake\r\n\r\n", 417, "100-continue"),
    (b"POST /live HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: cake\r\n\r\n", 501, "chunked"),
    (b"GET /live HTTP/1.1\r\nHost : h\r\n\r\n", 400, "HTTP header name"),
    (b"nonsense\r\n\r\n", 400, "HTTP request line"),
]


@pytest.mark.parametrize(("sent", "status", "says"), NOT_HTTP)
def test_what_never_reaches_the_application_is_a_problem(
    gunicorn: str, sent: bytes, status: int, says: str
) -> None:
    code, headers, body = raw(gunicorn, sent)
    problem = json.loads(body)
    assert (code, problem["status"]) == (status, status)
    assert headers["content-type"] == "application/problem+json"
    assert says in problem["detail"]
    assert problem["request_id"] == headers["x-request-id"]


@pytest.mark.parametrize("body", [b"cake\r\n", b"5\r\nab", b"2\r\nabcd\r\n0\r\n\r\n"])
def test_a_body_in_broken_chunks_is_400(gunicorn: str, alice: Client, body: bytes) -> None:
    head = (
        f"POST {BACKTESTS} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {alice.token}\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    code, headers, answer = raw(gunicorn, head.encode() + body)
    assert (code, headers["content-type"]) == (400, "application/problem+json")
    assert json.loads(answer)["code"] == "bad_request"


def raw(url: str, sent: bytes) -> tuple[int, Message, bytes]:
    """Status, headers and body of the answer to these bytes, with nothing sent after them."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        response = HTTPResponse(connection)
        response.begin()
        return response.status, response.headers, response.read()


def test_nothing_there_is_404(alice: Client) -> None:
    response = alice.get(f"{BACKTESTS}/not-a-uuid")
    assert response.status_code == 404
    assert "UUID" in response.json["detail"]


def test_another_method_is_405(alice: Client) -> None:
    response = alice.send("PUT", BACKTESTS)
    assert response.status_code == 405
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS, POST"


@pytest.mark.parametrize(
    ("query", "pointer", "says"),
    [
        ("limit=0", "/limit", "between 1 and 500"),
        ("limit=501", "/limit", "between 1 and 500"),
        ("limit=1_0", "/limit", "whole number"),
        ("limit=%D9%A1", "/limit", "whole number"),
        ("limit=5&limit=6", "/limit", "more than once"),
        ("limt=5", "/limt", 'did you mean "limit"?'),
        ("cursor=abc", "/cursor", "not a cursor"),
        ("status=done", "/status", "succeeded"),
        ("tag=%00", "/tag", "NUL"),
        ("created_after=yesterday", "/created_after", "RFC 3339"),
    ],
)
def test_a_wrong_query_is_named(alice: Client, query: str, pointer: str, says: str) -> None:
    response = alice.get(f"{BACKTESTS}?{query}")
    assert response.status_code == 422
    assert [field["pointer"] for field in response.json["errors"]] == [pointer]
    assert says in response.json["errors"][0]["detail"]


@pytest.mark.parametrize("key", ["", "a b", "é", "x" * 256])
def test_a_wrong_idempotency_key_is_named(gunicorn: str, alice: Client, key: str) -> None:
    headers = {"Authorization": f"Bearer {alice.token}", "Idempotency-Key": key.encode()}
    response = requests.post(f"{gunicorn}{BACKTESTS}", json=BACKTEST, headers=headers, timeout=10)
    assert response.status_code == 422
    assert [field["pointer"] for field in response.json()["errors"]] == ["/Idempotency-Key"]


def test_a_defect_is_500_without_its_text(settings: Settings) -> None:
    app = create_app(settings)

    @app.get("/defect")
    def defect() -> str:
        raise RuntimeError("postgresql://u:hunter2@db")

    response = app.test_client().get("/defect")
    assert response.status_code == 500
    assert_problem(response)
    assert "hunter2" not in response.text
    close(app)


def test_a_store_that_is_down_is_503(alice: Client, stop_server: Callable[[str], None]) -> None:
    stop_server("postgres")
    response = alice.post(BACKTESTS, json=BACKTEST)
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "5"
    assert response.json["code"] == "postgres_unavailable"
    assert "127.0.0.1" not in response.text


def test_a_sane_request_id_is_kept_and_another_replaced(charlie: Client) -> None:
    assert charlie.get("/live", headers={"X-Request-ID": "abc-1.2_3"}).headers["X-Request-ID"] == "abc-1.2_3"
    for rubbish in ("x" * 65, "a b", "<script>"):
        made = charlie.get("/live", headers={"X-Request-ID": rubbish}).headers["X-Request-ID"]
        assert made != rubbish
        assert len(made) == 32


@pytest.mark.parametrize("path", ["/live", BACKTESTS, "/nothing", "/api/v1/docs"])
def test_security_headers_are_everywhere(charlie: Client, path: str) -> None:
    headers = charlie.get(path).headers
    assert all(name in headers for name in SECURITY_HEADERS)
    assert "'unsafe-eval'" not in headers["Content-Security-Policy"]


def test_a_proxy_is_believed_only_when_configured(
    settings: Settings, alice: Client, trail: Callable[..., Any]
) -> None:
    for hops, expected in ((0, "127.0.0.1"), (1, "203.0.113.9")):
        app: Flask = create_app(replace(settings, trusted_proxies=hops))
        agent = f"proxy-{hops}-{alice.user_id}"
        headers = {"X-Forwarded-For": "198.51.100.7, 203.0.113.9", "User-Agent": agent}
        Client(app, alice.token).post(BACKTESTS, json=BACKTEST, headers=headers)
        (row,) = trail(user_agent=agent)
        assert row.ip == expected
        close(app)
