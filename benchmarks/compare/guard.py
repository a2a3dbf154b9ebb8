"""Clean up after a comparison that was killed: wait for the end of standard input, then kill all processes of the
groups and remove the folder.

    python guard.py GROUPS FOLDER

``GROUPS``: the beginning of the paths of its control groups, empty if there are none. Whoever ends in good order kills
this process first.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def main(groups: str, folder: str) -> None:
    """All that was left."""
    sys.stdin.buffer.read()
    for path in Path(groups).parent.glob(f"{Path(groups).name}-*") if groups else ():
        for _ in range(100):
            for pid in (path / "cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            try:
                path.rmdir()
                break
            except OSError:
                time.sleep(0.05)
    remove(Path(folder))


def remove(folder: Path) -> None:
    """Remove a folder, and never what is mounted in it."""
    if f" {folder}/" not in Path("/proc/self/mountinfo").read_text():
        subprocess.run(["rm", "-rf", "--one-file-system", "--", str(folder)], check=False)


if __name__ == "__main__":
    main(*sys.argv[1:3])
