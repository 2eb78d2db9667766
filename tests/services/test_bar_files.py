"""Lines to bars: what is read, what is refused, and the sentence that says why."""

import csv
import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cift_core.errors import InvalidInput
from cift_core.services.columns import Layout, map_columns
from cift_core.services.csv_records import split_csv
from cift_core.services.market_kinds import BARS
from cift_core.services.market_rows import ParsedChunk, parse_rows
from cift_core.services.timestamps import TimeFormat, timezone_error, unit_error
from cift_core.stores.files import Block

COLUMNS = ("timestamp", "open", "high", "low", "close", "volume", "adjusted_close")
VALUES = BARS.values
NOTHING = np.array([], dtype=np.int64)


def parse(
    data: str | bytes,
    *,
    header: tuple[str, ...] = COLUMNS,
    first_line: int = 1,
    symbol: str | None = "ABC",
    unit: str = "iso",
    timezone: str = "UTC",
) -> ParsedChunk:
    block = Block(first_line, data.encode() if isinstance(data, str) else data)
    columns = {name: name for name in (*COLUMNS, "symbol") if name in header}
    layout = Layout(BARS, columns, symbol, TimeFormat(unit, timezone))
    places = [header.index(name) for name in columns.values()]
    parsed = parse_rows(split_csv(block, len(header), places, list(map(layout.type_of, columns))), layout)
    assert_same(parsed, parse_rows(split_csv(block, len(header), places), layout))
    return parsed


def assert_same(parsed: ParsedChunk, from_text: ParsedChunk) -> None:
    """What is read at once by its types is what is read through text."""
    for ours, theirs in zip(vars(parsed.rows).values(), vars(from_text.rows).values(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert list(parsed.rejects(NOTHING, "")) == list(from_text.rejects(NOTHING, ""))


def rejects(parsed: ParsedChunk) -> list[tuple[int, str]]:
    return [(reject.place, reject.reason) for reject in parsed.rejects(NOTHING, "")]


def reason(line: str, **how: Any) -> str:
    parsed = parse(line + "\n", **how)
    assert len(parsed.rows) == 0
    ((_, found),) = rejects(parsed)
    return found


def bar(**changes: str) -> str:
    values = {
        "timestamp": "2020-01-02",
        "open": "10",
        "high": "12",
        "low": "9",
        "close": "11",
        "volume": "100",
        "adjusted_close": "5.5",
    }
    return ",".join((values | changes).values())


def test_a_good_bar() -> None:
    parsed = parse(bar() + "\n", first_line=2)
    assert rejects(parsed) == []
    assert parsed.records.count == 1
    rows = parsed.rows
    assert (rows.symbols, list(rows.places)) == (["ABC"], [2])
    assert rows.times_ns[0] == datetime(2020, 1, 2, tzinfo=UTC).timestamp() * 1_000_000_000
    assert dict(zip(VALUES, rows.values[0], strict=True)) == {
        "open": 10,
        "high": 12,
        "low": 9,
        "close": 11,
        "volume": 100,
        "adjusted_close": 5.5,
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"open": "10,5"}, "8 fields, expected 7"),
        ({"open": ""}, "open is empty"),
        ({"close": "abc"}, 'close "abc" is not a number'),
        ({"close": "1_0"}, 'close "1_0" is not a number'),
        ({"close": "0x1p3"}, 'close "0x1p3" is not a number'),
        ({"close": "z" * 50}, f'close "{"z" * 39}…" is not a number'),
        ({"high": "NaN"}, 'high "NaN" is not a finite number'),
        ({"high": "-Infinity"}, 'high "-Infinity" is not a finite number'),
        ({"high": "1e999"}, 'high "1e999" is not a finite number'),
        ({"low": "0"}, 'low "0" is not positive'),
        ({"low": "-1"}, 'low "-1" is not positive'),
        ({"open": "8.5"}, "open 8.5 lies outside low 9 .. high 12"),
        ({"close": "12.01"}, "close 12.01 lies outside low 9 .. high 12"),
        (
            {"open": "13", "close": "8"},
            "open 13 lies outside low 9 .. high 12; close 8 lies outside low 9 .. high 12",
        ),
        ({"low": "13"}, "low 13 is above high 12"),
        ({"volume": "-0.5"}, 'volume "-0.5" is negative'),
        ({"volume": "inf"}, 'volume "inf" is not a finite number'),
        ({"volume": "many"}, 'volume "many" is not a number'),
        ({"adjusted_close": "0"}, 'adjusted_close "0" is not positive'),
        ({"adjusted_close": "inf"}, 'adjusted_close "inf" is not a finite number'),
        ({"timestamp": ""}, "timestamp is empty"),
        ({"timestamp": "2020-02-30"}, 'timestamp "2020-02-30" is not an ISO 8601 time'),
        ({"timestamp": "now"}, 'timestamp "now" is not an ISO 8601 time'),
        ({"timestamp": "1969-12-31"}, 'timestamp "1969-12-31" lies outside 1970-01-01 .. 2255-06-04'),
        (
            {"timestamp": "2020-01-01T00:00:00.0000001Z"},
            'timestamp "2020-01-01T00:00:00.0000001Z" is finer than a microsecond',
        ),
        ({"timestamp": "", "open": "x"}, 'timestamp is empty; open "x" is not a number'),
    ],
)
def test_reasons(changes: dict[str, str], expected: str) -> None:
    assert reason(bar(**changes)) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", "the line is empty"),
        ("\r", "the line is empty"),
        ("1,2", "2 fields, expected 7"),
        ("x", "1 field, expected 7"),
        (bar(open="1\0"), "the line contains a NUL byte"),
        (bar(open="1\r2"), "the line contains a carriage return that does not end it"),
        (bar(open='"10'), 'the quotes do not match (a field is quoted as "…", a quote in it doubled)'),
        (
            bar(open='1"0"'),
            'a quote stands inside a field that is not quoted (write it as "…", the quote doubled)',
        ),
    ],
)
def test_lines_that_are_no_records(line: str, expected: str) -> None:
    assert reason(line) == expected


