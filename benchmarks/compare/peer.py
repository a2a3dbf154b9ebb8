"""What all peers have in common: a box, a process in the foreground, messages over SMTP, no broker."""

from __future__ import annotations

import shutil
import subprocess

from benchmarks.compare.accounting import Group
from benchmarks.compare.box import Box
from benchmarks.compare.contender import Injection, Load, smtp_inject
from benchmarks.compare.packages import Missing
from benchmarks.compare.sink import wait_for


class Peer:
    """A mail server of the distribution. ``port``: where it listens; ``sink``: the port of the hosts."""

    name = about = ""
    share = 1.0

    def __init__(self, box: Box, group: Group, port: int, sink: int) -> None:
        self.program = self.name
        self.box, self.group, self.port, self.sink = box, group, port, sink
        self.processes: list[subprocess.Popen[bytes]] = []

    def spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        """Run it inside."""
        with (self.box.root / "output").open("ab") as output:
            process = subprocess.Popen(
                self.group.command(self.box.inside(command)),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def launch(self, command: list[str]) -> None:
        """Run it inside, in the foreground; return when it listens. Missing, with what it said, if it does not."""
        try:
            wait_for(self.port, self.spawn(command))
        except Missing as error:
            said = (self.box.root / "output").read_text("utf-8", "replace").strip().splitlines()
            raise Missing(f"{error}: {said[-1]}" if said else str(error)) from None

    def inject(self, load: Load) -> Injection:
        """Over SMTP."""
        return smtp_inject(self.port, load)

    def beside(self) -> float:
        """There is no broker."""
        return 0.0

    def beside_pids(self) -> list[int]:
        """There is no broker."""
        return []

    def end(self) -> None:
        """Kill all its processes; its files stay."""
        self.group.end()
        for process in self.processes:
            process.wait()
        self.processes.clear()

    def clear(self, *paths: str) -> None:
        """Remove these folders inside."""
        for path in paths:
            shutil.rmtree(self.box.root / path, ignore_errors=True)

    def start(self, load: Load, holding: bool) -> None:
        """See ``Contender``."""
        raise NotImplementedError

    def release(self) -> None:
        """See ``Contender``."""
        raise NotImplementedError

    def left(self) -> int:
        """See ``Contender``."""
        raise NotImplementedError

    def stop(self) -> None:
        """End it; the next start empties its queues."""
        self.end()
