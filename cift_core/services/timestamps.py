"""Text as moments in time, a column at a time, with a reason for each text that is none."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from cift_core.errors import did_you_mean

EPOCH_UNITS = {"s": 9, "ms": 6, "us": 3, "ns": 0}  # the power of ten that makes nanoseconds
MIN_NS = 0  # what can be read back exactly, also as a float64 of microseconds: 1970 ..
MAX_NS = 9_007_113_599_999_999_999  # .. 2255-06-04T23:59:59.999999999Z
_BAD_NS = -1
_UNIT_NS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_UNIT_NAMES = {1: "nanosecond", 1_000: "microsecond"}
_ISO_DATE = r"\d{4}-?\d{2}-?\d{2}"
_ISO_ZONE = r"(?:Z|[+-]\d{2}(?::?\d{2})?)"
_ISO = rf"\A{_ISO_DATE}(?:[T ]\d{{2}}(?::?\d{{2}}(?::?\d{{2}}(?:\.\d{{1,9}})?)?)? ?{_ISO_ZONE}?)?\z"
_ISO_ZONED = rf"[T ].*{_ISO_ZONE}\z"
_PROBE = datetime(2011, 11, 23, 13, 14, 15, tzinfo=UTC)


@dataclass(frozen=True)
class TimeFormat:
    """How a file writes time: `unit` is s, ms, us, ns, iso or a strptime pattern.

    `timezone` (IANA) is that of times without an offset.
    """

    unit: str
    timezone: str


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with some records: which of them, and the sentence for one, by its index."""

    mask: np.ndarray
    reason: Callable[[int], str]


def unit_error(unit: str) -> str | None:
    """Why this is no `timestamp_unit`, or None."""
    if unit in EPOCH_UNITS or unit == "iso":
        return None
    if "%" not in unit:
        near = did_you_mean(unit, [*EPOCH_UNITS, "iso"])
        return f"must be s, ms, us, ns, iso or a strptime pattern such as '%d.%m.%Y %H:%M'{near}"
    try:
        parsed = pd.to_datetime([_PROBE.strftime(unit)], format=unit, utc=True)[0]
    except ValueError as error:
        return f"is not a strptime pattern: {error}"
    if parsed.date() != _PROBE.date():
        return "must contain year, month and day, such as '%d.%m.%Y %H:%M'"
    return None


def timezone_error(unit: str, timezone: str) -> str | None:
    """Why this time zone can't be used with the unit, or None."""
    if timezone not in _timezones():
        near = did_you_mean(timezone, _timezones())
        return f"must be an IANA time zone such as 'America/New_York'{near}"
    if timezone != "UTC" and (unit in EPOCH_UNITS or "%z" in unit or "%Z" in unit):
        return "leave it out: these timestamps say by themselves which moment they are"
    return None


def time_type(form: TimeFormat) -> pa.DataType:
    """What such times are read as where the file's text allows it; text where only `parse_times` can."""
    if form.unit in EPOCH_UNITS:
        return pa.int64()
    # not nanoseconds: Arrow lets the year 9999 overflow them
    return pa.timestamp("us") if (form.unit, form.timezone) == ("iso", "UTC") else pa.string()


def parse_times(
    column: pa.Array, form: TimeFormat, unit_ns: int, text: Callable[[int], str]
) -> tuple[np.ndarray, list[Fault]]:
    """Nanoseconds since the epoch, int64 (any value where there is a fault), and the faults.

    `column` is text, numbers since the epoch, or moments; of moments the form is not looked at, but for the
    time zone of those that name none. `text` is one value as it stands in the file. Nothing is rounded: a
    time finer than `unit_ns` (1 or 1,000) is a fault, and so is a local time that the time zone's clock
    skips or shows twice.
    """
    epoch = form.unit in EPOCH_UNITS and not pa.types.is_timestamp(column.type)
    hint = f" (is the unit {form.unit} right?)" if epoch else ""
    times_ns, empty, unreadable, finer = _read_times(column, form)
    unreadable &= ~empty
    outside = ~(empty | unreadable | finer) & ((times_ns < MIN_NS) | (times_ns > MAX_NS))
    if unit_ns > 1:
        finer |= ~(empty | unreadable | outside) & (times_ns % unit_ns != 0)

    def why_unreadable(row: int) -> str:
        what = "an ISO 8601 time" if form.unit == "iso" else f"a time like {form.unit}"
        what = f"a time in {form.unit} since 1970" if epoch else what
        return _local_fault(text(row), form) or f"timestamp {quoted(text(row))} is not {what}"

    def says(what: str) -> Callable[[int], str]:
        return lambda row: f"timestamp {quoted(text(row))} {what}"

    return times_ns, [
        Fault(empty, lambda _: "timestamp is empty"),
        Fault(unreadable, why_unreadable),
        Fault(finer, says(f"is finer than a {_UNIT_NAMES[unit_ns]}")),
        Fault(outside, says(f"lies outside 1970-01-01 .. 2255-06-04{hint}")),
    ]