def test_bytes_that_are_no_text_cost_their_line_only() -> None:
    data = f"{bar()}\n".encode() + b"\xff\xfe,1\n" + f"{bar(timestamp='2020-01-03')}\n".encode()
    parsed = parse(data)
    assert len(parsed.rows) == 2
    (reject,) = parsed.rejects(NOTHING, "")
    assert (reject.place, reject.reason, reject.raw) == (2, "the line is not UTF-8 text", "\\xff\\xfe,1")


def test_the_good_lines_around_bad_ones_keep_their_numbers() -> None:
    days = [bar(timestamp=f"2020-01-{day:02d}") for day in range(1, 8)]
    lines = [days[0], "", days[1], "a,b", bar(open="x"), days[2], '"', days[3]]
    for text in ("\n".join(lines) + "\n", "\r\n".join(lines) + "\r\n"):
        parsed = parse(text)
        assert list(parsed.rows.places) == [1, 3, 6, 8]
        assert [line for line, _ in rejects(parsed)] == [2, 4, 5, 7]
        assert parsed.records.count == 8


def test_quoted_fields_and_blanks_are_read() -> None:
    line = '"2020-01-02"," 10 ",12,  9,"11","",5.5'
    parsed = parse(f"{line}\n{bar(timestamp='2020-01-03')}\n")
    assert rejects(parsed) == []
    assert parsed.rows.values[0].tolist()[:4] == [10, 12, 9, 11]


@pytest.mark.parametrize("missing", ["", "NaN", "nan"])
def test_volume_and_adjusted_close_may_be_missing(missing: str) -> None:
    parsed = parse(bar(volume=missing, adjusted_close=missing) + "\n")
    assert np.isnan(parsed.rows.values[0, 4:]).all()
    without = parse("2020-01-02,1,1,1,1\n", header=COLUMNS[:5])
    assert np.isnan(without.rows.values[0, 4:]).all()


@pytest.mark.parametrize(
    "text", ["1", "+1", "1.", ".5", "1e3", "1E-3", "0.1", "123456.78901234567", "5e-324", "1e308"]
)
def test_numbers_are_read_exactly(text: str) -> None:
    for other in ("", "x"):  # with and without an unreadable one in the column
        data = f"{bar(open=text, high=text, low=text, close=text)}\n{bar(volume=other)}\n"
        assert parse(data).rows.values[0, 0] == float(text)


