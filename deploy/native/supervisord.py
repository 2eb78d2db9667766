"""supervisord, outliving a full disk: what it can't log it forgets, where it would end and all else with it.

Run as a script with `-P`: the file beside it is not the package `supervisor`.
"""

from __future__ import annotations

import io
import sys
from contextlib import suppress
from typing import TextIO

from supervisor.supervisord import main


class Forgiving(io.TextIOBase):
    """Writes on to a stream that may fail."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """How many characters were taken: all, written or not."""
        with suppress(OSError):
            self._stream.write(text)
            self._stream.flush()
        return len(text)

    def fileno(self) -> int:
        """That of the stream."""
        return self._stream.fileno()


if __name__ == "__main__":
    # supervisord tells of an error in writing a log on standard error, which is a file of the same disk
    sys.stderr = Forgiving(sys.stderr)
    main()
