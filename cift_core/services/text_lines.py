"""The lines of a block of text: where each starts and ends, and what is wrong with its bytes."""

from collections.abc import Iterator

import numpy as np

from cift_core.services.records import cut
from cift_core.stores.files import MAX_LINE_BYTES, Block, line_too_long

OK, SHAPE, _EMPTY, _NUL, _RETURN, _ENCODING = range(6)
_REASONS = {
    _EMPTY: "the line is empty",
    _NUL: "the line contains a NUL byte",
    _RETURN: "the line contains a carriage return that does not end it",
    _ENCODING: "the line is not UTF-8 text",
}
_NEWLINE, _CARRIAGE_RETURN = b"\n\r"


class Lines:
    """The lines of a block; `fault` says of each what is wrong with its bytes, OK if nothing.

    Raises:
        InvalidInput: `line_too_long`.
    """

    def __init__(self, block: Block) -> None:
        self.first_line = block.first_line
        self.data = block.data
        self.bytes = np.frombuffer(block.data, dtype=np.uint8)
        self.ends = np.flatnonzero(self.bytes == _NEWLINE)
        self.starts = np.concatenate(([0], self.ends[:-1] + 1))
        lengths = self.ends - self.starts
        if lengths.max() > MAX_LINE_BYTES:
            raise line_too_long(self.first_line + int(np.argmax(lengths > MAX_LINE_BYTES)))
        self.fault = np.full(len(self.ends), OK, dtype=np.int8)
        self._find_faults(lengths)

    def __len__(self) -> int:
        return len(self.ends)

    def line(self, row: int) -> bytes:
        """The bytes of a line, without its end."""
        return self.data[self.starts[row] : self.ends[row]].removesuffix(b"\r")

    def raw(self, row: int) -> str:
        """The line's text, cut; what is no text is shown as escapes."""
        return cut(self.line(row).decode("utf-8", errors="backslashreplace"))

    def reason(self, row: int) -> str:
        """What is wrong with the line's bytes."""
        return _REASONS[int(self.fault[row])]

    def faulty(self) -> Iterator[int]:
        """The index of every line with a fault, in order."""
        return (int(row) for row in np.flatnonzero(self.fault))

    def _find_faults(self, lengths: np.ndarray) -> None:
        high = np.flatnonzero(self.bytes >= 128)
        if len(high):
            for row in np.unique(np.searchsorted(self.ends, high)):
                if not _is_utf8(self.data[self.starts[row] : self.ends[row]]):
                    self.fault[row] = _ENCODING
        returns = np.flatnonzero(self.bytes == _CARRIAGE_RETURN)
        inside = returns[self.bytes[returns + 1] != _NEWLINE]
        self.fault[np.searchsorted(self.ends, inside)] = _RETURN
        self.fault[np.searchsorted(self.ends, np.flatnonzero(self.bytes == 0))] = _NUL
        self.fault[(lengths == 0) | ((lengths == 1) & (self.bytes[self.starts] == _CARRIAGE_RETURN))] = _EMPTY


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
