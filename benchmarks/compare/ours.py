"""mailerq itself, over the embedded queue or RabbitMQ, with one worker process or several."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.compare.accounting import Group, cpu
from benchmarks.compare.contender import Failed, Injection, Load, timed
from benchmarks.compare.messages import address, domain, jobs
from benchmarks.compare.packages import Missing

ROOT = Path(__file__).resolve().parents[2]
TWISTD = "import sys; sys.argv[0] = 'twistd'; from twisted.scripts.twistd import run; run()"
RESULTS = ("results", "success", "failure", "retry", "invalid")


class Ours:
    """To hold mail, it is not running; ``mailerq publish`` fills the queues. What that costs is counted as ours."""

    share = 1.0

    def __init__(self, folder: Path, group: Group, sink: int, workers: int, rabbit: Rabbitmq | None) -> None:
        self.name = name(rabbit is not None, workers)
        self.program = "RabbitMQ" if rabbit else "mailerq's embedded queue"
        self.about = f"{rabbit.version}; {_CONFIRMED}" if rabbit else _EMBEDDED
        self.group, self.sink, self.workers, self.rabbit = group, sink, workers, rabbit
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._load: Load | None = None

    @property
    def _config(self) -> Path:
        return self._folder / "bench.yaml"

    def start(self, load: Load, holding: bool) -> None:
        """A new folder, or a new virtual host."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        self._load = load
        broker = self.rabbit.renew() if self.rabbit is not None else f"sqlite:{self._folder / 'queue.db'}"
        self._config.write_text(json.dumps(self._settings(load, broker)))
        if not holding:
            self._run()

    def _settings(self, load: Load, broker: str) -> dict[str, Any]:
        numbers = range(load.domains)
        settings: dict[str, Any] = {
            "broker": broker,
            "dns": {"hosts": {domain(number): f"{address(number)}:{self.sink}" for number in numbers}},
            "log": {"file": str(self._folder / "mail.log")},
            "smtp": {"hostname": "bench.example", "max-connections": load.connections},
            "limits": [{"domain": "*", "max-connections": load.each}],
        }
        settings |= {key: str(self._folder / key) for key in ("journal", "state", "control")}
        return settings | ({"workers": self.workers} if self.workers > 1 else {})

    def _run(self) -> None:
        """Return when it takes jobs."""
        log = self._folder / "twistd.log"
        command = [sys.executable, "-c", TWISTD, "-n", f"--pidfile={self._folder / 'pid'}", "mailerq"]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                self.group.command([*command, "-c", str(self._config)]),
                cwd=self._folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        end = time.monotonic() + 30
        while log.read_text("utf-8", "replace").count("taking jobs") < self.workers:
            if self._process.poll() is not None or time.monotonic() > end:
                raise Failed(f"it does not start: {_last_line(log)}")
            time.sleep(0.02)

    def inject(self, load: Load) -> Injection:
        """``mailerq publish``, one job a line."""
        lines = self._folder / "jobs"
        with lines.open("wb") as file:
            for job in jobs(load.count, load.size, load.domains):
                file.write(job + b"\n")
        command = [sys.executable, "-m", "mailerq", "publish", "-c", str(self._config)]
        return Injection(within=timed(self.group.command(["/usr/bin/env", f"PYTHONPATH={ROOT}", *command]), lines))

    def release(self) -> None:
        """Start it."""
        self._run()

    def left(self) -> int:
        """What has no result, or lies or is in hand in the outbox."""
        assert self._load is not None
        command = [sys.executable, "-m", "mailerq", "queues", "--json", "-c", str(self._config)]
        told = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=False)
        if told.returncode:
            raise Failed(told.stderr.strip().splitlines()[-1])
        states = {state["name"]: state for state in map(json.loads, told.stdout.splitlines())}
        if refused := states["failure"]["ready"] + states["invalid"]["ready"]:
            raise Failed(f"{refused} messages failed")
        outbox = sum(states["outbox"][key] or 0 for key in ("ready", "waiting", "in_hand"))
        return int(max(outbox, self._load.count - states["results"]["ready"], 0))

    def beside(self) -> float:
        """RabbitMQ."""
        return cpu(self.rabbit.pid) if self.rabbit is not None else 0.0

    def beside_pids(self) -> list[int]:
        """RabbitMQ."""
        return [self.rabbit.pid] if self.rabbit is not None else []

    def stop(self) -> None:
        """Kill it; its folder goes."""
        self.group.end()
        if self._process is not None:
            self._process.wait()
            self._process = None
        shutil.rmtree(self._folder, ignore_errors=True)


_EMBEDDED = "SQLite, write-ahead log; each commit, of a batch, is synced to the disk before it counts"
_CONFIRMED = (
    "classic queues, durable; messages persistent; each is confirmed, which a classic queue does when it is on the disk"
)


def name(rabbit: bool, workers: int) -> str:
    """As it stands in the table."""
    processes = "1 process" if workers == 1 else f"{workers} workers"
    return f"mailerq, {'RabbitMQ' if rabbit else 'embedded'}, {processes}"


def has_workers(folder: Path) -> bool:
    """Whether the engine knows more than one worker process."""
    from mailerq.settings import SettingsError, load

    path = folder / "workers.yaml"
    path.write_text("workers: 2\n")
    with contextlib.suppress(SettingsError):
        return load(str(path)).workers == 2
    return False


def environment() -> dict[str, str]:
    """For our own programs: the code of this checkout."""
    kept = {key: value for key, value in os.environ.items() if key != "MAILERQ_CONFIG"}
    return kept | {"PYTHONPATH": str(ROOT)}


def _last_line(path: Path) -> str:
    lines = path.read_text("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it says nothing"


class Rabbitmq:
    """A node of its own for all runs; a virtual host of its own for each."""

    def __init__(self) -> None:
        from tests.rabbit import Rabbit, rabbitmq_home

        if rabbitmq_home() is None:
            raise Missing("rabbitmq-server is not installed")
        self._node = Rabbit()
        try:
            self._node.start()
            self._node.wait_ready()
        except BaseException:
            self._node.remove()
            raise
        self.pid = int(self._node.ctl("eval", "os:getpid().").strip().strip('"'))
        self.version = self._node.ctl("version").strip()
        self._count = 0

    def renew(self) -> str:
        """The address of a new virtual host; the one before goes, with what lies in it."""
        if self._count:
            self._node.ctl("delete_vhost", f"run{self._count}")
        self._count += 1
        self._node.ctl("add_vhost", f"run{self._count}")
        self._node.ctl("set_permissions", "-p", f"run{self._count}", "guest", ".*", ".*", ".*")
        return self._node.url(vhost=f"run{self._count}")

    def remove(self) -> None:
        """Nothing stays."""
        self._node.remove()
