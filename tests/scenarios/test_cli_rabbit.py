"""The ``mailerq`` command over RabbitMQ."""

from __future__ import annotations

import atexit
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.rabbit import Rabbit, free_ports, rabbitmq_home

ROOT = Path(__file__).parents[2]


_rabbit: Rabbit | None = None


def rabbit() -> Rabbit:
    """One node for all; it goes with the process."""
    global _rabbit
    if rabbitmq_home() is None:
        raise SkipTest("rabbitmq-server is not installed")
    if _rabbit is None:
        _rabbit = Rabbit()
        atexit.register(_rabbit.remove)
        _rabbit.start()
        _rabbit.wait_ready()
    return _rabbit


class OverRabbit(SynchronousTestCase):
    """What the commands do is the same as over the embedded queue."""

    def setUp(self) -> None:
        """Queues of our own."""
        self.rabbit = rabbit()
        self.place = Path(self.mktemp()).absolute()
        self.place.mkdir(parents=True)
        name = self.id().rpartition(".")[2]
        kinds = ("outbox", "results", "success", "failure", "retry", "invalid")
        self.queues = {kind: f"{name}.{kind}" for kind in kinds}
        self.configure(self.rabbit.url())

    def configure(self, address: str) -> None:
        """Write the configuration."""
        (self.place / "c.yaml").write_text(json.dumps({"broker": address, "queues": self.queues}))

    def mailerq(self, *arguments: str, stdin: bytes = b"") -> tuple[int, bytes, str]:
        """Exit status, standard output, standard error."""
        command = [sys.executable, "-m", "mailerq", *arguments, "-c", "c.yaml"]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        more: dict[str, Any] = {"cwd": self.place, "timeout": 60, "env": environ}
        done = subprocess.run(command, input=stdin, capture_output=True, check=False, **more)
        return done.returncode, done.stdout, done.stderr.decode()

    def good(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """Standard output of a command that goes well and says nothing else."""
        status, output, errors = self.mailerq(*arguments, stdin=stdin)
        self.assertEqual((status, errors), (0, ""))
        return output

    def test_there_and_back(self) -> None:
        """What was published is counted, shown, and consumed in order, byte for byte."""
        lines = [b"%d \xff" % n for n in range(1234)]
        outbox = self.queues["outbox"]
        self.assertEqual(self.good("publish", stdin=b"\n".join(lines)), b"1234 published\n")
        table = [text.split() for text in self.good("queues").decode().splitlines()]
        self.assertEqual(table[1][:2], [outbox, "1234"])
        self.assertEqual(self.good("consume", outbox, "--peek", "-n", "250"), b"\n".join(lines[:250]) + b"\n")
        self.assertEqual(self.good("consume", outbox, "-n", "3"), b"\n".join(lines[:3]) + b"\n")
        self.assertEqual(self.good("consume", outbox), b"\n".join(lines[3:]) + b"\n")
        self.assertEqual(self.good("consume", outbox), b"")

    def test_send(self) -> None:
        """A message lies in the inbox, which is the outbox here."""
        self.good("send", "a@example.org", "b@example.org", stdin=b"Subject: x\n\nHello\n")
        jobs = [json.loads(text) for text in self.good("consume", self.queues["outbox"]).splitlines()]
        self.assertEqual([job["recipient"] for job in jobs], ["a@example.org", "b@example.org"])

    def test_no_such_queue(self) -> None:
        """A queue that does not exist is an error."""
        status, output, errors = self.mailerq("consume", "nowhere")
        self.assertEqual((status, output), (1, b""))
        self.assertIn("there is no queue 'nowhere'", errors)

    def test_broken_pipe(self) -> None:
        """Whoever stops reading ends it quietly, and what was not printed is still there."""
        bodies = [b"%05d" % n * 1000 for n in range(400)]
        outbox = self.queues["outbox"]
        self.good("publish", stdin=b"\n".join(bodies))
        command = [sys.executable, "-m", "mailerq", "consume", outbox, "-c", "c.yaml"]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        child = subprocess.Popen(command, cwd=self.place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ)
        assert child.stdout is not None
        assert child.stderr is not None
        self.assertEqual(child.stdout.read(5001), bodies[0] + b"\n")
        child.stdout.close()
        self.assertEqual((child.stderr.read(), child.wait()), (b"", 0))
        child.stderr.close()
        left = self.good("consume", outbox).splitlines()
        self.assertGreater(len(left), 300)
        self.assertEqual(left, bodies[-len(left) :])

    def test_nobody_there(self) -> None:
        """A broker that cannot be reached, or does not let us in, is one clear line without the password."""
        self.configure(f"amqp://guest:s3cret@127.0.0.1:{free_ports(1)[0]}/")
        for address in (f"amqp://guest:s3cret@127.0.0.1:{free_ports(1)[0]}/", self.rabbit.url(password="s3cret")):
            self.configure(address)
            status, output, errors = self.mailerq("publish", stdin=b"1\n")
            self.assertEqual((status, output), (1, b""))
            self.assertEqual(len(errors.splitlines()), 1, errors)
            self.assertNotIn("s3cret", errors)
            self.assertIn("0 published", errors)
            self.assertIn("127.0.0.1", errors)

    def test_gzip_is_text(self) -> None:
        """Lines are bodies: what looks compressed is published without an encoding, and comes back as it was."""
        body = gzip.compress(b"x", mtime=0).replace(b"\n", b"")
        self.good("publish", stdin=body + b"\n")
        self.assertEqual(self.good("consume", self.queues["outbox"]), body + b"\n")