def _read_times(column: pa.Array, form: TimeFormat) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Nanoseconds, what is empty, what is no time, and what is finer than a nanosecond."""
    if pa.types.is_timestamp(column.type):
        times_ns, unreadable, finer = _moments(column, form)
        return times_ns, _mask(column.is_null()), unreadable, finer
    if pa.types.is_integer(column.type) and form.unit in EPOCH_UNITS:
        counts = pc.fill_null(column, 0).to_numpy()
        unreadable, finer = np.zeros((2, len(counts)), dtype=bool)
        return _scaled(counts, 10 ** EPOCH_UNITS[form.unit]), _mask(column.is_null()), unreadable, finer
    text = _epoch_text(column)
    read = _epoch(text, EPOCH_UNITS[form.unit]) if form.unit in EPOCH_UNITS else _calendar(text, form)
    times_ns, unreadable, finer = read
    return times_ns, _mask(pc.equal(text, "")), unreadable, finer


def quoted(text: str) -> str:
    """The text in quotes, cut to 40 characters."""
    text = text.replace("\0", "\\x00")
    return f'"{text}"' if len(text) <= 40 else f'"{text[:39]}…"'


def _epoch_text(column: pa.Array) -> pa.StringArray:
    if pa.types.is_string(column.type):
        return column
    if pa.types.is_floating(column.type):
        # a whole number without its exponent
        whole = pc.and_(pc.equal(pc.floor(column), column), pc.less(pc.abs(column), 2.0**63))
        digits = pc.cast(pc.if_else(whole, column, 0.0), pa.int64(), safe=False)
        column = pc.if_else(whole, pc.cast(digits, pa.string()), pc.cast(column, pa.string()))
    return pc.fill_null(pc.cast(column, pa.string()), "")


def _epoch(text: pa.StringArray, power: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nanoseconds, what is no number, and what is finer than a nanosecond."""
    parts = pc.extract_regex(text, r"\A(?P<sign>[+-]?)(?P<whole>\d{1,19})(?:\.(?P<part>\d{0,18}))?\z")
    unreadable = _mask(pc.is_null(parts))
    whole = _integers(pc.struct_field(parts, "whole"))
    part = pc.fill_null(pc.struct_field(parts, "part"), "")
    finer = _mask(pc.match_substring_regex(pc.utf8_slice_codeunits(part, power), "[1-9]"))
    beyond = whole > MAX_NS // 10**power
    times_ns = np.where(beyond, _BAD_NS, whole) * 10**power
    if power:
        kept = pc.utf8_slice_codeunits(pc.utf8_rpad(part, power, "0"), 0, power)
        times_ns += np.where(beyond, 0, _integers(kept))
    negative = _mask(pc.fill_null(pc.equal(pc.struct_field(parts, "sign"), "-"), False)) & (times_ns != 0)
    return np.where(negative, _BAD_NS, times_ns), unreadable, finer & ~unreadable


def _moments(column: pa.Array, form: TimeFormat) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if column.type.tz is None and form.timezone != "UTC":
        return _localized(pd.DatetimeIndex(column.to_pandas()), ZoneInfo(form.timezone))
    counts = pc.fill_null(pc.cast(column, pa.int64()), 0).to_numpy(zero_copy_only=False)
    nothing = np.zeros(len(counts), dtype=bool)
    return _scaled(counts, _UNIT_NS[column.type.unit]), nothing, nothing.copy()


