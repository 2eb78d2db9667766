"""Columns of a chunk as numbers, and everything that is wrong with them, each with its sentence."""

from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cift_core.services.market_kinds import BARS, QUOTES, SIDES, SYMBOL, Kind
from cift_core.services.timestamps import Fault, quoted

Text = Callable[[str, int], str]  # one value of a column as it stands in the file, by our name and its row
_NUMBER = r"\A[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\z|\A(?i:[+-]?(?:nan|inf|infinity))\z"
_SIDES = {"buy": 1.0, "b": 1.0, "sell": -1.0, "s": -1.0}
_MAKER = {"true": -1.0, "t": -1.0, "1": -1.0, "false": 1.0, "f": 1.0, "0": 1.0}
_MAX_ID = 2**63 - 1
_BLANKS = " \t\n\v\f\r"


def read_values(kind: Kind, columns: Mapping[str, pa.Array], text: Text) -> tuple[np.ndarray, list[Fault]]:
    """The kind's values as float64[n, k], NaN where one is missing (or faulty), and the faults."""
    count = len(columns["timestamp"])
    values = np.empty((count, len(kind.values)), order="F")
    faults: list[Fault] = []
    for place, name in enumerate(kind.values):
        if name == "side":
            values[:, place], found = read_sides(columns, count, text)
        elif name in columns:
            values[:, place], found = _numbers(kind, name, columns[name], text)
        else:
            values[:, place], found = np.nan, []
        faults += found
    if kind is BARS:
        faults += _impossible_bars(values, text)
    return values, faults


def crossed_quotes(values: np.ndarray, text: Text) -> Fault:
    """What is wrong with quotes whose bid is above their ask, for who wants none of them."""
    crossed = values[:, QUOTES.values.index("bid")] > values[:, QUOTES.values.index("ask")]
    return Fault(crossed, lambda row: f"bid {text('bid', row)} is above ask {text('ask', row)}")


def read_symbols(column: pa.Array, text: Text) -> tuple[tuple[str, ...], np.ndarray, list[Fault]]:
    """The different symbols, the index among them of each record's (int32), and the faults."""
    codes, words = _words(column)
    bad_word = np.array([SYMBOL.fullmatch(word) is None for word in words], dtype=bool)
    if not bad_word.any():
        return words, codes, []
    fault = Fault(
        bad_word[codes], lambda row: f"symbol {_shown(text, 'symbol', row)} does not match {SYMBOL.pattern}"
    )
    return words, codes, [fault]


def read_ids(name: str, column: pa.Array, text: Text) -> tuple[np.ndarray, list[Fault]]:
    """The ids as int64 (0 where faulty), and the faults."""
    if pa.types.is_integer(column.type):
        values = pc.fill_null(column, 0).to_numpy()
        digits = ~mask(column.is_null()) & (values >= 0)
    else:
        words = as_text(column)
        digits = mask(pc.match_substring_regex(words, r"\A\d{1,19}\z"))
        values = pc.cast(pc.if_else(pa.array(digits), words, "0"), pa.uint64()).to_numpy(zero_copy_only=False)
    bad = ~digits | (values > _MAX_ID)

    def reason(row: int) -> str:
        return (
            f"{name} {_shown(text, name, row)} is not a whole number of at most 63 bits "
            f"(without {name} in source.columns trades are numbered within their time)"
        )

    return np.where(bad, 0, values).astype(np.int64), [Fault(bad, reason)]


def read_sides(
    columns: Mapping[str, pa.Array], count: int, text: Text
) -> tuple[np.ndarray | float, list[Fault]]:
    """1 where a buyer took, -1 where a seller did, NaN where nobody says, and the faults."""
    name = next((name for name in ("side", "buyer_is_maker") if name in columns), None)
    if name is None or not count:
        return np.nan, []
    known, right = (
        (_SIDES, " nor ".join(SIDES)) if name == "side" else (_MAKER, "true (the aggressor sold) nor false")
    )
    codes, words = _words(columns[name])
    of_word = np.array([known.get(word.lower(), np.nan) for word in words], dtype=np.float64)
    bad_word = np.array([word.lower() not in known and word != "" for word in words], dtype=bool)
    fault = Fault(bad_word[codes], lambda row: f"{name} {_shown(text, name, row)} is neither {right}")
    return of_word[codes], [fault]


def as_text(column: pa.Array) -> pa.StringArray:
    """The column as text, a missing value as empty text."""
    return column if pa.types.is_string(column.type) else pc.fill_null(pc.cast(column, pa.string()), "")


def mask(values: pa.BooleanArray) -> np.ndarray:
    """A mask that may be written to: arrow's own memory is read-only."""
    return np.array(values.to_numpy(zero_copy_only=False), dtype=bool)


def _words(column: pa.Array) -> tuple[np.ndarray, tuple[str, ...]]:
    """Each record's index (int32) among the column's different words, and those, without blanks around."""
    if not pa.types.is_dictionary(column.type):
        column = pc.dictionary_encode(as_text(column))
    words = [word.strip(_BLANKS) for word in column.dictionary.to_pylist()]
    codes = column.indices.to_numpy(zero_copy_only=False)
    different = tuple(dict.fromkeys(words))
    if len(different) < len(words):
        place = {word: index for index, word in enumerate(different)}
        codes = np.array([place[word] for word in words], dtype=np.int32)[codes]
    return codes, different


def _shown(text: Text, name: str, row: int) -> str:
    return quoted(text(name, row))


def _numbers(kind: Kind, name: str, column: pa.Array, text: Text) -> tuple[np.ndarray, list[Fault]]:
    figures, empty, readable = _figures(column)
    is_price = name in kind.prices
    may_be_zero = name in kind.amounts and not kind.amounts_positive
    lowest, highest = (figures.min(), figures.max()) if len(figures) else (np.nan, np.nan)
    if highest < np.inf and (lowest > 0 or (may_be_zero and lowest == 0)):
        return figures, []

    def says(what: str) -> Callable[[int], str]:
        return lambda row: f"{name} {_shown(text, name, row)} {what}"

    finite = np.isfinite(figures)
    infinite = readable & ~finite if is_price else np.isinf(figures)
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
        return figures.to_numpy(zero_copy_only=False), empty, ~empty
    empty = mask(pc.equal(column, ""))
    try:
        readable = ~empty
        values = pc.cast(pc.if_else(pa.array(readable), column, None), pa.float64())
    except pa.ArrowInvalid:
        readable = mask(pc.match_substring_regex(column, _NUMBER))
        values = pc.cast(pc.if_else(pa.array(readable), column, None), pa.float64())
    return values.to_numpy(zero_copy_only=False), empty, readable


def _impossible_bars(values: np.ndarray, text: Text) -> list[Fault]:
    opens, highs, lows, closes = values[:, :4].T
    if (lows <= np.minimum(opens, closes)).all() and (highs >= np.maximum(opens, closes)).all():
        return []
    prices_hold = (np.isfinite(values[:, :4]) & (values[:, :4] > 0)).all(axis=1)

    def outside(name: str) -> Fault:
        prices = {"open": opens, "close": closes}[name]
        return Fault(
            prices_hold & (lows <= highs) & ((prices < lows) | (prices > highs)),
            lambda row: (
                f"{name} {text(name, row)} lies outside low {text('low', row)} .. high {text('high', row)}"
            ),
        )

    crossed = Fault(
        prices_hold & (lows > highs),
        lambda row: f"low {text('low', row)} is above high {text('high', row)}",
    )
    return [crossed, outside("open"), outside("close")]
