"""Postfix's ``smtp-sink``: takes all mail, keeps none, counts."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path

from benchmarks.compare.accounting import Group
from benchmarks.compare.box import Box
from benchmarks.compare.packages import Missing

SESSIONS = 2000


class Sink:
    """The program. Each ``start`` is a new one, on the same port of all loopback addresses."""

    def __init__(self, folder: Path, group: Group, port: int, box: Box | None) -> None:
        self.group, self.port = group, port
        self._counts = folder / "sink"
        user = ["-u", "nobody"] if os.getuid() == 0 else []
        options = [*user, "-c", "-m", str(SESSIONS), f":{port}", "4096"]
        if box is not None:
            self._command = box.inside([box.path("smtp-sink"), *options])
        else:
            self._command = [_program(), *options]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return when it listens."""
        with self._counts.open("wb") as counts:
            self._process = subprocess.Popen(
                self.group.command(self._command),
                stdin=subprocess.DEVNULL,
                stdout=counts,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        wait_for(self.port, self._process)

    def count(self) -> int:
        """Messages so far. It writes ``sess=1 quit=0 mesg=7`` and a carriage return each time that one changes."""
        with self._counts.open("rb") as counts:
            counts.seek(max(0, counts.seek(0, os.SEEK_END) - 200))
            lines = counts.read().split(b"\r")[:-1]
        return int(lines[-1].rpartition(b"mesg=")[2]) if lines else 0

    def cpu(self) -> float:
        """Seconds."""
        return self.group.cpu()

    def stop(self) -> None:
        """At once."""
        self.group.end()
        if self._process is not None:
            self._process.wait()
            self._process = None


def _program() -> str:
    for place in ("/usr/sbin/smtp-sink", "/usr/local/sbin/smtp-sink"):
        if os.access(place, os.X_OK):
            return place
    raise Missing("there is no smtp-sink: install the package postfix, or run this as root")


def wait_for(port: int, process: subprocess.Popen[bytes], within: float = 30.0) -> None:
    """Return when something listens there; Missing if the process ends before, or too much time goes by."""
    end = time.monotonic() + within
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.02)
    raise Missing("it does not listen" if process.poll() is None else f"it ended with status {process.returncode}")
