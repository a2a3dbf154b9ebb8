"""What ``twistd mailerq`` starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from mailerq import start
from mailerq.worker import Worker
from mailerq.workers.parent import Parent
from mailerq.workers.spawn import spawner
from tests.family import FakeReactor

ROOT = Path(__file__).parents[1]


class Service(SynchronousTestCase):
    """makeService."""

    def made(self, text: str, **twistd: Any) -> Any:
        """The service of a configuration; ``twistd``: the options of twistd."""
        path = Path(self.mktemp())
        path.write_text(text)
        options = start.Options()
        options["config"] = str(path)
        options.parent = {"nodaemon": True, **twistd}  # type: ignore[assignment]
        return start.makeService(options)

    def test_several(self) -> None:
        """With several workers it is their parent, which knows the text of the configuration."""
        with mock.patch("mailerq.workers.spawn.spawner") as spawns:
            parent = self.made("workers: 3")
            self.assertIsInstance(parent, Parent)
            self.assertEqual((parent.count, parent._text), (3, "workers: 3"))
            self.made("workers: 3", logfile="log")
        self.assertEqual([call.kwargs["own_output"] for call in spawns.call_args_list], [True, False])

    def test_where_logs_go(self) -> None:
        """Workers write to standard output themselves only where twistd does, and nowhere else."""
        for options, expected in (
            ({"nodaemon": True}, True),
            ({"nodaemon": True, "logfile": "-"}, True),
            ({"nodaemon": True, "logfile": "log"}, False),
            ({"nodaemon": False}, False),
            ({"nodaemon": True, "syslog": True}, False),
            ({"nodaemon": True, "logger": "a.b"}, False),
        ):
            self.assertEqual(start._logs_to_output(options), expected, options)

    def test_wrong(self) -> None:
        """A wrong configuration ends with all its errors."""
        error = self.assertRaises(SystemExit, self.made, "workers: no\nnonsense: 1")
        self.assertEqual(str(error).count("\n"), 2)

    def test_moved(self) -> None:
        """The configuration is found after twistd has gone to another folder."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        (folder / "c.yaml").write_text("workers: 2")
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(folder)
        options = start.Options()
        options["config"] = "c.yaml"
        parent: Any = start.makeService(options)
        os.chdir("/")
        self.assertEqual(parent._read(), "workers: 2")
        self.assertEqual(parent.settings.source, "c.yaml")

    def test_light(self) -> None:
        """The parent imports no part of an engine."""
        code = (
            "import sys; import mailerq.start, mailerq.workers.parent, mailerq.workers.spawn;"
            "print([name for name in sys.modules if name in ('mailerq.tap', 'mailerq.scheduler', 'mailerq.smtp',"
            " 'mailerq.delivery', 'mailerq.resolver', 'dns', 'txamqp', 'sqlite3', 'OpenSSL')])"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, timeout=60)
        self.assertEqual(done.stdout, b"[]\n", done.stderr)


class Spawning(SynchronousTestCase):
    """spawner."""

    def spawn(self, **options: Any) -> tuple[list[str], dict[str, str], dict[int, Any]]:
        """Arguments, environment and file handles of a process that is started."""
        reactor: Any = FakeReactor()
        found: list[Any] = []
        reactor.spawnProcess = lambda life, program, arguments, env, childFDs: found.extend([arguments, env, childFDs])
        spawn = spawner(reactor, **options)
        spawn(SimpleNamespace(), Worker(1, 2), 99)  # type: ignore[arg-type]
        arguments, env, handles = found
        return arguments, env, handles

    def test_own_output(self) -> None:
        """It is told which one it is, and has the parent's output, its line and the lock."""
        arguments, env, handles = self.spawn(own_output=True)
        self.assertEqual(arguments[1:5], ["-m", "mailerq.workers.main", "--worker", "1/2"])
        self.assertNotIn("--bare", arguments)
        self.assertEqual({number: handles[number] for number in (1, 2, 3, 4, 5)}, {1: 1, 2: 2, 3: "w", 4: "r", 5: 99})
        self.assertEqual(env, dict(os.environ))

    def test_output_of_the_parent(self) -> None:
        """Else the parent reads what it logs."""
        arguments, _, handles = self.spawn(own_output=False)
        self.assertIn("--bare", arguments)
        self.assertEqual((handles[1], handles[2]), ("r", "r"))
