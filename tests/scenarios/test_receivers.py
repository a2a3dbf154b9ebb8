"""What real receivers took in is the mail of the job, byte for byte: Postfix and aiosmtpd, through a whole engine."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from twisted.trial.unittest import SkipTest, TestCase

from tests.postfix import Postfix, postfix_program
from tests.rabbit import free_ports
from tests.scenarios.harness import Engine, sleep, until

HEAD = "From: a@sender.example\r\nTo: b@kept.example\r\nSubject: bytes\r\nMIME-Version: 1.0\r\n"
PLAIN = HEAD + "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
MESSAGES = {
    "plain": PLAIN + "one line\r\n",
    "eight-bit": PLAIN + "Grüße aus Zürich, 日本語, 🐘\r\n" * 50,
    "dots": PLAIN + ".\r\n..\r\n...\r\n.x\r\nx.\r\n.\r\n\r\n.\r\n",
    "first-dot": ".\r\n" + PLAIN + "a field named by a dot\r\n",
    "many-dots": PLAIN + ".\r\n" * 30000,
    "long-lines": PLAIN + ("x" * 20000 + "\r\n" + "." * 20000 + "\r\n") * 3,
    "no-final-newline": PLAIN + "ends here",
    "ends-with-cr": PLAIN + "ends here\r",
    "bare-lf": (PLAIN + "one\ntwo\n.\nthree\n").replace("\r\n", "\n"),
    "bare-cr": PLAIN + "one\rtwo\r.\rthree\r\r\n",
    "smuggled": PLAIN + "end\n.\nMAIL FROM:<x@evil.example>\nRCPT TO:<y@evil.example>\r.\rDATA\r\n.\rQUIT\r\n",
    "nul-and-control": PLAIN + "tab\tbell\x07escape\x1b delete\x7f\r\n",
    "no-body": HEAD + "\r\n",
    "big": PLAIN + ("." + "0123456789abcdef" * 4 + " äöü\r\n") * (20 * 1024 * 1024 // 73),
}


NOT_FOR_POSTFIX = {"first-dot"}  # it takes a first line that is no field for the body, and sets an empty line before it


def as_sent(message: str) -> bytes:
    """What stands in a receiver's file: all line ends LF, the last line ended."""
    lines = re.sub(r"\r\n|\r|\n", "\n", message).encode()
    return lines if lines.endswith(b"\n") else lines + b"\n"


class Kept:
    """What aiosmtpd took in, by local part."""

    def __init__(self) -> None:
        self.messages: dict[str, bytes] = {}

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        for recipient in envelope.rcpt_tos:
            self.messages[recipient.partition("@")[0]] = content.replace(b"\r\n", b"\n")
        return "250 2.0.0 kept"


class LongLines(SMTP):
    """Takes lines of any length."""

    line_length_limit = 2**20


class Aiosmtpd(Controller):
    """Takes large messages."""

    def factory(self) -> Any:
        return LongLines(self.handler, data_size_limit=60_000_000, enable_SMTPUTF8=True)


class Receivers(TestCase):
    """Real receivers."""

    timeout = 120
    workers = 1

    async def arrives(self, port: int, received: Any, messages: Mapping[str, str]) -> None:
        """All messages are delivered, and ``received(name)`` is what was sent."""
        settings = {"workers": self.workers, "dns": {"hosts": {"kept.example": f"127.0.0.1:{port}"}}}
        engine = Engine(settings, "sqlite")
        self.addCleanup(engine.remove)
        engine.start()
        await engine.running()
        await engine.connect()
        jobs = [
            {"envelope": "a@sender.example", "recipient": f"{name}@kept.example", "mime": message}
            for name, message in messages.items()
        ]
        await engine.publish([json.dumps(job).encode() for job in jobs])
        results: list[dict[str, Any]] = []
        for _ in range(400):
            results += [json.loads(body) for body in await engine.take("results")]
            if len(results) == len(messages):
                break
            await sleep(0.1)
        ended = {job["recipient"].partition("@")[0]: job["results"][-1] for job in results}
        self.assertEqual({name: end["type"] for name, end in ended.items()}, dict.fromkeys(messages, "success"), ended)
        for name, message in messages.items():
            await until(lambda name=name: received(name) is not None, 20, f"{name} in the receiver's folder")
            found, expected = received(name), as_sent(message)
            self.assertTrue(found == expected, f"{name}: {difference(found, expected)}")

    async def test_postfix(self) -> None:
        """A real Postfix."""
        if postfix_program() is None:
            raise SkipTest("Postfix has to be installed, and started by root")
        postfix = Postfix()
        self.addCleanup(postfix.stop)
        postfix.start()
        messages = {name: message for name, message in MESSAGES.items() if name not in NOT_FOR_POSTFIX}
        await self.arrives(postfix.port, postfix.received, messages)

    async def test_aiosmtpd(self) -> None:
        """aiosmtpd."""
        kept = Kept()
        controller = Aiosmtpd(kept, hostname="127.0.0.1", port=free_ports(1)[0])
        self.addCleanup(controller.stop)
        controller.start()
        await self.arrives(controller.port, kept.messages.get, MESSAGES)


class ReceiversOfTwo(Receivers):
    """From two workers."""

    workers = 2


def difference(found: bytes, expected: bytes) -> str:
    """Where two messages part."""
    at = next((at for at, (one, other) in enumerate(zip(found, expected, strict=False)) if one != other), -1)
    if at < 0:
        return f"{len(found)} bytes instead of {len(expected)}"
    return f"at byte {at}: {found[at - 20 : at + 40]!r} instead of {expected[at - 20 : at + 40]!r}"