@pytest.mark.parametrize("symbol", ["AAPL", "BRK.B", "EUR/USD", "0700", "a-b_c", "A" * 32])
def test_a_symbol_column(symbol: str) -> None:
    parsed = parse(f"{symbol},{bar()}\n", header=("symbol", *COLUMNS), symbol=None)
    assert parsed.rows.symbols == [symbol]


@pytest.mark.parametrize("symbol", ["", "-A", "A B", "A" * 33, "Ä", "A;B"])
def test_bad_symbols_in_a_column(symbol: str) -> None:
    found = reason(f"{symbol},{bar()}", header=("symbol", *COLUMNS), symbol=None)
    assert found.startswith("symbol ")
    assert "does not match [A-Za-z0-9]" in found


@pytest.mark.parametrize(
    ("unit", "timezone", "text", "expected"),
    [
        ("s", "UTC", "1577934245", "2020-01-02T03:04:05"),
        ("s", "UTC", "1577934245.000001", "2020-01-02T03:04:05.000001"),
        ("ms", "UTC", "1577934245006", "2020-01-02T03:04:05.006"),
        ("ms", "UTC", "1577934245006.500", "2020-01-02T03:04:05.006500"),
        ("us", "UTC", "1577934245000007", "2020-01-02T03:04:05.000007"),
        ("ns", "UTC", "1577934245000007000", "2020-01-02T03:04:05.000007"),
        ("ns", "UTC", "9007113599999999000", "2255-06-04T23:59:59.999999"),
        ("s", "UTC", "0", "1970-01-01"),
        ("s", "UTC", "9007113599.999999", "2255-06-04T23:59:59.999999"),
        ("iso", "UTC", "2020-01-02", "2020-01-02"),
        ("iso", "UTC", "20200102", "2020-01-02"),
        ("iso", "UTC", "2020-01-02 03:04", "2020-01-02T03:04"),
        ("iso", "UTC", "2020-01-02T03:04:05.5Z", "2020-01-02T03:04:05.5"),
        ("iso", "UTC", "2020-01-02T03:04:05+02:00", "2020-01-02T01:04:05"),
        ("iso", "UTC", "2020-01-02T03:04:05-0530", "2020-01-02T08:34:05"),
        ("iso", "UTC", "2255-06-04T23:59:59.999999", "2255-06-04T23:59:59.999999"),
        ("iso", "America/New_York", "2020-01-02 09:30", "2020-01-02T14:30"),
        ("iso", "America/New_York", "2020-07-02 09:30", "2020-07-02T13:30"),
        ("iso", "America/New_York", "2020-07-02 09:30Z", "2020-07-02T09:30"),
        ("iso", "America/New_York", "2014-11-02 01:30-05:00", "2014-11-02T06:30"),
        ("%d.%m.%Y %H:%M", "Europe/Berlin", "02.07.2020 09:30", "2020-07-02T07:30"),
        ("%m/%d/%y %I:%M %p", "UTC", "07/02/20 09:30 PM", "2020-07-02T21:30"),
        ("%Y-%m-%d %H:%M:%S.%f", "UTC", "2020-01-02 03:04:05.000006", "2020-01-02T03:04:05.000006"),
        ("%Y%m%d %H%M%z", "UTC", "20200102 0304+0100", "2020-01-02T02:04"),
    ],
)
def test_times(unit: str, timezone: str, text: str, expected: str) -> None:
    parsed = parse(bar(timestamp=text) + "\n", unit=unit, timezone=timezone)
    assert rejects(parsed) == []
    assert parsed.rows.times_ns.astype("datetime64[ns]")[0] == np.datetime64(expected, "ns")
    assert unit_error(unit) is None
    assert timezone_error(unit, timezone) is None


