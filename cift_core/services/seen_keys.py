"""The keys of one symbol in a file so far, packed; in a file in order of time nothing is unpacked."""

import zlib
from collections.abc import Iterator

import numpy as np


class SeenKeys:
    """Pairs of time and number, each added once."""

    def __init__(self) -> None:
        self._blocks: list[tuple[int, int, int, bytes]] = []

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
            steps = np.concatenate((np.diff(times_ns), numbers[:1], np.diff(numbers)))
            packed = zlib.compress(steps.tobytes(), level=1)
            self._blocks.append((int(times_ns[0]), int(times_ns[-1]), len(times_ns), packed))

    def _overlapping(self, times_ns: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for first, last, count, packed in self._blocks:
            if first <= times_ns[-1] and times_ns[0] <= last:
                steps = np.frombuffer(zlib.decompress(packed), dtype=np.int64)
                yield first + np.append(0, np.cumsum(steps[: count - 1])), np.cumsum(steps[count - 1 :])


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
