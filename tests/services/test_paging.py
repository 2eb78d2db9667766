"""Cursors: what goes in comes out, and nothing else is taken for one."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cift_core.errors import FieldError, InvalidInput
from cift_core.services.paging import decode_cursor, encode_cursor


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def assert_refused(text: str, *kinds: type) -> None:
    with pytest.raises(InvalidInput) as caught:
        decode_cursor(text, *(datetime.fromisoformat if kind is datetime else kind for kind in kinds))
    (error,) = caught.value.errors
    assert caught.value.code == "invalid_cursor"
    assert isinstance(error, FieldError)
    assert error.pointer == "/cursor"
    assert "`next`" in error.detail


def test_a_cursor_comes_back_as_it_was() -> None:
    moment, job_id = datetime(2024, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC), uuid4()
    cursor = encode_cursor(moment, job_id)
    assert decode_cursor(cursor, datetime.fromisoformat, UUID) == [moment, job_id]


@given(st.lists(st.integers(1 - 2**63, 2**63 - 1)))
def test_a_cursor_is_url_safe_and_exact(values: list[int]) -> None:
    cursor = encode_cursor(*values)
    assert cursor.replace("-", "").replace("_", "").isalnum()
    assert decode_cursor(cursor, *[int] * len(values)) == values


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage",
        "!!!!",
        "ünï",
        "\x00",
        "WzFd\n" * 3,
        encoded("[1"),
        encoded("5"),
        encoded("null"),
        encoded("{}"),
        encoded("[]"),
        encoded("[1, 2]"),
        encoded("[null]"),
        encoded('["x"]'),
        encoded("[[1]]"),
        encoded("[NaN]"),
        encoded("[Infinity]"),
        encoded(f"[{2**63}]"),
        encoded(f"[{-(2**63)}]"),
        encoded(f'["{10**30}"]'),
        encoded("[" + "9" * 10_000 + "]"),
        encoded("[" * 100_000),
        base64.urlsafe_b64encode(b"[\xff]").decode(),
    ],
)
def test_garbage_is_refused(text: str) -> None:
    assert_refused(text, int)


@pytest.mark.parametrize(
    "text",
    [
        encode_cursor(5),
        encode_cursor(5, 6),
        encode_cursor("2024-01-01", "no id"),
        encode_cursor("no time", UUID(int=1)),
        encode_cursor(None, None),
        encode_cursor(datetime(2024, 1, 1, tzinfo=UTC), UUID(int=1), 1),
    ],
)
def test_the_cursor_of_another_list_is_refused(text: str) -> None:
    assert_refused(text, datetime, UUID)


@given(st.text(max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    try:
        values = decode_cursor(text, int)
    except InvalidInput:
        return
    assert json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    assert isinstance(values[0], int)
