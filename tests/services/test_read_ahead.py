"""An iterator read ahead in a thread: the same items, the same errors, no thread left."""

import threading
from collections.abc import Iterator

import pytest

from cift_core.services.read_ahead import read_ahead
from tests.waiting import wait_for


def counting(made: list[int], end: int = 10) -> Iterator[int]:
    for number in range(end):
        made.append(number)
        yield number


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "read-ahead"]


def test_the_items_come_in_their_order_and_few_before_they_are_asked_for() -> None:
    made: list[int] = []
    with read_ahead(counting(made)) as numbers:
        for number in numbers:
            assert len(made) <= number + 2  # the one in use, and one more
    assert made == list(range(10))
    assert threads() == []


def test_the_next_is_made_while_one_is_used() -> None:
    made: list[int] = []
    with read_ahead(counting(made)) as numbers:
        next(numbers)
        wait_for(lambda: len(made) >= 2, what="the next one is made")


def test_an_error_is_raised_where_the_items_are_used() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise OSError("broken")

    found = []
    with pytest.raises(OSError, match="broken"), read_ahead(failing()) as numbers:
        found.extend(numbers)
    assert found == [1]
    assert threads() == []


def test_no_thread_is_left_when_the_user_leaves() -> None:
    made: list[int] = []
    with read_ahead(counting(made, 1_000_000)) as numbers:
        next(numbers)
    assert len(made) <= 2
    assert threads() == []
