"""How much memory this process has had at most."""

import re
from pathlib import Path


def peak_mib() -> float:
    """The peak of the resident memory of this process in MiB."""
    # not ru_maxrss: that begins with the peak of the process that started this one
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)[1]) / 1024  # type: ignore[index]