@pytest.mark.parametrize(
    ("unit", "timezone", "text", "expected"),
    [
        (
            "s",
            "UTC",
            "1577934245006",
            '"1577934245006" lies outside 1970-01-01 .. 2255-06-04 (is the unit s right?)',
        ),
        ("ms", "UTC", "-1", '"-1" lies outside 1970-01-01 .. 2255-06-04 (is the unit ms right?)'),
        ("s", "UTC", "9" * 19, f'"{"9" * 19}" lies outside 1970-01-01 .. 2255-06-04 (is the unit s right?)'),
        ("s", "UTC", "9" * 20, f'"{"9" * 20}" is not a time in s since 1970'),
        ("ms", "UTC", "1.5e12", '"1.5e12" is not a time in ms since 1970'),
        ("ms", "UTC", "2020-01-01", '"2020-01-01" is not a time in ms since 1970'),
        ("us", "UTC", "1.5", '"1.5" is finer than a microsecond'),
        ("s", "UTC", "1.0000001", '"1.0000001" is finer than a microsecond'),
        ("ns", "UTC", "1577934245000007001", '"1577934245000007001" is finer than a microsecond'),
        (
            "iso",
            "America/New_York",
            "2014-03-09 02:30",
            '"2014-03-09 02:30" does not exist in America/New_York (the clock skips it)',
        ),
        (
            "iso",
            "America/New_York",
            "2014-11-02 01:30",
            (
                '"2014-11-02 01:30" happens twice in America/New_York (the clock is put back); '
                "give it with its offset"
            ),
        ),
        ("iso", "America/New_York", "0001-01-01", '"0001-01-01" lies outside 1970-01-01 .. 2255-06-04'),
        (
            "iso",
            "America/New_York",
            "9999-12-31 23:59",
            '"9999-12-31 23:59" lies outside 1970-01-01 .. 2255-06-04',
        ),
        ("iso", "UTC", "1577934245", '"1577934245" is not an ISO 8601 time'),
        ("%d.%m.%Y", "UTC", "31.02.2020", '"31.02.2020" is not a time like %d.%m.%Y'),
        ("%d.%m.%Y", "UTC", "today", '"today" is not a time like %d.%m.%Y'),
    ],
)
def test_bad_times(unit: str, timezone: str, text: str, expected: str) -> None:
    assert reason(bar(timestamp=text), unit=unit, timezone=timezone) == f"timestamp {expected}"


@pytest.mark.parametrize(
    ("unit", "part"),
    [
        ("isoo", 'did you mean "iso"'),
        ("minutes", "strptime pattern"),
        ("%Q", "is not a strptime pattern: 'Q' is a bad directive"),
        ("%H:%M", "must contain year, month and day"),
        ("%d.%m.%Y %", "stray %"),
    ],
)
def test_bad_units(unit: str, part: str) -> None:
    assert part in str(unit_error(unit))


def test_bad_timezones() -> None:
    assert 'did you mean "Europe/Berlin"' in str(timezone_error("iso", "Europe/Berlinn"))
    assert "leave it out" in str(timezone_error("ms", "Europe/Berlin"))
    assert "leave it out" in str(timezone_error("%Y%m%d%z", "Europe/Berlin"))


def test_usual_names_are_found_in_any_spelling() -> None:
    header = ["Date", "OPEN", " High".strip(), "low", "Close", "Adj Close", "Volume", "Dividends"]
    columns, errors = map_columns(BARS, header, symbol_given=True)
    assert errors == []
    assert columns == {
        "timestamp": "Date",
        "open": "OPEN",
        "high": "High",
        "low": "low",
        "close": "Close",
        "volume": "Volume",
        "adjusted_close": "Adj Close",
    }


def test_names_that_are_not_clear() -> None:
    header = ["Date", "Time", "Open", "High", "Close", "Ticker"]
    _, errors = map_columns(BARS, header, symbol_given=True)
    found = {error.pointer: error.detail for error in errors}
    assert found["/source/columns/timestamp"].startswith('"Date", "Time" could each be it')
    assert found["/source/columns/low"].startswith('not found among "Date", "Time", "Open"')
    assert found["/symbol"].startswith('the file has a column "Ticker"')
    assert len(found) == 3
    assert "symbol" in map_columns(BARS, header, symbol_given=False)[0]


def test_a_line_longer_than_any_record_ends_the_file() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(bar() + "\n" + "x" * 70_000 + "\n")
    assert caught.value.code == "line_too_long"
    assert "Line 2 " in caught.value.message


