"""Mail hosts to send to, as processes: Postfix's ``smtp-sink``, and our own that keeps the time."""

from __future__ import annotations

import json
import shutil
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.lib.processes import as_nobody, cpu, free_port

OWN = Path(__file__).with_name("stamping_sink.py")


class SmtpSink:
    """``smtp-sink`` on all loopback addresses."""

    def __init__(self) -> None:
        program = shutil.which("smtp-sink", path="/usr/sbin:/usr/local/sbin:/usr/bin")
        if program is None:
            raise SystemExit("smtp-sink is not installed (Debian: apt-get install postfix)")
        self.port = free_port()
        self.process = subprocess.Popen([program, f":{self.port}", "4096"], stderr=subprocess.DEVNULL, **as_nobody())
        wait_for(self.port, self.process)

    def cpu(self) -> float:
        """Seconds of processor time."""
        return cpu(self.process.pid)

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


class OwnSink:
    """``stamping_sink.py`` on all loopback addresses; its files are in ``folder``."""

    def __init__(self, folder: Path, *, tls: Path | None = None, silent: bool = False) -> None:
        self.port = free_port()
        self._counter, self._stamps = folder / f"count-{self.port}", folder / f"stamps-{self.port}"
        self._counter.write_bytes(bytes(8))
        command = [sys.executable, str(OWN), "--port", str(self.port), "--count", str(self._counter)]
        command += ["--stamps", str(self._stamps), *(["--tls", str(tls)] if tls else []), *["--silent"] * silent]
        self.process = subprocess.Popen(command)
        wait_for(self.port, self.process)

    @property
    def count(self) -> int:
        """How many messages it has taken."""
        number: int = struct.unpack("=Q", self._counter.read_bytes())[0]
        return number

    def cpu(self) -> float:
        """Seconds of processor time."""
        return cpu(self.process.pid)

    def stamps(self) -> dict[str, Any]:
        """End it; what it has kept."""
        self.process.terminate()
        self.process.wait(30)
        found: dict[str, Any] = json.loads(self._stamps.read_text())
        return found

    def close(self) -> None:
        """End it, if it has not ended."""
        self.process.kill()
        self.process.wait()


def wait_for(port: int, process: subprocess.Popen[Any]) -> None:
    """Until something listens there."""
    until = time.monotonic() + 20
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise SystemExit("the mail host did not start")
