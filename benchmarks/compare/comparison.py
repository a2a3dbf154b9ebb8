"""The whole comparison: who takes part, the rounds, the end."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.compare import exim, machine, opensmtpd, postfix
from benchmarks.compare.accounting import Groups
from benchmarks.compare.box import Box
from benchmarks.compare.contender import IN_CONNECTIONS, Contender, Failed, Load, Measurement
from benchmarks.compare.guard import remove
from benchmarks.compare.ours import Ours, Rabbitmq, has_workers, name
from benchmarks.compare.packages import Missing
from benchmarks.compare.sink import Sink
from benchmarks.compare.table import ALONE, INJECTED, Row

PEERS = {
    "postfix": (postfix.Postfix, "postfix", postfix.USERS),
    "opensmtpd": (opensmtpd.Opensmtpd, "opensmtpd", opensmtpd.USERS),
    "exim": (exim.Exim, "exim4-daemon-light", exim.USERS),
}


def tell(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


class Comparison:
    """Use as a context; afterwards all processes and folders are gone, however it ended."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.about: dict[str, str] = {}
        self.notes: list[str] = []
        self.rows: list[Row] = []
        self._contenders: list[Contender] = []
        self._offs: dict[tuple[str, int], dict[str, float]] = {}
        self._stack = ExitStack()
        self._began = time.monotonic()
        self._once = 0.0  # seconds for what is measured in the first round only

    def __enter__(self) -> Comparison:
        try:
            self._prepare()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # -- who takes part

    def _prepare(self) -> None:
        from tests.rabbit import free_ports

        self._folder = Path(tempfile.mkdtemp(prefix="mailerq-compare-", dir=self.options.folder)).resolve()
        self._stack.callback(remove, self._folder)
        self._folder.chmod(0o755)
        self._groups = Groups(self._folder)
        self._guard()
        if not self._groups.prefix:
            self.notes.append("no control groups: CPU by /proc, 10 ms exact, without children that nobody waits for")
        self._port, self._sink_port = free_ports(2)
        self.about = machine.about(self._folder) | {"load": self._load_in_words()}
        box = self._box("postfix")
        self._sink = Sink(self._folder, self._groups.make("sink"), self._sink_port, box)
        self._stack.callback(self._sink.group.remove)
        self._stack.callback(self._sink.stop)
        self._add_ours()
        for key in PEERS:
            if key in self.options.only:
                self._add_peer(key, box if key == "postfix" else self._box(key))

    def _load_in_words(self) -> str:
        one = self.options
        sizes = " and ".join(f"{size:,}" for size in one.sizes)
        return (
            f"{sizes} bytes a message, {one.domains} domains on {one.domains} hosts; at most {one.connections}"
            f" connections to them, {one.each} to each; {IN_CONNECTIONS} connections to hand the messages in"
        )

    def _guard(self) -> None:
        path = Path(__file__).with_name("guard.py")
        command = [sys.executable, "-S", "-E", str(path), self._groups.prefix, str(self._folder)]
        guard = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)

        def dismiss() -> None:
            guard.kill()
            guard.wait()
            assert guard.stdin is not None
            guard.stdin.close()

        self._stack.callback(dismiss)

    def _box(self, key: str) -> Box | None:
        kind, package, users = PEERS[key]
        folder = self._folder / key
        folder.mkdir()
        tell(f"setting up {kind.name} (package {package})")
        try:
            return Box(folder, package, users, self.options.domains)
        except (Missing, OSError, subprocess.SubprocessError) as error:
            if key in self.options.only:
                self._without(kind.name, error)
            return None

    def _without(self, program: str, error: Exception) -> None:
        self.notes.append(f"without {program}: {error}")
        tell(self.notes[-1])

    def _add(self, contender: Contender) -> None:
        self._contenders.append(contender)
        self._stack.callback(contender.group.remove)
        self._stack.callback(contender.stop)
        self.about.setdefault(contender.program, contender.about)

    def _add_peer(self, key: str, box: Box | None) -> None:
        if box is not None:
            self._add(PEERS[key][0](box, self._groups.make(key), self._port, self._sink_port))

    def _add_ours(self) -> None:
        workers = [count for count in self.options.workers if count == 1 or has_workers(self._folder)]
        if len(workers) < len(self.options.workers):
            self.notes.append("mailerq with one process only: this version knows no workers")
        for key, rabbit in (("embedded", None), ("rabbitmq", self._rabbit())):
            if key in self.options.only and (rabbit is not None or key == "embedded"):
                for count in workers:
                    self._add_one(key, count, rabbit)

    def _add_one(self, key: str, workers: int, rabbit: Rabbitmq | None) -> None:
        group = self._groups.make(f"{key}{workers}")
        self._add(Ours(self._folder / f"{key}{workers}", group, self._sink_port, workers, rabbit))

    def _rabbit(self) -> Rabbitmq | None:
        if "rabbitmq" not in self.options.only:
            return None
        tell("setting up RabbitMQ")
        try:
            rabbit = Rabbitmq()
        except (Missing, AssertionError, OSError) as error:
            self._without("RabbitMQ", error)
            return None
        self._stack.callback(rabbit.remove)
        return rabbit

    # -- the rounds

    def run(self) -> None:
        """All rounds, or as many as there is time for. KeyboardInterrupt ends them; what was measured stays."""
        contenders, longest = self._contenders, 0.0
        self.rows = [Row(one.name, way, size) for size in self.options.sizes for way in WAYS for one in contenders]
        for round_ in range(1, self.options.rounds + 1):
            began = time.monotonic()
            if round_ > 1 and self._spent() + longest > 60 * self.options.minutes:
                self.notes.append(f"{round_ - 1} of {self.options.rounds} rounds: there was no time for more")
                return
            once = self._once
            self._round(round_)
            longest = max(longest, time.monotonic() - began - (self._once - once))

    def _spent(self) -> float:
        return time.monotonic() - self._began

    def _round(self, round_: int) -> None:
        """Who is first changes from round to round."""
        first = (round_ - 1) % max(1, len(self._contenders))
        for contender in self._contenders[first:] + self._contenders[:first]:
            for row in self.rows:
                if row.name == contender.name and not row.failure:
                    self._one(contender, row, round_)

    def _one(self, contender: Contender, row: Row, round_: int) -> None:
        if self._spent() > 60 * self.options.minutes:
            return
        options = self.options
        count = max(options.domains, int(options.count * contender.share))
        load = Load(count, row.size, options.domains, options.each, options.connections)
        offs = self._offs.setdefault((row.name, row.size), {})
        told = f"{self._spent():4.0f} s  round {round_}, {row.name}, {row.way}, {row.size} bytes"
        try:
            measurement = Measurement(contender, self._sink, load, options.patience, offs)
            self._once += measurement.prepare(row.way)
            run = measurement.run(row.way, round_)
        except (Failed, Missing) as error:
            row.failure = str(error)
            tell(f"{told}: {error}")
        else:
            row.runs.append(run)
            tell(
                f"{told}: {run.micros:.0f} µs, beside {run.each(run.beside):.0f}, {run.rate:.0f}/s, {run.memory:.0f} MB"
            )

    @property
    def bases(self) -> dict[str, str]:
        """Whom the others are compared with: title → name."""
        bases = {"embedded": name(False, 1), "RabbitMQ, broker included": name(True, 1)}
        return {title: base for title, base in bases.items() if any(row.name == base and row.runs for row in self.rows)}

    def as_json(self) -> dict[str, Any]:
        """All that was measured."""
        rows = [vars(row) | {"runs": [vars(run) for run in row.runs]} for row in self.rows]
        kept = {key: str(value) if isinstance(value, Path) else value for key, value in vars(self.options).items()}
        return {"about": self.about, "notes": self.notes, "options": kept, "rows": rows}


WAYS: tuple[str, ...] = (INJECTED, ALONE)