def _calendar(text: pa.StringArray, form: TimeFormat) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # pandas reads "now" and "today" too
    plausible = _mask(pc.match_substring_regex(text, _ISO if form.unit == "iso" else r"\d"))
    values = text.to_numpy(zero_copy_only=False)
    if form.timezone == "UTC":
        return _nanos(_read(values, plausible, form, utc=True))
    zoned = _mask(pc.match_substring_regex(text, _ISO_ZONED)) & (form.unit == "iso")
    exact = _nanos(_read(values, plausible & zoned, form, utc=True))
    local = _localized(_read(values, plausible & ~zoned, form, utc=False), ZoneInfo(form.timezone))
    times_ns, unreadable, finer = (np.where(zoned, *pair) for pair in zip(exact, local, strict=True))
    return times_ns, unreadable, finer


def _localized(naive: pd.DatetimeIndex, timezone: ZoneInfo) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # Python's time zones end with the year 9999, and so do ours
    inside = np.asarray((naive.year >= 1969) & (naive.year <= 9998))
    local = pd.DatetimeIndex(naive.where(inside)).tz_localize(timezone, ambiguous="NaT", nonexistent="NaT")
    times_ns, unreadable, finer = _nanos(local.tz_convert("UTC"))
    outside = ~inside & np.asarray(naive.notna())
    return np.where(outside, _BAD_NS, times_ns), unreadable & ~outside, finer


def _nanos(index: pd.DatetimeIndex) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nanoseconds, what is no time, and what is finer than a nanosecond: nothing."""
    unreadable = np.asarray(index.isna())
    counts = np.where(unreadable, 0, np.asarray(index.asi8))
    return _scaled(counts, _UNIT_NS[index.unit]), unreadable, np.zeros(len(index), dtype=bool)


def _scaled(counts: np.ndarray, unit_ns: int) -> np.ndarray:
    beyond = (counts < 0) | (counts > MAX_NS // unit_ns)
    if not beyond.any():
        return np.asarray(counts, dtype=np.int64) * unit_ns
    return np.where(beyond, _BAD_NS, np.where(beyond, 0, counts).astype(np.int64) * unit_ns)


def _read(values: np.ndarray, which: np.ndarray, form: TimeFormat, *, utc: bool) -> pd.DatetimeIndex:
    chosen = values.copy()
    chosen[~which] = None
    pattern = "ISO8601" if form.unit == "iso" else form.unit
    return pd.DatetimeIndex(pd.to_datetime(pd.Index(chosen), format=pattern, errors="coerce", utc=utc))


def _local_fault(text: str, form: TimeFormat) -> str | None:
    """Why a text that is a time is none in the time zone; None when it is no time at all."""
    if form.timezone == "UTC" or not re.search(r"\d", text):
        return None
    pattern = "ISO8601" if form.unit == "iso" else form.unit
    moment = pd.to_datetime([text], format=pattern, errors="coerce", utc=True)[0]
    if pd.isna(moment) or not 1970 <= moment.year <= 9998:
        return None
    local = moment.to_pydatetime(warn=False).replace(tzinfo=ZoneInfo(form.timezone))
    if local.astimezone(UTC).astimezone(local.tzinfo).replace(tzinfo=None) != local.replace(tzinfo=None):
        return f"timestamp {quoted(text)} does not exist in {form.timezone} (the clock skips it)"
    why = "happens twice in {} (the clock is put back); give it with its offset"
    return f"timestamp {quoted(text)} {why.format(form.timezone)}"


def _integers(text: pa.StringArray) -> np.ndarray:
    values = pc.cast(pc.fill_null(text, "0"), pa.uint64()).to_numpy(zero_copy_only=False)
    return np.asarray(np.minimum(values, np.iinfo(np.int64).max), dtype=np.int64)


def _mask(values: pa.BooleanArray) -> np.ndarray:
    # a copy: arrow's own memory is read-only
    return np.array(values.to_numpy(zero_copy_only=False), dtype=bool)


@lru_cache(maxsize=1)
def _timezones() -> frozenset[str]:
    return frozenset(available_timezones())
