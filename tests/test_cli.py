"""The ``mailerq`` command over the embedded queue."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import random
import subprocess
import sys
from argparse import Namespace
from email import message_from_string
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailerq.cli import COMMANDS
from mailerq.commands import Failed
from mailerq.commands.access import Held
from mailerq.commands.consume import Printer, line
from mailerq.commands.message import Message, job_properties, only_utf8
from mailerq.commands.publish import Lines
from mailerq.commands.queues import age
from mailerq.commands.send import make_jobs, read
from mailerq.queues.sqlite_file import QueueFile, row

ROOT = Path(__file__).parents[1]


class Command(SynchronousTestCase):
    """Runs the command as a user does, in a directory of its own."""

    def setUp(self) -> None:
        """An empty directory with a configuration."""
        self.place = Path(self.mktemp()).absolute()
        (self.place / "etc").mkdir(parents=True)
        self.configure("broker: sqlite:var/queue.db\n")

    def configure(self, text: str) -> None:
        """Write the configuration."""
        (self.place / "etc" / "mailerq.yaml").write_text(text)

    def mailerq(self, *arguments: str, stdin: bytes = b"", **more: Any) -> tuple[int, bytes, str]:
        """Exit status, standard output, standard error."""
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        environ.pop("MAILERQ_CONFIG", None)
        command = [sys.executable, "-m", "mailerq", *arguments]
        done = subprocess.run(
            command,
            input=stdin,
            cwd=self.place,
            capture_output=True,
            timeout=60,
            check=False,
            env={**environ, **more},
        )
        return done.returncode, done.stdout, done.stderr.decode()

    def good(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """Standard output of a command that goes well and says nothing else."""
        status, output, errors = self.mailerq(*arguments, stdin=stdin)
        self.assertEqual((status, errors), (0, ""))
        return output

    def bad(self, *arguments: str, stdin: bytes = b"", status: int = 1, **more: Any) -> str:
        """Standard error of a command that fails, without a traceback."""
        found, output, errors = self.mailerq(*arguments, stdin=stdin, **more)
        self.assertEqual((found, output), (status, b""), errors)
        self.assertNotIn("Traceback", errors)
        return errors

    def file(self) -> QueueFile:
        """The queue file."""
        file = QueueFile(str(self.place / "var" / "queue.db"))
        self.addCleanup(file.close)
        return file


class Publish(Command):
    """``mailerq publish``."""

    def test_byte_for_byte(self) -> None:
        """Each line is published as it is, valid or not; empty ones are not; the last needs no line end."""
        lines = [b'{"recipient": "a@example.org"}', b"no JSON \xff\x00", b' {"a":1}\r', "é\u2028".encode(), b"last"]
        output = self.good("publish", stdin=b"\n" + b"\n\r\n \n".join(lines))
        self.assertEqual(output, b"5 published\n")
        self.assertEqual([body for *_, body in self.file().peek("outbox")], lines)

    def test_another_queue(self) -> None:
        """A queue may be named; one that is neither configured nor there is used with a note."""
        self.assertEqual(self.good("publish", "results", stdin=b"1\n"), b"1 published\n")
        status, output, errors = self.mailerq("publish", "new", stdin=b"1\n2\n")
        self.assertEqual((status, output), (0, b"2 published\n"))
        self.assertEqual(errors, "mailerq: note: the queue 'new' is a new one\n")

    def test_nothing(self) -> None:
        """Nothing to publish is no error."""
        self.assertEqual(self.good("publish"), b"0 published\n")

    def test_many(self) -> None:
        """Many lines, and a long one."""
        lines = [b'{"n": %d}' % n for n in range(20_000)] + [b"x" * 5_000_000]
        self.assertEqual(self.good("publish", stdin=b"\n".join(lines)), b"20001 published\n")
        self.assertEqual([body for *_, body in self.file().peek("outbox")], lines)

    def test_configured_outbox(self) -> None:
        """The default is the configured outbox, found by ``-c``, the environment or its place."""
        self.configure("queues: {outbox: jobs}")
        other = self.place / "other.yaml"
        other.write_text("queues: {outbox: others}")
        self.good("publish", stdin=b"1\n")
        self.good("publish", "-c", str(other), stdin=b"2\n")
        self.good("-c", str(other), "publish", stdin=b"3\n")
        self.mailerq("publish", stdin=b"4\n", MAILERQ_CONFIG=str(other))
        file = self.file()
        found = [[body for *_, body in file.peek(queue)] for queue in ("jobs", "others")]
        self.assertEqual(found, [[b"1"], [b"2", b"3", b"4"]])

    def test_quick(self) -> None:
        """Twisted is not loaded for the embedded queue."""
        code = "import sys; from mailerq.cli import main; main(['publish']); print('twisted' in sys.modules)"
        done = subprocess.run(
            [sys.executable, "-c", code],
            input=b"1\n",
            cwd=self.place,
            capture_output=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self.assertEqual(done.stdout, b"1 published\nFalse\n")

    def test_lines_as_they_come(self) -> None:
        """Lines are given as soon as they are there; half a line waits for its other half."""
        source, sink = os.pipe()
        self.addCleanup(os.close, source)
        lines = Lines(source)
        os.write(sink, b"1\n2\nha")
        self.assertEqual(lines.batch(), [b"1", b"2"])
        os.write(sink, b"lf\n\n")
        self.assertEqual(lines.batch(), [b"half"])
        os.write(sink, b"end")
        os.close(sink)
        self.assertEqual(lines.batch(), [b"end"])
        self.assertEqual(lines.batch(), None)
        self.assertEqual(lines.number, 5)

    def test_cut_anywhere(self) -> None:
        """However the input is cut into pieces, the lines are the same."""
        text = b"a\n\nbb\r\nc"
        for first in range(len(text) + 1):
            for second in range(first, len(text) + 1):
                source, sink = os.pipe()
                lines, found = Lines(source), []
                for piece in (text[:first], text[first:second], text[second:]):
                    if piece:
                        os.write(sink, piece)
                        if b"\n" in piece:
                            found += lines.batch() or []
                os.close(sink)
                while (batch := lines.batch()) is not None:
                    found += batch
                os.close(source)
                self.assertEqual(found, [b"a", b"bb\r", b"c"])

    def test_file_that_cannot_be_used(self) -> None:
        """A broker that cannot be used is one clear line, and how many were published."""
        (self.place / "var").write_text("")
        self.assertIn("var/queue.db: var is no directory; 0 published", self.bad("publish", stdin=b"1\n"))


class Consume(Command):
    """``mailerq consume``."""

    def fill(self, *bodies: bytes, queue: str = "results") -> QueueFile:
        """Put bodies on a queue."""
        file = self.file()
        with file.transaction():
            file.insert([row(queue, body, 1.0) for body in bodies])
        return file

    def test_prints_and_removes(self) -> None:
        """One body a line, in order; -n says how many at most; nothing is left when all are printed."""
        self.fill(*(b"%d" % n for n in range(1200)))
        self.assertEqual(self.good("consume", "results", "-n", "2"), b"0\n1\n")
        self.assertEqual(self.good("consume", "results", "-n", "0"), b"")
        self.assertEqual(self.good("consume", "results"), b"".join(b"%d\n" % n for n in range(2, 1200)))
        self.assertEqual(self.good("consume", "results"), b"")

    def test_peek(self) -> None:
        """With --peek all stay."""
        file = self.fill(b"1", b"2", b"3")
        self.assertEqual(self.good("consume", "results", "--peek", "-n", "2"), b"1\n2\n")
        self.assertEqual(self.good("consume", "results", "--peek"), b"1\n2\n3\n")
        self.assertEqual(len(list(file.peek("results"))), 3)

    def test_one_line_each(self) -> None:
        """Line breaks between the parts of JSON go, with every number and string as it was; the rest is raw."""
        for body, expected in (
            (b'{\n  "a": 1e3,\r\n\t"b": [1,\n 2.10]\n}\n', b'{"a": 1e3,"b": [1,2.10]}'),
            (b'{"a":\n%s}' % (b"9" * 5000), b'{"a":%s}' % (b"9" * 5000)),
            (b'{"a": "\\ud83d",\n"b": 1}', b'{"a": "\\ud83d","b": 1}'),
            (b"no\nJSON", b"no\nJSON"),
            (b'{"a": "raw\nbreak"}', b'{"a": "raw\nbreak"}'),
            (b"[" * 100_000 + b"\n", b"[" * 100_000 + b"\n"),
            (b"\xff\n", b"\xff\n"),
            (b"", b""),
        ):
            self.assertEqual(line(Held(body, None, 1)), expected + b"\n")

    def test_gzip(self) -> None:
        """Compressed bodies are unpacked; what is only said to be compressed is printed as it is."""
        self.assertEqual(line(Held(gzip.compress(b'{"a":\n1}'), "gzip", 1)), b'{"a":1}\n')
        self.assertEqual(line(Held(b"plain", "gzip", 1)), b"plain\n")
        self.assertEqual(line(Held(gzip.compress(b"x")[:-3], "gzip", 1)), gzip.compress(b"x")[:-3] + b"\n")

    def test_broken_pipe(self) -> None:
        """Whoever stops reading ends it quietly; what did not fit into the pipe is still in the queue."""
        bodies = [b"%05d" % n * 1000 for n in range(400)]
        file = self.fill(*bodies)
        child = subprocess.Popen(
            [sys.executable, "-m", "mailerq", "consume", "results"],
            cwd=self.place,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert child.stdout is not None
        assert child.stderr is not None
        self.assertEqual(child.stdout.read(5001), bodies[0] + b"\n")
        child.stdout.close()
        self.assertEqual(child.stderr.read(), b"")
        child.stderr.close()
        self.assertEqual(child.wait(), 0)
        left = [body for *_, body in file.peek("results")]
        self.assertGreater(len(left), 300)
        self.assertEqual(left, bodies[-len(left) :])

    def test_full_disk(self) -> None:
        """Where standard output cannot be written, that is said, and all is still in the queue."""
        file = self.fill(b"1", b"2")
        for more in ([], ["--peek"]):
            with open("/dev/full", "wb") as full:
                done = subprocess.run(
                    [sys.executable, "-m", "mailerq", "consume", "results", *more],
                    cwd=self.place,
                    stdout=full,
                    stderr=subprocess.PIPE,
                    check=False,
                    env={**os.environ, "PYTHONPATH": str(ROOT)},
                )
            self.assertEqual(done.returncode, 1)
            self.assertEqual(done.stderr, b"mailerq: standard output: No space left on device\n")
            self.assertEqual(len(list(file.peek("results"))), 2)

    def test_after_a_killed_one(self) -> None:
        """What a killed command held is printed by the next."""
        file = self.fill(b"1")
        with file.transaction():
            file._connection.execute("INSERT INTO owners VALUES (77, 999999999, '5', 0)")
            file.claim("results", 77, 1)
        self.assertEqual(self.good("consume", "results"), b"1\n")

    def test_only_whole_lines_count(self) -> None:
        """A line that was written in part does not count as printed."""
        source, sink = os.pipe()
        os.set_blocking(sink, False)
        self.addCleanup(os.close, source)
        self.addCleanup(os.close, sink)
        self.assertEqual(Printer(sink).print([Held(b"x" * 40_000, None, 1)] * 3), 1)

    def test_follow(self) -> None:
        """With --follow it waits for more."""
        file = self.fill(b"1")
        child = subprocess.Popen(
            [sys.executable, "-m", "mailerq", "consume", "results", "--follow", "-n", "2"],
            cwd=self.place,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert child.stdout is not None
        self.assertEqual(child.stdout.readline(), b"1\n")
        with file.transaction():
            file.insert([row("results", b"2", 1.0)])
        self.assertEqual(child.stdout.read(), b"2\n")
        child.stdout.close()
        self.assertEqual(child.wait(), 0)

    def test_no_such_queue(self) -> None:
        """A queue that does not exist is an error that names those that do."""
        self.assertIn("there is no queue 'reslts' (configured are: outbox, results", self.bad("consume", "reslts"))


class Others(Command):
    """``queues``, ``check``, and the command itself."""

    def test_queues(self) -> None:
        """A table of all configured queues."""
        self.good("publish", stdin=b"1\n2\n")
        lines = [text.split() for text in self.good("queues").decode().splitlines()]
        self.assertEqual(lines[0], ["name", "ready", "waiting", "in", "hand", "oldest"])
        self.assertEqual(lines[1], ["outbox", "2", "0", "0", "0s"])
        self.assertEqual(lines[2], ["results", "0", "0", "0", "-"])
        self.assertEqual([text[0] for text in lines[3:]], ["success", "failure", "retry", "invalid"])

    def test_queues_as_json(self) -> None:
        """The same for programs."""
        states = [json.loads(text) for text in self.good("queues", "--json").splitlines()]
        self.assertEqual(states[0], {"name": "outbox", "ready": 0, "waiting": 0, "in_hand": 0, "oldest": None})

    def test_age(self) -> None:
        """Ages are short."""
        self.assertEqual([age(n) for n in (0.9, 59, 60, 7199, 86399, 200_000)], ["0s", "59s", "1m", "1h", "23h", "2d"])

    def test_check(self) -> None:
        """All errors at once, each on a line with its place; status 1."""
        self.assertEqual(self.good("check"), b"etc/mailerq.yaml: no errors\n")
        self.configure("brokr: sqlite:var/queue.db\ndelivery:\n  max-attempts: many\n")
        errors = self.bad("check").splitlines()
        self.assertEqual(len(errors), 2, errors)
        self.assertIn("etc/mailerq.yaml:1", errors[0])
        self.assertIn("etc/mailerq.yaml:3", errors[1])
        self.assertEqual(self.bad("queues").splitlines(), errors)

    def test_wrong_calls(self) -> None:
        """A wrong call has status 2, and a mistyped command a suggestion."""
        self.assertIn("did you mean publish?", self.bad("publsh", status=2))
        self.bad(status=2)
        self.bad("consume", status=2)
        self.bad("consume", "results", "-n", "x", status=2)
        self.bad("publish", "--nothing", status=2)

    def test_names_of_queues(self) -> None:
        """A name that no broker could have is refused, before anything is read or said to be published."""
        for command in ("publish", "consume"):
            self.assertIn("QUEUE: the name is empty", self.bad(command, "", status=2))
            self.assertIn("longer than 255 bytes", self.bad(command, "ü" * 128, stdin=b"{}\n", status=2))

    def test_help(self) -> None:
        """The help names every command, and each has its own."""
        text = self.good("--help").decode()
        for name, what in COMMANDS.items():
            self.assertIn(name, text)
            self.assertIn(what, text)
            self.assertIn(f"usage: mailerq {name}", self.good(name, "-h").decode())

    def test_configuration_that_is_not_there(self) -> None:
        """A file that was named and is not there is an error."""
        self.assertIn("nowhere.yaml: cannot be read", self.bad("queues", "-c", "nowhere.yaml"))
        self.assertIn("nowhere.yaml: cannot be read", self.bad("queues", MAILERQ_CONFIG="nowhere.yaml"))

    def test_no_database(self) -> None:
        """A queue file that is none is said in one line."""
        (self.place / "var").mkdir()
        (self.place / "var" / "queue.db").write_bytes(b"text " * 1000)
        for command in (["queues"], ["consume", "results"], ["publish"], ["send", "a@example.org"]):
            errors = self.bad(*command, stdin=b"x\n")
            self.assertEqual(len(errors.splitlines()), 1)
            self.assertIn("var/queue.db", errors)


MESSAGE = b"""From: Me <me@example.org>
To: You <you@example.com>, "A, B" <ab@example.com>
Cc: Friends: c1@example.com, c2@example.com;
Bcc: secret@example.com,
 you@example.com
