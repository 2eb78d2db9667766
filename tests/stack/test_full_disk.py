"""supervisord on a full disk (`/dev/full`: every write fails with ENOSPC)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from deploy.native.supervisor import SUPERVISORD
from tests.waiting import wait_for

CONFIG = """
[supervisord]
logfile=/dev/full
logfile_maxbytes=0
pidfile={folder}/pid
[program:chatty]
command=/bin/sh -c 'echo said; touch {folder}/started-$$; exec sleep 60'
stdout_logfile=/dev/full
stdout_logfile_maxbytes=0
startsecs=0
"""


def test_supervisord_goes_on_and_starts_again_what_ended(tmp_path: Path) -> None:
    config = tmp_path / "conf"
    config.write_text(CONFIG.format(folder=tmp_path))

    def started() -> set[int]:
        return {int(path.name.partition("-")[2]) for path in tmp_path.glob("started-*")}

    argv = [sys.executable, "-P", str(SUPERVISORD), "-n", "-s", "-c", str(config)]
    with Path("/dev/full").open("w") as full, subprocess.Popen(argv, stdout=full, stderr=full) as process:
        try:
            first = wait_for(started, 20)
            subprocess.run(["kill", "-9", str(*first)], check=True)
            wait_for(lambda: started() - first, 20)
            assert process.poll() is None
        finally:
            process.terminate()
