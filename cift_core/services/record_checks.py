"""Columns of a chunk as numbers, and everything that is wrong with them, each with its sentence."""

from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cift_core.services.market_kinds import BARS, SIDES, SYMBOL, Kind
from cift_core.services.timestamps import Fault, quoted

Columns = Mapping[str, pa.Array]
_NUMBER = r"\A[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\z|\A(?i:[+-]?(?:nan|inf|infinity))\z"
_SIDES = {"buy": 1.0, "b": 1.0, "sell": -1.0, "s": -1.0}
_MAKER = {"true": -1.0, "t": -1.0, "1": -1.0, "false": 1.0, "f": 1.0, "0": 1.0}
_MAX_ID = 2**63 - 1


def read_values(kind: Kind, columns: Columns) -> tuple[np.ndarray, list[Fault]]:
    """The kind's values as float64[n, k], NaN where one is missing (or faulty), and the faults."""
    count = len(columns["timestamp"])
    values = np.full((count, len(kind.values)), np.nan)
    faults: list[Fault] = []
    for place, name in enumerate(kind.values):
        if name == "side":
            values[:, place], found = read_sides(columns, count)
        elif name in columns:
            values[:, place], found = _numbers(kind, name, columns[name])
        else:
            continue
        faults += found
    if kind is BARS:
        faults += _impossible_bars(values, columns)
    return values, faults


def read_symbols(column: pa.Array) -> tuple[np.ndarray, list[Fault]]:
    """The symbols as text (object), and the faults."""
    text = as_text(column)
    bad = ~mask(pc.match_substring_regex(text, rf"\A{SYMBOL.pattern}\z"))
    fault = Fault(bad, lambda row: f"symbol {shown(text, row)} does not match {SYMBOL.pattern}")
    return text.to_numpy(zero_copy_only=False), [fault]


def read_ids(name: str, column: pa.Array) -> tuple[np.ndarray, list[Fault]]:
    """The ids as int64 (0 where faulty), and the faults."""
    text = as_text(column)
    digits = mask(pc.match_substring_regex(text, r"\A\d{1,19}\z"))
    values = pc.cast(pc.if_else(pa.array(digits), text, "0"), pa.uint64()).to_numpy(zero_copy_only=False)
    bad = ~digits | (values > _MAX_ID)

    def reason(row: int) -> str:
        return (
            f"{name} {shown(text, row)} is not a whole number of at most 63 bits "
            f"(without {name} in source.columns trades are numbered within their time)"
        )

    return np.where(bad, 0, values).astype(np.int64), [Fault(bad, reason)]


def read_sides(columns: Columns, count: int) -> tuple[np.ndarray, list[Fault]]:
    """1 where a buyer took, -1 where a seller did, NaN where nobody says, and the faults."""
    name = next((name for name in ("side", "buyer_is_maker") if name in columns), None)
    if name is None:
        return np.full(count, np.nan), []
    known, right = (
        (_SIDES, " nor ".join(SIDES)) if name == "side" else (_MAKER, "true (the aggressor sold) nor false")
    )
    text = as_text(columns[name])
    encoded = pc.dictionary_encode(pc.utf8_lower(text))
    words = encoded.dictionary.to_pylist()
    of_word = np.array([known.get(word, np.nan) for word in words], dtype=np.float64)
    bad_word = np.array([word not in known and word != "" for word in words], dtype=bool)
    places = encoded.indices.to_numpy(zero_copy_only=False)
    if not len(places):
        return np.empty(0), []
    fault = Fault(bad_word[places], lambda row: f"{name} {shown(text, row)} is neither {right}")
    return of_word[places], [fault]


def as_text(column: pa.Array) -> pa.StringArray:
    """The column as text, a missing value as empty text."""
    return column if pa.types.is_string(column.type) else pc.fill_null(pc.cast(column, pa.string()), "")


def shown(column: pa.Array, row: int) -> str:
    """One value of a column, in quotes, cut."""
    return quoted(_figure(column, row))


def mask(values: pa.BooleanArray) -> np.ndarray:
    """A mask that may be written to: arrow's own memory is read-only."""
    return np.array(values.to_numpy(zero_copy_only=False), dtype=bool)


def _numbers(kind: Kind, name: str, column: pa.Array) -> tuple[np.ndarray, list[Fault]]:
    figures, empty, readable = _figures(column)

    def says(what: str) -> Callable[[int], str]:
        return lambda row: f"{name} {shown(column, row)} {what}"

    is_price = name in kind.prices
    finite = np.isfinite(figures)
    infinite = readable & ~finite if is_price else np.isinf(figures)
    may_be_zero = name in kind.amounts and not kind.amounts_positive
    faults = [
        Fault(~empty & ~readable, says("is not a number")),
        Fault(infinite, says("is not a finite number")),
        Fault(finite & (figures < 0), says("is negative"))
        if may_be_zero
        else Fault(finite & (figures <= 0), says("is not positive")),
    ]
    if is_price:
        faults.append(Fault(empty, lambda _: f"{name} is empty"))
    return figures, faults


def _figures(column: pa.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The column as float64 (NaN where it has no number), which values are empty, which are numbers."""
    if not pa.types.is_string(column.type):
        empty = mask(column.is_null())
        figures = pc.cast(column, pa.float64(), safe=False)
        return np.array(figures.to_numpy(zero_copy_only=False), dtype=np.float64), empty, ~empty
    empty = mask(pc.equal(column, ""))
    try:
        readable = ~empty
        values = pc.cast(pc.if_else(pa.array(readable), column, None), pa.float64())
    except pa.ArrowInvalid:
        readable = mask(pc.match_substring_regex(column, _NUMBER))
        values = pc.cast(pc.if_else(pa.array(readable), column, None), pa.float64())
    return np.array(values.to_numpy(zero_copy_only=False), dtype=np.float64), empty, readable


def _impossible_bars(values: np.ndarray, columns: Columns) -> list[Fault]:
    opens, highs, lows, closes = (values[:, column] for column in range(4))
    prices_hold = (np.isfinite(values[:, :4]) & (values[:, :4] > 0)).all(axis=1)

    def outside(name: str) -> Fault:
        prices = {"open": opens, "close": closes}[name]
        return Fault(
            prices_hold & (lows <= highs) & ((prices < lows) | (prices > highs)),
            lambda row: (
                f"{name} {_figure(columns[name], row)} lies outside low {_figure(columns['low'], row)} .. "
                f"high {_figure(columns['high'], row)}"
            ),
        )

    crossed = Fault(
        prices_hold & (lows > highs),
        lambda row: f"low {_figure(columns['low'], row)} is above high {_figure(columns['high'], row)}",
    )
    return [crossed, outside("open"), outside("close")]


def _figure(column: pa.Array, row: int) -> str:
    return str(column[row].as_py())
