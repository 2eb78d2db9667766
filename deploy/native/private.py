"""Files that only we can read."""

from __future__ import annotations

import os
from pathlib import Path


def write_private(path: Path, lines: list[str]) -> None:
    """Write `lines` to a file that only we can read (mode 0600)."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.writelines(f"{line}\n" for line in lines)
