"""Rows in the order of their keys, and where in it something changes."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from cift_core.services.market_rows import MarketRows


def in_order(rows: MarketRows) -> MarketRows:
    """The rows by symbol, time and number; those of equal keys stay in the order of the file."""
    order = order_of(rows.codes, rows.times_ns, rows.numbers)
    return rows if isinstance(order, slice) else rows.take(order)


def order_of(*columns: np.ndarray) -> np.ndarray | slice:
    """The indices that sort by these columns, the first one first; a slice of all where they are sorted."""
    equal = np.ones(len(columns[0]) - 1, dtype=bool)
    for column in columns:
        steps = np.diff(column)
        if (equal & (steps < 0)).any():
            return np.lexsort(columns[::-1])
        equal &= steps == 0
    return slice(None)


def where_changed(*columns: np.ndarray) -> np.ndarray:
    """Where a row differs from the one before it in any of the columns; the first one does."""
    changed = [np.diff(column) != 0 for column in columns]
    return np.append(True, np.logical_or.reduce(changed))


def equal_rows(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Which rows of values are equal, one missing in both included."""
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    return np.asarray(same.all(axis=1))


def runs(codes: np.ndarray) -> Iterator[slice]:
    """The stretches of equal codes."""
    if not len(codes):
        return iter(())
    edges = np.append(np.flatnonzero(np.append(True, np.diff(codes) != 0)), len(codes))
    return (slice(int(start), int(end)) for start, end in pairwise(edges))
