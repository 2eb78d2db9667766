"""The keys of one symbol in a file so far, packed; in a file in order of time nothing is unpacked."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from cift_core.stores.spools import Spool

_WIDTHS = (np.uint8, np.uint16, np.uint32, np.uint64)
_UNITS = (np.uint64(1_000_000_000), np.uint64(1_000_000), np.uint64(1_000))


class SeenKeys:
    """Pairs of time and number, each added once; kept in a spool, so that they take hardly any memory."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._blocks: list[_Block] = []

    def contains(self, times_ns: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Which of these keys, strictly increasing, were added before."""
        found = np.zeros(len(times_ns), dtype=bool)
        for known_times, known_numbers in self._overlapping(times_ns):
            found[positions(times_ns, numbers, known_times, known_numbers)[0]] = True
        return found

    def count(self, times_ns: np.ndarray) -> np.ndarray:
        """How many keys of each of these times, strictly increasing, were added before."""
        counts = np.zeros(len(times_ns), dtype=np.int64)
        for known, _ in self._overlapping(times_ns):
            counts += np.searchsorted(known, times_ns, "right") - np.searchsorted(known, times_ns, "left")
        return counts

    def add(self, times_ns: np.ndarray, numbers: np.ndarray) -> None:
        """Remember these keys, strictly increasing."""
        if len(times_ns):
            first, last = int(times_ns[0]), int(times_ns[-1])
            packed = _Packed(times_ns, self._spool), _Packed(numbers, self._spool)
            self._blocks.append(_Block(first, last, *packed))

    def _overlapping(self, times_ns: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for block in self._blocks:
            if block.first <= times_ns[-1] and times_ns[0] <= block.last:
                yield block.times.unpacked(), block.numbers.unpacked()


@dataclass(frozen=True)
class _Block:
    first: int
    last: int
    times: "_Packed"
    numbers: "_Packed"


class _Packed:
    """Whole numbers, mostly near the one before: their steps, as narrow as they all fit, by Zstandard."""

    def __init__(self, values: np.ndarray, spool: Spool) -> None:
        steps = np.diff(values)
        self._first, self._lowest = int(values[0]), steps.min(initial=0)
        above = (steps - self._lowest).view(np.uint64)  # right also where the difference wraps around
        self._unit = np.uint64(next((unit for unit in _UNITS if _divides(unit, above)), 1))
        above //= self._unit
        widest = above.max(initial=0)
        self._width = next(width for width in _WIDTHS if widest <= np.iinfo(width).max)
        narrow = above.astype(self._width)
        packed = pa.compress(narrow, codec="zstd", asbytes=True)
        self._size_bytes, self._packed_bytes = narrow.nbytes, len(packed)
        self._spool, self._place = spool, spool.append(packed)

    def unpacked(self) -> np.ndarray:
        """The values, int64."""
        packed = self._spool.read(self._place, self._packed_bytes)
        data = pa.decompress(packed, self._size_bytes, codec="zstd")
        above = np.frombuffer(data, dtype=self._width).astype(np.uint64) * self._unit
        steps = above.view(np.int64) + self._lowest
        return np.cumsum(np.append(np.int64(self._first), steps))


def _divides(unit: np.uint64, values: np.ndarray) -> bool:
    return not (values[:100] % unit).any() and not (values % unit).any()


def positions(
    times_ns: np.ndarray, numbers: np.ndarray, other_times: np.ndarray, other_numbers: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The indices of the keys that both have, in ours and in the others; either's keys are all different."""
    count = len(times_ns)
    times, ids = np.concatenate((times_ns, other_times)), np.concatenate((numbers, other_numbers))
    order = np.lexsort((ids, times))  # of equal keys ours comes first
    times, ids = times[order], ids[order]
    second = np.flatnonzero((times[1:] == times[:-1]) & (ids[1:] == ids[:-1])) + 1
    return order[second - 1], order[second] - count
