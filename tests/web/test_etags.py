"""ETags of finished backtests: what the client has is not sent again."""

from collections.abc import Callable

import pytest

from tests.web.conftest import BACKTEST, Client

BACKTESTS = "/api/v1/backtests"


@pytest.fixture
def finished(alice: Client) -> str:
    """The path of a cancelled backtest of Alice's."""
    path = f"{BACKTESTS}/{alice.post(BACKTESTS, json=BACKTEST).json['id']}"
    alice.post(f"{path}/cancel")
    return path


@pytest.mark.parametrize("part", ["", "/trades", "/equity", "/equity?max_points=10", "/trades?limit=1"])
def test_what_is_finished_is_sent_once(alice: Client, finished: str, part: str) -> None:
    first = alice.get(finished + part)
    etag = first.headers["ETag"]
    assert first.headers["Cache-Control"] == "private, no-cache"
    again = alice.get(finished + part, headers={"If-None-Match": etag})
    assert (again.status_code, again.data) == (304, b"")
    for name in ("ETag", "Cache-Control", "Vary"):
        assert again.headers[name] == first.headers[name]
    weak = alice.get(finished + part, headers={"If-None-Match": f'"other", W/{etag}'})
    assert weak.status_code == 304
    other = alice.get(finished + part, headers={"If-None-Match": '"other"'})
    assert (other.status_code, other.data) == (200, first.data)


@pytest.mark.parametrize("part", ["", "/trades", "/equity"])
def test_what_is_not_finished_has_no_etag(alice: Client, part: str) -> None:
    made = alice.post(BACKTESTS, json=BACKTEST).json["id"]
    answer = alice.get(f"{BACKTESTS}/{made}{part}", headers={"If-None-Match": "*"})
    assert answer.status_code == 200
    assert "ETag" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"


def test_two_backtests_have_two_etags(alice: Client, finished: str, work: Callable[[str], None]) -> None:
    made = alice.post(BACKTESTS, json=BACKTEST).json["id"]
    work(made)
    other = alice.get(f"{BACKTESTS}/{made}")
    assert other.json["status"] in ("succeeded", "failed")
    etag = alice.get(finished).headers["ETag"]
    assert alice.get(f"{BACKTESTS}/{made}", headers={"If-None-Match": etag}).json == other.json


@pytest.mark.parametrize("part", ["", "/trades", "/equity"])
def test_an_etag_opens_nothing(alice: Client, bob: Client, charlie: Client, finished: str, part: str) -> None:
    headers = {"If-None-Match": alice.get(finished + part).headers["ETag"]}
    assert bob.get(finished + part, headers=headers).status_code == 404
    assert charlie.get(finished + part, headers=headers).status_code == 401
    assert alice.delete(finished).status_code == 204
    assert alice.get(finished + part, headers=headers).status_code == 404
