"""Run a program and keep all that comes of it as one tree: orphans come to this process, not to the system's first one.

    python keeper.py FOLDER COMMAND…

Ends when the last of them has ended, with the status of the command itself; then the file FOLDER/NUMBER (its own) has
the seconds of CPU that all have used. Linux only (PR_SET_CHILD_SUBREAPER).
"""

from __future__ import annotations

import ctypes
import os
import sys

_PR_SET_CHILD_SUBREAPER = 36


def main(folder: str, command: list[str]) -> int:
    """Run it; its exit status."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    first = os.spawnvp(os.P_NOWAIT, command[0], command)
    status = 0
    while True:
        try:
            ended, how = os.wait()
        except ChildProcessError:
            used = os.times()
            with open(f"{folder}/{os.getpid()}", "w") as file:
                file.write(f"{used.children_user + used.children_system}")
            return status
        if ended == first:
            status = os.waitstatus_to_exitcode(how) & 0xFF


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