def test_long_lines_are_cut_where_they_are_kept() -> None:
    ((reject),) = parse("é" * 2000 + "\n").rejects(NOTHING, "")
    assert reject.raw == "é" * 499 + "…"


def test_conflicts_are_rejects_in_their_place() -> None:
    parsed = parse(f"x\n{bar()}\n{bar(open='x')}\n{bar()}\n\n")
    found = [(r.place, r.reason) for r in parsed.rejects(np.array([2, 4]), "twice")]
    assert [line for line, _ in found] == [1, 2, 3, 4, 5]
    assert found[1] == (2, "twice")


PIECES = st.sampled_from(
    [
        b",",
        b"\n",
        b"\r\n",
        b"\r",
        b'"',
        b'""',
        b"\x00",
        b"\xff",
        "é".encode(),
        b" ",
        b"1",
        b"2",
        b"-",
        b"nan",
        b"1e9",
        b"2020-01-02",
        b"inf",
        b"now",
        f"{bar()}\n".encode(),
        b"9" * 30,
        b"2020-01-02T25:00",
        b"0001-01-01",
        b"9999-12-31 23:59:59.123456",
        b"2020-01-02T03:04:05.1234567",
        b"2020-01-02T03:04:05Z",
        b"0x1F",
        b"+1",
        b"-0",
        b"\t1",
    ]
)
TIMES = st.sampled_from(
    [
        ("iso", "UTC"),
        ("iso", "America/New_York"),
        ("s", "UTC"),
        ("ns", "UTC"),
        ("%Y-%m-%d", "UTC"),
        ("%Y-%m-%d", "Pacific/Apia"),
        ("%j%Y%p", "UTC"),
    ]
)


@given(st.lists(st.one_of(PIECES, st.binary(max_size=20)), max_size=40), TIMES, st.integers(1, 9))
def test_no_bytes_break_the_parser_and_every_line_is_accounted_for(
    pieces: list[bytes], time: tuple[str, str], first_line: int
) -> None:
    data = b"".join(pieces) + b"\n"
    parsed = parse(data, unit=time[0], timezone=time[1], first_line=first_line)
    refused = list(parsed.rejects(NOTHING, ""))
    lines = sorted([*parsed.rows.places, *(reject.place for reject in refused)])
    assert lines == list(range(first_line, first_line + data.count(b"\n")))
    assert parsed.records.count == len(lines)
    for reject in refused:
        (reject.reason + reject.raw).encode()  # PostgreSQL takes it
        assert "\0" not in reject.raw + reject.reason
    opens, highs, lows, closes = parsed.rows.values[:, :4].T
    assert np.isfinite(parsed.rows.values[:, :4]).all()
    assert ((lows > 0) & (lows <= opens) & (opens <= highs) & (lows <= closes) & (closes <= highs)).all()


FIELD = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["1", "2.5", "", "nan", "x", "1,5", 'a"b', " 3 "]),
)


@given(st.lists(st.lists(FIELD, min_size=6, max_size=8), min_size=1, max_size=8))
def test_it_reads_what_pythons_csv_module_reads(rows: list[list[str]]) -> None:
    lines = []
    for row in rows:
        quoted = ['"' + field.replace('"', '""') + '"' if set(field) & set(',"') else field for field in row]
        lines.append(",".join(["2020-01-02", *quoted]))
    parsed = parse("".join(line + "\n" for line in lines))
    expected = [
        row for row in csv.reader(lines) if len(row) == 7 and _is_good([field.strip() for field in row[1:]])
    ]
    assert len(parsed.rows) == len(expected)
    for values, row in zip(parsed.rows.values, expected, strict=True):
        theirs = [float(field) if field.strip() else math.nan for field in row[1:]]
        assert np.array_equal(values, theirs, equal_nan=True)


def _is_good(fields: list[str]) -> bool:
    try:
        opens, high, low, close = (float(field) for field in fields[:4])
        volume, adjusted = (float(field) if field else math.nan for field in fields[4:])
    except ValueError:
        return False
    prices = all(math.isfinite(price) and price > 0 for price in (opens, high, low, close))
    return (
        prices
        and low <= min(opens, close)
        and max(opens, close) <= high
        and not volume < 0
        and not adjusted <= 0
    )
