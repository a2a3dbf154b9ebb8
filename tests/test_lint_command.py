"""``mailerq lint``: a message or a job in, findings out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.dns import TestDns
from tests.test_lint import GOOD, without

TOP = Path(__file__).parent.parent


class Lint(SynchronousTestCase):
    """The command, as it is called."""

    def run_it(self, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "mailerq", "lint", *arguments],
            input=stdin.encode(),
            capture_output=True,
            cwd=TOP,
            check=False,
        )
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def test_message(self) -> None:
        """Errors are on standard output, with their lines, and the status is 1."""
        status, out, _ = self.run_it("-", stdin=without("Message-ID"))
        self.assertEqual(status, 1)
        self.assertIn("message: error: there is no Message-ID [message-id-missing]\n    why: RFC 5322", out)

    def test_warnings(self) -> None:
        """Warnings alone are no failure, but for bulk mail some are errors."""
        path = self.mktemp()
        Path(path).write_text(without("List-Unsubscribe-Post"))
        self.assertEqual(self.run_it(str(Path(path).absolute()))[0], 0)
        self.assertEqual(self.run_it("--bulk", str(Path(path).absolute()))[0], 1)

    def test_json(self) -> None:
        """With ``--json`` programs read it."""
        status, out, _ = self.run_it("--json", "-", stdin=GOOD.replace("Mon, 21 Sep", "Xyz, 99 Sep"))
        self.assertEqual(status, 1)
        self.assertIn("date-invalid", [finding["rule"] for finding in json.loads(out)])

    def test_job(self) -> None:
        """A job's message is made as the configuration says, and its envelope is looked at."""
        config = Path(self.mktemp())
        config.write_text("list-headers: [{domain: '*', List-Unsubscribe: 'https://example.org/u', List-Id: a.b}]")
        job = {"recipient": "a@b.de", "envelope": "a@esp.example", "mime": "From: a@b.de\r\n\r\nHello"}
        _, out, err = self.run_it("-c", str(config.absolute()), "-", stdin=json.dumps(job))
        self.assertIn("[one-click-missing]", out, err)
        self.assertNotIn("[unsubscribe-missing]", out)
        self.assertIn("MAIL FROM at esp.example", out)

    def test_no_message(self) -> None:
        """What cannot be looked at is said in one line."""
        for stdin, why in (
            ("", "is empty"),
            ('{"a', "it begins as a job does"),
            ('{"mime": "x"}', "recipient: is missing"),
        ):
            status, out, err = self.run_it("-", stdin=stdin)
            self.assertEqual((status, out), (1, ""))
            self.assertIn(why, err)


class Dns(TestCase):
    """With a server that answers."""

    timeout = 60

    def setUp(self) -> None:
        self.dns = TestDns(reactor)
        self.addCleanup(self.dns.stop)
        self.config = Path(self.mktemp())
        self.config.write_text(f'dns: {{servers: ["127.0.0.1:{self.dns.listen()}"]}}')

    async def test_records(self) -> None:
        """Records are looked up at the servers that are configured, and what is missing is said."""
        message = Path(self.mktemp())
        message.write_text(GOOD)
        self.dns.zone["example.org"] = ["MX 10 mx.example.org", 'TXT "v=spf1 +all"', 'TXT "v=spf1 -all"']
        self.dns.zone["2.0.0.127.in-addr.arpa"] = ["PTR mx.example.org"]
        self.dns.zone["mx.example.org"] = ["A 127.0.0.2"]
        options = ["--dns", "--ip", "127.0.0.2", "--json", "-c", str(self.config.absolute()), str(message.absolute())]
        out, err, status = await getProcessOutputAndValue(
            sys.executable, ["-m", "mailerq", "lint", *options], env={"PYTHONPATH": str(TOP)}
        )
        self.assertEqual(status, 1, err)
        rules = {finding["rule"] for finding in json.loads(out)} - {"date-far"}
        self.assertEqual(rules, {"spf-several", "spf-open", "dkim-record", "dmarc-missing"})
