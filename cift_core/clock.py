"""UTC time: now, and the conversions between `datetime`, int64 nanoseconds and RFC 3339."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NS_PER_S = 1_000_000_000


def utc_now() -> datetime:
    """The current time, aware, UTC."""
    return datetime.now(UTC)


def to_ns(moment: datetime) -> int:
    """Nanoseconds since the epoch of an aware datetime (exact: datetimes are whole microseconds)."""
    return (moment - EPOCH) // timedelta(microseconds=1) * 1_000


def from_ns(ts_ns: int) -> datetime:
    """The aware UTC datetime of nanoseconds since the epoch, cut to the microsecond."""
    return EPOCH + timedelta(microseconds=ts_ns // 1_000)


def rfc3339(ts_ns: int) -> str:
    """`2024-08-08T23:54:15.342Z`: as many digits as the time has (0, 3, 6 or 9)."""
    seconds, ns = divmod(ts_ns, NS_PER_S)
    text = from_ns(seconds * NS_PER_S).strftime("%Y-%m-%dT%H:%M:%S")
    if ns == 0:
        return text + "Z"
    digits = f"{ns:09d}"
    for width in (3, 6):
        if digits[width:].strip("0") == "":
            return f"{text}.{digits[:width]}Z"
    return f"{text}.{digits}Z"
