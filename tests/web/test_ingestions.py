"""/ingestions: a file by path or sent along, its balance, its rejects."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests

from cift_core.settings import Settings
from cift_web.app import create_app
from tests.web.conftest import Client, close

INGESTIONS = "/api/v1/ingestions"
CSV = b"""timestamp,open,high,low,close,volume
2020-01-01,1,2,1,2,5
2020-01-02,1,2,3,2,5
2020-01-03,1,2,1,2,5
2020-01-04,x,2,1,2,5
"""


def request_for(**source: Any) -> dict[str, Any]:
    return {
        "source": {"type": "file", **source},
        "kind": "bars",
        "symbol": f"T{uuid4().hex[:9]}",
        "interval": "1d",
    }


def form(sent: Any, content: bytes = CSV, **parts: Any) -> dict[str, Any]:
    data = {"request": json.dumps(sent), "file": (io.BytesIO(content), "bars.csv"), **parts}
    return {
        "data": {name: part for name, part in data.items() if part is not None},
        "content_type": "multipart/form-data",
    }


@pytest.fixture
def uploads(settings: Settings) -> Callable[[], set[Path]]:
    """The uploaded files that appeared since the test began."""
    before = set(settings.upload_dir.glob("*"))
    return lambda: set(settings.upload_dir.glob("*")) - before


def test_a_file_below_the_data_folder_is_brought_in(alice: Client, work: Callable[[str], None]) -> None:
    request = request_for(path="sample/SPY-1d.csv")
    made = alice.post(INGESTIONS, json=request)
    assert made.status_code == 202
    assert made.headers["Location"] == f"{INGESTIONS}/{made.json['id']}"
    work(made.json["id"])
    shown = alice.get(made.headers["Location"]).json
    assert shown["status"] == "succeeded"
    assert (
        shown["rows_read"] == shown["rows_written"] + shown["rows_duplicate"] + shown["rows_rejected"] > 100
    )
    assert shown["rows_rejected"] == 2
    assert shown["first_timestamp"].endswith("Z")
    assert shown["rejects_url"] == shown["links"]["rejects"]
    rejects = alice.get(shown["rejects_url"]).json
    assert len(rejects["items"]) == 2
    assert all(reject["line"] > 1 and reject["reason"] and reject["raw"] for reject in rejects["items"])


def test_a_file_sent_along_is_brought_in(
    alice: Client, work: Callable[[str], None], uploads: Callable[[], set[Path]]
) -> None:
    made = alice.post(INGESTIONS, **form(request_for()))
    assert made.status_code == 202
    assert len(uploads()) == 1
    work(made.json["id"])
    shown = alice.get(made.headers["Location"]).json
    counts = [shown[name] for name in ("rows_read", "rows_written", "rows_duplicate", "rows_rejected")]
    assert counts == [4, 2, 0, 2]
    first = alice.get(f"{shown['rejects_url']}?limit=1").json
    second = alice.get(f"{shown['rejects_url']}?limit=1&cursor={first['next']}").json
    assert [page["items"][0]["line"] for page in (first, second)] == [3, 5]
    assert second["next"] is None


@pytest.mark.parametrize(
    ("sent", "pointer", "says"),
    [
        (form(request_for(), file=None), "/file", "is missing"),
        (form(request_for(), request=None), "/request", "is missing"),
        (form(request_for(), fil=(io.BytesIO(CSV), "x")), "/fil", 'did you mean "file"?'),
        (form(request_for(path="a.csv")), "/source/path", "leave it out"),
        (form(request_for(), content=b"1,2,3\n"), "/source/header", "not a header"),
        (form({}), "/kind", "is missing"),
        (form([]), "", "must be a JSON object"),
        ({"json": request_for()}, "/source/path", "is missing"),
        ({"json": request_for(path="../etc/passwd")}, "/source/path", "'..'"),
        ({"json": request_for(path="/etc/passwd")}, "/source/path", "relative"),
        ({"json": request_for(path="sample/SPI-1d.csv")}, "/source/path", "SPY-1d.csv"),
        ({"json": request_for(path="sample/SPY-1d.csv", colums={})}, "/source/colums", '"columns"'),
        ({"json": request_for(path="sample/SPY-1d.csv") | {"kind": "tics"}}, "/kind", "bars"),
        ({"json": request_for(path="sample/SPY-1d.csv") | {"symbol": "a b"}}, "/symbol", "does not match"),
    ],
)
def test_a_wrong_submit_is_told_and_leaves_no_file(
    alice: Client, uploads: Callable[[], set[Path]], sent: dict[str, Any], pointer: str, says: str
) -> None:
    response = alice.post(INGESTIONS, **sent)
    assert response.status_code == 422
    details = {field["pointer"]: field["detail"] for field in response.json["errors"]}
    assert says in details[pointer], details
    assert uploads() == set()


def test_other_content_types_and_broken_json(alice: Client) -> None:
    assert alice.post(INGESTIONS, data=CSV, content_type="text/csv").status_code == 415
    assert alice.post(INGESTIONS, data=b"{", content_type="application/json").status_code == 400
    broken = alice.post(INGESTIONS, **form(None, request="{"))
    assert (broken.status_code, "part `request`" in broken.json["detail"]) == (400, True)


def test_a_json_body_over_its_limit_is_413(alice: Client) -> None:
    response = alice.post(INGESTIONS, data=b" " * (2**20 + 1), content_type="application/json")
    assert response.status_code == 413


def test_an_upload_over_the_limit_is_refused(
    settings: Settings, alice: Client, uploads: Callable[[], set[Path]]
) -> None:
    app = create_app(replace(settings, max_upload_bytes=1000))
    client = Client(app, alice.token, alice.user_id)
    over = client.post(INGESTIONS, **form(request_for(), content=CSV + b"#" * 1000))
    assert (over.status_code, over.json["code"]) == (422, "upload_too_large")
    far_over = client.post(
        INGESTIONS, data=b"#" * (2**20 + 2000), content_type="multipart/form-data; boundary=x"
    )
    assert (far_over.status_code, far_over.json["code"]) == (413, "request_entity_too_large")
    assert uploads() == set()
    close(app)


def test_a_large_upload_goes_through_a_real_server(gunicorn: str, alice: Client) -> None:
    lines = "".join(f"{1_600_000_000 + 60 * n},1,2,1,2,5\n" for n in range(100_000))
    text = "timestamp,open,high,low,close,volume\n" + lines
    request = request_for(timestamp_unit="s") | {"interval": "1m"}
    response = requests.post(
        f"{gunicorn}{INGESTIONS}",
        data={"request": json.dumps(request)},
        files={"file": ("bars.csv", text.encode())},
        headers={"Authorization": f"Bearer {alice.token}"},
        timeout=30,
    )
    assert response.status_code == 202, response.text
    assert len(text) > 2**20


def test_the_list_is_filtered_and_cancel_ends(alice: Client) -> None:
    kept = alice.post(INGESTIONS, **form(request_for())).json
    ended = alice.post(INGESTIONS, **form(request_for())).json
    assert alice.post(ended["links"]["cancel"]).json["status"] == "cancelled"
    listed = [item["id"] for item in alice.get(INGESTIONS).json["items"]]
    assert listed == [ended["id"], kept["id"]]
    queued = alice.get(f"{INGESTIONS}?status=queued").json["items"]
    assert [item["id"] for item in queued] == [kept["id"]]
