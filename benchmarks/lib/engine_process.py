"""``twistd mailerq`` in a folder of its own, as a process that is measured."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.lib.processes import cpu, memory
from benchmarks.lib.quota import Quota

ROOT = Path(__file__).resolve().parent.parent.parent
_TWISTD = "import sys; sys.argv[0] = 'twistd'; from twisted.scripts.twistd import run; run()"


def write_config(folder: Path, broker: str, port: int, domains: int, **more: Any) -> Path:
    """Each domain has a host of its own, on a loopback address of its own. ``more`` are whole sections."""
    hosts = {f"d{number}.example": f"{address(number)}:{port}" for number in range(domains)}
    settings = {
        "broker": broker,
        "dns": {"hosts": hosts},
        "journal": str(folder / "journal"),
        "state": str(folder / "state"),
        "control": str(folder / "control"),
        "log": {"mails": False, "file": str(folder / "mail.log")},
        "smtp": {"hostname": "bench.example", "port": port, "tls": "none"},
    }
    path = folder / "bench.yaml"
    path.write_text(json.dumps(settings | more))
    return path


def address(number: int) -> str:
    """A loopback address for each number below 60,000; with ten times as many, several share one."""
    return f"127.0.{1 + number // 250 % 250}.{number % 250 + 1}"


class EngineProcess:
    """A running engine; with ``workers`` in its configuration, all its processes are counted as one.

    ``cores``: how much processor time it may use; 0: no bound.
    """

    def __init__(self, folder: Path, config: Path, *, sampled: bool = False, cores: float = 0) -> None:
        self.folder = folder
        self.samples = folder / "samples.json"
        self.log = folder / "twistd.log"
        script = [str(ROOT / "benchmarks" / "sampled.py")] if sampled else ["-c", _TWISTD]
        self._quota = Quota(cores) if cores else None
        self.began = time.monotonic()
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, *script, "-n", f"--pidfile={folder}/pid", "mailerq", "-c", str(config)],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=os.environ | {"PYTHONPATH": str(ROOT), "SAMPLES": str(self.samples)},
                preexec_fn=self._quota.enter if self._quota else None,  # noqa: PLW1509 - no threads here
            )

    def cpu(self) -> float:
        """Seconds of processor time."""
        return cpu(self.process.pid)

    def memory(self, what: str = "VmHWM") -> float:
        """Megabytes."""
        return memory(self.process.pid, what)

    def wait(self, over: Callable[[], bool], patience: float, rest: float = 0.05) -> None:
        """Until ``over``; SystemExit with the end of its log if it ends before, or it takes too long."""
        until = time.monotonic() + patience
        while not over():
            if self.process.poll() is not None or time.monotonic() > until:
                end = "\n".join(self.log.read_text(errors="replace").splitlines()[-25:])
                raise SystemExit(f"the engine did not do what was waited for; the end of its log:\n{end}")
            time.sleep(rest)

    def stop(self) -> None:
        """In order; by force after a minute."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self._quota is not None:
            self._quota.close()