Subject: Hello
Date: Tue, 24 Nov 2026 08:00:00 +0000
Message-ID: <1@example.org>

Hello.
"""


def jobs(content: bytes, *recipients: str, t: bool = False, f: str | None = None, **dsn: str) -> list[dict[str, Any]]:
    """What ``send`` would publish."""
    options = dict.fromkeys(("notify", "ret", "envid")) | dsn
    arguments = Namespace(recipients=list(recipients), extract_recipients=t, envelope=f, **options)
    return [json.loads(job) for job in make_jobs(Message.parse(only_utf8(content)), arguments)]


class Send(Command):
    """``mailerq send``."""

    def test_end_to_end(self) -> None:
        """The message lies in the inbox, one job for each recipient; nothing is printed."""
        self.configure("queues: {inbox: incoming}")
        self.assertEqual(self.good("send", "a@example.org", "b@example.org", "-f", "me@x.org", stdin=MESSAGE), b"")
        found = [json.loads(body) for *_, body in self.file().peek("incoming")]
        mime = MESSAGE.decode()
        for job, recipient in zip(found, ("a@example.org", "b@example.org"), strict=True):
            self.assertEqual(job, {"envelope": "me@x.org", "recipient": recipient, "mime": mime})

    def test_extract_recipients(self) -> None:
        """With -t all of To, Cc, Bcc and the arguments get it once; Bcc is removed, all else stays as it is."""
        found = jobs(MESSAGE, "more@example.com", t=True)
        expected = ["more", "you", "ab", "c1", "c2", "secret"]
        self.assertEqual([job["recipient"] for job in found], [f"{name}@example.com" for name in expected])
        bcc = "Bcc: secret@example.com,\n you@example.com\n"
        self.assertEqual(found[0]["mime"], MESSAGE.decode().replace(bcc, ""))

    def test_envelope(self) -> None:
        """The sender: -f, x-mq-envelope, Return-Path, From; ``<>`` is the null sender."""
        self.assertEqual(jobs(MESSAGE, "a@b.c", f="x@y.z")[0]["envelope"], "x@y.z")
        self.assertEqual(jobs(MESSAGE, "a@b.c", f="<>")[0]["envelope"], "")
        self.assertEqual(jobs(MESSAGE, "a@b.c", f="")[0]["envelope"], "")
        self.assertEqual(jobs(b"X-MQ-Envelope: m@q.x\n" + MESSAGE, "a@b.c")[0]["envelope"], "m@q.x")
        self.assertEqual(jobs(b"Return-Path: <r@p.x>\n" + MESSAGE, "a@b.c")[0]["envelope"], "r@p.x")
        self.assertEqual(jobs(b"Return-Path: <>\n" + MESSAGE, "a@b.c")[0]["envelope"], "")
        self.assertEqual(jobs(MESSAGE, "a@b.c")[0]["envelope"], "me@example.org")
        self.assertIn("@", jobs(b"\nx\n", "a@b.c")[0]["envelope"])

    def test_dots(self) -> None:
        """A dot alone ends the message, other dots at a line's beginning are one less; with -i they are as they are."""
        text = b"a\n..b\n.c\r\n.\r\nd\n"
        self.assertEqual(read(io.BytesIO(text), False), b"a\n.b\n.c\r\n")
        self.assertEqual(read(io.BytesIO(text), True), text)

    def test_missing_fields(self) -> None:
        """Date, Message-ID and From are added where they are missing, with the message's own line ends."""
        (job,) = jobs(b"Subject: x\r\n\r\nHello\r\n", "a@b.c", f="me@example.org")
        mime = job["mime"]
        parsed = message_from_string(mime)
        self.assertEqual(parsed["from"], "me@example.org")
        self.assertTrue(parsed["date"] and parsed["message-id"].endswith("@example.org>"))
        self.assertTrue(mime.startswith("Subject: x\r\nFrom:") and mime.endswith("\r\n\r\nHello\r\n"))
        self.assertEqual(mime.count("\n"), mime.count("\r\n"))

    def test_no_header(self) -> None:
        """A text without a header is the body."""
        for text in (b"Hello there\nyou\n", b"\nHello there\nyou\n", b"Hello there\nyou"):
            parsed = message_from_string(jobs(text, "a@b.c")[0]["mime"])
            self.assertEqual(parsed.get_payload().rstrip("\n"), "Hello there\nyou")
        self.assertTrue(jobs(b"", "a@b.c")[0]["mime"].endswith("\n\n"))

    def test_any_bytes(self) -> None:
        """Nothing in a message raises anything but ``Failed``, and a message that lacks nothing stays as it is."""
        dice = random.Random(5)
        for _ in range(2000):
            content = bytearray(b"x-mq-tag: a\nContent-Type: text/plain; charset=x\n" + MESSAGE)
            for _ in range(dice.randrange(1, 6)):
                content[dice.randrange(len(content))] = dice.choice(b'\n\r\0 :.\xff\xc3\xa9=?<>,;@"(')
            with contextlib.suppress(Failed):
                jobs(bytes(content), "a@b.c", t=True)
        whole = MESSAGE + bytes(range(128)) + b"\r\n.\n\n"
        self.assertEqual(Message.parse(whole).content(), whole)
        for cut in range(len(MESSAGE)):
            with contextlib.suppress(Failed):
                jobs(MESSAGE[:cut], "a@b.c", t=True)

    def test_own_fields(self) -> None:
        """x-mq- fields become properties and are removed."""
        header = (
            b"x-mq-maxattempts: 3\nX-MQ-MaxDeliverTime: 2027-01-01 00:00:00\nx-mq-ip: 192.0.2.1\nx-mq-ip: 192.0.2.2\n"
            b"x-mq-retries: 60, 120\nx-mq-results-queue: r\nx-mq-failure-queue: f\nx-mq-success-queue: s\n"
            b"x-mq-retry-queue: again\nx-mq-mine: =?utf-8?q?=C3=A9?=\nx-mq-keepmime: 1\nx-mq-smarthost-hostname: h\n"
            b"x-mq-smarthost-port: 26\nx-mq-recipient: evil@example.org\nx-mq-key: k\n"
        )
        (job,) = jobs(header + MESSAGE, "a@b.c")
        self.assertEqual(job.pop("mime"), MESSAGE.decode())
        expected = {
            "envelope": "me@example.org",
            "recipient": "a@b.c",
            "maxattempts": 3,
            "maxdelivertime": "2027-01-01 00:00:00",
            "ips": ["192.0.2.1", "192.0.2.2"],
            "retries": [60, 120],
            "queues": {"results": "r", "failure": "f", "success": "s", "retry": "again"},
            "mine": "é",
            "keepmime": True,
            "smarthost": {"hostname": "h", "port": 26},
        }
        self.assertEqual(job, expected)

    def test_dsn(self) -> None:
        """x-mq-dsn- fields become the property dsn; -N, -R and -V go before them; a wrong value is refused."""
        header = (
            b"x-mq-dsn-notify: failure\nx-mq-dsn-notify: delay\nx-mq-dsn-ret: FULL\nx-mq-dsn-orcpt: rfc822;me@x.org\n"
        )
        (job,) = jobs(header + MESSAGE, "a@b.c")
        self.assertEqual(job["dsn"], {"notify": "failure,delay", "ret": "FULL", "orcpt": "rfc822;me@x.org"})
        (job,) = jobs(b"x-mq-dsn-envid: 1\nx-mq-dsn-ret: FULL\n" + MESSAGE, "a@b.c", notify="never", envid="2")
        self.assertEqual(job["dsn"], {"envid": "2", "ret": "FULL", "notify": "never"})
        error = self.assertRaises(Failed, jobs, MESSAGE, "a@b.c", notify="sometimes")
        self.assertEqual(str(error), "dsn.notify: 'SOMETIMES' is none of NEVER, SUCCESS, FAILURE, DELAY")

    def test_number_that_is_none(self) -> None:
        """A number that is none is refused."""
        message = Message.parse(b"x-mq-maxattempts: some\n\n")
        error = self.assertRaises(Failed, job_properties, message)
        self.assertEqual(str(error), "x-mq-maxattempts: 'some' is no number")

    def test_utf8(self) -> None:
        """UTF-8 stays as it is."""
        text = "Subject: é\n" + MESSAGE.decode() + "ü\u2028\x0c\n"
        self.assertEqual(jobs(text.encode(), "a@b.c")[0]["mime"], text)

    def test_other_charsets(self) -> None:
        """Bytes that are no UTF-8 are encoded, part by part, and mean the same."""
        latin = "Grüße, Jérôme\n".encode("latin-1")
        plain = MESSAGE.replace(b"\n\n", b"\nContent-Type: text/plain; charset=iso-8859-1\n\n", 1) + latin
        mime = jobs(plain, "a@b.c")[0]["mime"]
        self.assertTrue(mime.isascii())
        parsed = message_from_string(mime)
        self.assertEqual(parsed["subject"], "Hello")
        self.assertEqual(parsed.get_payload(decode=True), b"Hello.\n" + latin)
        parts = (
            b"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: 8bit\n"
            b"From: a@b.c\n\n--b\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\n\n"
            + latin
            + b"--b\nContent-Type: application/x\nContent-Transfer-Encoding: binary\n\n\xff\xfe\x00\n--b--\n"
        )
        parsed = message_from_string(jobs(parts, "a@b.c")[0]["mime"])
        first, second = parsed.get_payload()
        self.assertEqual(first.get_payload(decode=True).rstrip(b"\n"), latin.rstrip(b"\n"))
        self.assertEqual(second.get_payload(decode=True), b"\xff\xfe\x00")

    def test_header_that_cannot_be_encoded(self) -> None:
        """A header field with bytes that are no UTF-8 is refused."""
        errors = self.bad("send", "a@b.c", stdin="Subject: Grüße\n\nx\n".encode("latin-1"))
        self.assertIn("the header field Subject has bytes that are no UTF-8", errors)

    def test_refusals(self) -> None:
        """Nobody to send to, and what is no address, are said."""
        self.assertIn("nobody to send to", self.bad("send", stdin=MESSAGE))
        self.assertIn("names no recipient", self.bad("send", "-t", stdin=b"Subject: x\n\nx\n"))
        self.assertIn("the recipient 'root' is no address", self.bad("send", "root", stdin=MESSAGE))
        self.assertIn("the sender 'root' is no address", self.bad("send", "a@b.c", "-f", "root", stdin=MESSAGE))
        self.configure("queues: {inbox: null}")
        self.assertIn("queues.inbox is switched off", self.bad("send", "a@b.c", stdin=MESSAGE))
