"""The conversions between `datetime`, nanoseconds and RFC 3339."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cift_core.clock import from_ns, rfc3339, to_ns, utc_now

NS = st.integers(-(2**63), 2**63 - 1)


def test_now_is_aware_and_utc() -> None:
    before = datetime.now(UTC)
    now = utc_now()
    assert before <= now <= datetime.now(UTC)
    assert now.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("moment", "ts_ns"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), 0),
        (datetime(2024, 8, 8, 23, 54, 15, 342_001, tzinfo=UTC), 1_723_161_255_342_001_000),
        (datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), -1_000),
        (datetime(2024, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), 1_704_067_200_000_000_000),
    ],
)
def test_datetime_to_nanoseconds_and_back(moment: datetime, ts_ns: int) -> None:
    assert to_ns(moment) == ts_ns
    assert from_ns(ts_ns) == moment
    assert from_ns(ts_ns).tzinfo is UTC


def test_nanoseconds_are_cut_to_the_microsecond_towards_the_past() -> None:
    assert from_ns(1_999) == datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
    assert from_ns(-1) == datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)


def test_a_naive_datetime_is_no_moment() -> None:
    with pytest.raises(TypeError):
        to_ns(datetime(2024, 1, 1))  # noqa: DTZ001  that is the point


@pytest.mark.parametrize(
    ("ts_ns", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_723_161_255_342_000_000, "2024-08-08T23:54:15.342Z"),
        (1_723_161_255_342_001_000, "2024-08-08T23:54:15.342001Z"),
        (1_723_161_255_342_001_002, "2024-08-08T23:54:15.342001002Z"),
        (100_000_000, "1970-01-01T00:00:00.100Z"),
        (1, "1970-01-01T00:00:00.000000001Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (-1_000_000_000, "1969-12-31T23:59:59Z"),
        (2**63 - 1, "2262-04-11T23:47:16.854775807Z"),
        (-(2**63), "1677-09-21T00:12:43.145224192Z"),
    ],
)
def test_rfc3339_has_as_many_digits_as_the_time(ts_ns: int, text: str) -> None:
    assert rfc3339(ts_ns) == text


@given(NS)
def test_rfc3339_loses_nothing(ts_ns: int) -> None:
    head, _, digits = rfc3339(ts_ns).removesuffix("Z").partition(".")
    seconds = to_ns(datetime.fromisoformat(head).replace(tzinfo=UTC))
    assert seconds + int(digits.ljust(9, "0")) == ts_ns


@given(NS)
def test_the_order_of_the_texts_of_one_length_is_the_order_of_the_times(ts_ns: int) -> None:
    later = ts_ns + 1
    if len(rfc3339(ts_ns)) == len(rfc3339(later)):
        assert rfc3339(ts_ns) < rfc3339(later)


@given(st.datetimes(timezones=st.just(UTC)))
def test_every_datetime_comes_back(moment: datetime) -> None:
    assert from_ns(to_ns(moment)) == moment
