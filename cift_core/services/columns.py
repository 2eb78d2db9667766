"""Which column of a file is which of ours."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from cift_core.errors import FieldError, did_you_mean
from cift_core.services.market_kinds import Kind
from cift_core.services.timestamps import TimeFormat, quoted, time_type


@dataclass(frozen=True)
class Layout:
    """How a file holds its records: `columns` maps our names to the file's; `symbol` is that of every record,
    or None where a column holds it; how time is written; whether crossed quotes are refused."""

    kind: Kind
    columns: Mapping[str, str]
    symbol: str | None
    time: TimeFormat
    refuses_crossed: bool = False

    def type_of(self, ours: str) -> pa.DataType:
        """What one of our columns is read as where the file's text allows it."""
        if ours == "timestamp":
            return time_type(self.time)
        if ours == self.kind.number:
            return pa.uint64()
        is_word = ours in ("symbol", "side", "buyer_is_maker")
        return pa.dictionary(pa.int32(), pa.string()) if is_word else pa.float64()


def map_columns(
    kind: Kind, names: Sequence[str], symbol_given: bool
) -> tuple[dict[str, str], list[FieldError]]:
    """Our names to the file's, found by their usual names in any case; and what is missing or not clear."""
    columns: dict[str, str] = {}
    errors = []
    for ours in kind.columns:
        usual = kind.usual_names[ours]
        found = [name for name in names if re.sub(r"[\s_-]", "", name).lower() in usual]
        if len(found) == 1:
            columns[ours] = found[0]
        elif found:
            detail = f"{_listed(found)} could each be it; say which in source.columns"
            errors.append(_column_error(ours, detail))
        elif ours in kind.required:
            detail = f"not found among {_listed(names)}; say in source.columns which it is"
            errors.append(_column_error(ours, detail))
    if symbol_given and "symbol" in columns:
        detail = (
            f"the file has a column {quoted(columns['symbol'])}: leave symbol out, or give source.columns"
        )
        errors.append(FieldError("/symbol", detail))
    return columns, errors


def column_errors(names: Sequence[str], columns: Mapping[str, str]) -> list[FieldError]:
    """Every column of the mapping that the file does not have exactly once."""
    errors = []
    for ours, name in columns.items():
        if names.count(name) == 0:
            near = did_you_mean(name, names)
            detail = f"the file has no column {quoted(name)}{near}; it has {_listed(names)}"
            errors.append(_column_error(ours, detail))
        elif names.count(name) > 1:
            detail = f"the file has {names.count(name)} columns {quoted(name)}"
            errors.append(_column_error(ours, detail))
    return errors


def side_errors(columns: Mapping[str, str]) -> list[FieldError]:
    """That two columns say who took, when they do."""
    if {"side", "buyer_is_maker"} <= set(columns):
        detail = "says the same as side; give one of the two in source.columns"
        return [_column_error("buyer_is_maker", detail)]
    return []


def _column_error(ours: str, detail: str) -> FieldError:
    return FieldError(f"/source/columns/{ours}", detail)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(quoted(name) for name in names[:20])
    return f"{shown} and {len(names) - 20} more" if len(names) > 20 else shown
