"""Clean up after a comparison that was killed: wait for the end of standard input, then kill all processes of the
groups and remove the folder.

    python guard.py GROUPS FOLDER

``GROUPS``: the beginning of the paths of its control groups, empty if there are none. Whoever ends in good order kills
this process first.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])  # the checkout, not this folder

from benchmarks.compare.accounting import Cgroup, Tree


def main(groups: str, folder: str) -> None:
    """All that was left."""
    sys.stdin.buffer.read()
    if groups:
        for path in Path(groups).parent.glob(f"{Path(groups).name}-*"):
            Cgroup(path).remove()
    for path in Path(folder).glob("group-*"):
        Tree(path).remove()
    remove(Path(folder))


def remove(folder: Path) -> None:
    """Remove a folder, and never what is mounted in it."""
    if f" {folder}/" not in Path("/proc/self/mountinfo").read_text():
        subprocess.run(["rm", "-rf", "--one-file-system", "--", str(folder)], check=False)


if __name__ == "__main__":
    main(*sys.argv[1:3])
