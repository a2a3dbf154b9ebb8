"""The whole engine against Postfix's ``smtp-sink``: CPU µs a message, messages a second, and where the time goes.

    python benchmarks/engine.py [--broker sqlite amqp] [--count 20000] [--sizes 2000 50000] [--domains 20]

The outbox is filled first; then the engine is started and runs until every job has its result (results and success,
confirmed, and the job acknowledged). What an engine costs that finds an empty outbox is measured too, and taken off.
RabbitMQ is a node of its own on loopback ports; its CPU stands beside the engine's. Needs ``smtp-sink`` (package
postfix), and ``rabbitmq-server`` for ``amqp``.
"""

from __future__ import annotations

import argparse
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mailerq.queues.sqlite_file import QueueFile, row  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")


def message(size: int) -> str:
    """A plain message of about ``size`` bytes."""
    line = "This is one line of a message that says nothing in particular.\r\n"
    head = "From: sender@bench.example\r\nTo: you@bench.example\r\nSubject: benchmark\r\n\r\n"
    return head + line * (size // len(line))


def jobs(count: int, size: int, domains: int) -> Iterator[bytes]:
    """As many jobs, spread over the domains."""
    mime = message(size)
    for number in range(count):
        job = {"envelope": "sender@bench.example", "recipient": f"u{number}@d{number % domains}.example", "mime": mime}
        yield json.dumps(job | {"number": number}).encode()


def cpu(pid: int) -> float:
    """User and system seconds that a process and its waited-for children have used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICK


def peak_memory(pid: int) -> float:
    """Megabytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


class Sqlite:
    """The embedded queue."""

    name = "embedded"

    def __init__(self, folder: Path) -> None:
        self.path = folder / "queue.db"
        self.config = f"sqlite:{self.path}"
        self.file = QueueFile(str(self.path))

    def fill(self, bodies: Iterator[bytes]) -> None:
        batch: list[Any] = []
        for body in bodies:
            batch.append(row("outbox", body, time.time()))
            if len(batch) == 500:
                self._insert(batch)
        self._insert(batch)

    def _insert(self, batch: list[Any]) -> None:
        if batch:
            with self.file.transaction():
                self.file.insert(batch)
        batch.clear()

    def results(self) -> int:
        found = self.file.state("results", time.time())
        return found.ready if found is not None else 0

    def cpu(self) -> float:
        return 0.0

    def close(self) -> None:
        self.file.close()


class Rabbitmq:
    """A RabbitMQ node of our own."""

    name = "rabbitmq"

    def __init__(self, folder: Path) -> None:
        from tests.rabbit import Rabbit

        self.folder = folder
        self.node = Rabbit()
        self.node.start()
        self.node.wait_ready()
        self.config = self.node.url()
        self.pid = int(self.node.ctl("eval", "os:getpid().").strip().strip('"'))

    def fill(self, bodies: Iterator[bytes]) -> None:
        (self.folder / "jobs").write_bytes(b"\n".join(bodies))
        with (self.folder / "jobs").open("rb") as lines:
            command = [sys.executable, "-m", "mailerq", "publish", "-c", str(self.folder / "bench.yaml")]
            subprocess.run(command, stdin=lines, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)

    def results(self) -> int:
        listed = self.node.ctl("list_queues", "-q", "name", "messages_ready")
        return sum(int(line.split()[1]) for line in listed.splitlines() if line.startswith("results\t"))

    def cpu(self) -> float:
        return cpu(self.pid)

    def close(self) -> None:
        self.node.stop()
        self.node.remove()


@contextmanager
def sink() -> Iterator[int]:
    """A running smtp-sink on all loopback addresses; gives its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = shutil.which("smtp-sink") or "/usr/sbin/smtp-sink"
    user = ["-u", "nobody"] if os.getuid() == 0 and pwd.getpwnam("nobody") else []
    process = subprocess.Popen([program, *user, f":{port}", "4096"], stderr=subprocess.DEVNULL)
    try:
        while socket.socket().connect_ex(("127.0.0.1", port)):
            time.sleep(0.05)
        yield port
    finally:
        process.kill()
        process.wait()


def write_config(folder: Path, broker: str, port: int, domains: int, log: bool) -> Path:
    """Each domain has a host of its own, on a loopback address of its own."""
    hosts = {f"d{number}.example": f"127.0.1.{number % 250 + 1}:{port}" for number in range(domains)}
    settings = {
        "broker": broker,
        "dns": {"hosts": hosts},
        "journal": str(folder / "journal"),
        "log": {"mails": log, "file": str(folder / "mail.log")},
        "smtp": {"hostname": "bench.example"},
    }
    path = folder / "bench.yaml"
    path.write_text(json.dumps(settings))
    return path


class Run:
    """One run of the engine over a filled outbox."""

    def __init__(self, folder: Path, config: Path, sampled: bool) -> None:
        self.samples = folder / "samples.json"
        script = [str(ROOT / "benchmarks" / "sampled.py")] if sampled else ["-m", "twisted.scripts.twistd"]
        command = [sys.executable, *script] if sampled else [sys.executable, "-c", _TWISTD]
        self.process = subprocess.Popen(
            [*command, "-n", f"--pidfile={folder}/pid", "mailerq", "-c", str(config)],
            stdout=(folder / "twistd.log").open("w"),
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT), "SAMPLES": str(self.samples)},
        )

    def until(self, broker: Any, count: int, patience: float) -> tuple[float, float, float]:
        """Seconds, CPU seconds of the engine and of the broker until ``count`` results are there."""
        began, broker_before = time.monotonic(), broker.cpu()
        used = self._used()
        while (found := broker.results()) < count:
            time.sleep(0.1)
            if time.monotonic() - began > patience or self.process.poll() is not None:
                raise SystemExit(f"only {found} of {count} results came; see the log of the engine")
        seconds = time.monotonic() - began
        return seconds, self._used() - used, broker.cpu() - broker_before

    def _used(self) -> float:
        return cpu(self.process.pid)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


_TWISTD = "import sys; sys.argv[0] = 'twistd'; from twisted.scripts.twistd import run; run()"


def starting_cost(config: Path, folder: Path, sampled: bool) -> float:
    """CPU seconds of an engine that finds nothing to do."""
    run = Run(folder, config, sampled)
    time.sleep(3.0)
    used = cpu(run.process.pid)
    run.stop()
    return used


def measure(kind: type, size: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """One row of the table."""
    with tempfile.TemporaryDirectory() as name, sink() as port:
        folder = Path(name)
        folder.chmod(0o755)
        broker = kind(folder)
        try:
            config = write_config(folder, broker.config, port, arguments.domains, arguments.log)
            idle = starting_cost(config, folder, arguments.steps)
            broker.fill(jobs(arguments.count, size, arguments.domains))
            run = Run(folder, config, arguments.steps)
            seconds, used, broker_used = run.until(broker, arguments.count, 60 + arguments.count / 200)
            memory = peak_memory(run.process.pid)
            run.stop()
            samples = json.loads(run.samples.read_text()) if arguments.steps else None
        finally:
            broker.close()
    each = 1e6 / arguments.count
    return {
        "broker": kind.name,
        "size": size,
        "µs": (used - idle) * each,
        "broker µs": broker_used * each,
        "per second": arguments.count / seconds,
        "MB": memory,
        "samples": samples,
    }


def show(found: dict[str, Any], lines: bool) -> None:
    print(
        f"{found['broker']:<10}{found['size']:>8}{found['µs']:>14.0f}{found['broker µs']:>14.0f}"
        f"{found['per second']:>14.0f}{found['MB']:>10.0f}",
        flush=True,
    )
    if not found["samples"]:
        return
    steps = found["samples"]["steps"]
    total = sum(steps.values())
    for step, count in sorted(steps.items(), key=lambda item: -item[1]):
        print(f"      {100 * count / total:5.1f} %  {found['µs'] * count / total:6.1f} µs  {step}")
    if lines:
        for line, count in list(found["samples"]["lines"].items())[:40]:
            print(f"            {100 * count / total:5.1f} %  {line}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", nargs="+", choices=["sqlite", "amqp"], default=["sqlite", "amqp"])
    parser.add_argument("--count", type=int, default=20000, help="messages a run")
    parser.add_argument("--sizes", type=int, nargs="+", default=[2000, 50000], help="bytes a message")
    parser.add_argument("--domains", type=int, default=20)
    parser.add_argument("--steps", action="store_true", help="sample where the time goes (costs about 2 %%)")
    parser.add_argument("--lines", action="store_true", help="with --steps: the hottest lines too")
    parser.add_argument("--log", action="store_true", help="with the two log lines a message, to a file")
    arguments = parser.parse_args()
    log = "on" if arguments.log else "off"
    print(f"{arguments.count} messages, {arguments.domains} domains, one process; mail log {log}")
    print(f"{'broker':<10}{'bytes':>8}{'engine µs':>14}{'broker µs':>14}{'messages/s':>14}{'MB':>10}")
    for name in arguments.broker:
        for size in arguments.sizes:
            show(measure({"sqlite": Sqlite, "amqp": Rabbitmq}[name], size, arguments), arguments.lines)


if __name__ == "__main__":
    main()
