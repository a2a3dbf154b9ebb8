"""What is done to messages, by a whole engine: from real queues and a store in a directory to a real receiver, with a
real server of images. What came in is read by parsers and verifiers that are not ours."""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
import sys
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import dkim
from aiosmtpd.smtp import SMTP, Envelope, Session
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from twisted.internet import reactor as real_reactor
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site
from twisted.web.static import Data

from mailerq.interfaces import Publication
from tests.rabbit import free_ports
from tests.scenarios.harness import ROOT, Engine, sleep
from tests.scenarios.test_receivers import Aiosmtpd

reactor: Any = real_reactor
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAABCAYAAAD0In+KAAAAEUlEQVR4nGP4z8DwHwQZYAwAR+AH+WaaM5MAAAAASUVORK5CYII="
)
HTML = "<html><head><style>p {color: red}</style></head><body><p>Dear {$name}</p></body></html>"
TWO_PARTS = (
    "From: Shop <shop@sender.example>\r\nTo: {$name} <b@kept.example>\r\nSubject: Order {$order}\r\nX-Old: 1\r\n"
    "Date: Tue, 24 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@sender.example>\r\nMIME-Version: 1.0\r\n"
    'Content-Type: multipart/alternative; boundary="b"\r\n\r\n'
    "--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nDear {$name}, {foreach $x in $things}{$x};{/foreach}\r\n"
    "--b\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    f"{base64.b64encode(HTML.encode()).decode()}\r\n--b--\r\n"
)


class Received:
    """What the receiver took in, by the local part of the recipient: MAIL FROM, and the message with CRLF."""

    def __init__(self) -> None:
        self.mails: dict[str, tuple[str, bytes]] = {}

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("nobody"):
            return "550 5.1.1 Never heard of"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        for recipient in envelope.rcpt_tos:
            self.mails[recipient.partition("@")[0]] = (envelope.mail_from or "", content)
        return "250 2.0.0 kept"

    def parsed(self, name: str) -> EmailMessage:
        """A message, as the standard library reads it."""
        found = message_from_bytes(self.mails[name][1], policy=default)
        assert isinstance(found, EmailMessage)
        return found


class Content(TestCase):
    """Over the embedded queue."""

    timeout = 120
    broker = "sqlite"
    workers = 1

    async def begin(self) -> None:
        self.received = Received()
        controller = Aiosmtpd(self.received, hostname="127.0.0.1", port=free_ports(1)[0])
        self.addCleanup(controller.stop)
        controller.start()
        key = rsa.generate_private_key(65537, 2048)
        kinds = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        pem = key.private_bytes(serialization.Encoding.PEM, *kinds).decode()
        public = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        self.record = b"v=DKIM1; k=rsa; p=" + base64.b64encode(key.public_key().public_bytes(*public))
        settings = {
            "workers": self.workers,
            "dns": {"hosts": {"*": f"127.0.0.1:{controller.port}"}},
            "dkim": [{"domain": "sender.example", "selector": "s1", "key": pem}],
            "downloads": {"allow": ["127.0.0.0/8"]},
            "verp": "bounce+{recipient.local}@sender.example",
            "list-headers": [{"tag": "news", "List-Unsubscribe": ["https://sender.example/out?who={recipient}"]}],
        }
        self.engine = Engine({**settings, "store": "directory:bodies"}, self.broker, prefix=f"{self.id()}-")
        self.addCleanup(self.engine.remove)
        self.engine.start()
        await self.engine.running()
        await self.engine.connect()

    async def send(self, *jobs: dict[str, Any] | Publication) -> dict[str, dict[str, Any]]:
        """The result of each job, by the local part of its recipient."""
        await self.engine.publish([one if isinstance(one, Publication) else json.dumps(one).encode() for one in jobs])
        results: dict[str, dict[str, Any]] = {}
        for _ in range(300):
            for body in await self.engine.take("results"):
                result = json.loads(body)
                results[result["recipient"].partition("@")[0]] = result
            if len(results) >= len(jobs):
                return results
            await sleep(0.1)
        raise AssertionError(f"only {list(results)} came\n{self.engine.log[-3000:]}")

    def verified(self, name: str) -> bool:
        """Whether the signature of a received message is right, by dkimpy."""
        return bool(dkim.verify(self.received.mails[name][1], dnsfunc=lambda name, timeout=5: self.record))

    def kind(self, result: dict[str, Any]) -> str:
        return str(result["results"][-1]["type"])

    async def test_changed(self) -> None:
        """Personalised, its CSS moved, its headers changed, list headers added, and signed over all that."""
        await self.begin()
        job = {
            "envelope": "shop@sender.example",
            "recipient": "all@kept.example",
            "mime": TWO_PARTS,
            "data": {"name": "Zoë", "order": 17, "things": ["a", "b"]},
            "inlinecss": True,
            "headers": {"remove": "X-Old", "append": {"X-New": "2"}},
            "tags": ["news"],
        }
        result = (await self.send(job))["all"]
        self.assertEqual(self.kind(result), "success", result)
        self.assertNotIn("mime", result)
        message = self.received.parsed("all")
        self.assertEqual((message["Subject"], message["X-Old"], message["X-New"]), ("Order 17", None, "2"))
        self.assertIn("Zoë", message["To"])
        self.assertIn("all%40kept.example", message["List-Unsubscribe"])
        text, html = message.get_payload()
        self.assertEqual(text.get_content().strip(), "Dear Zoë, a;b;")
        self.assertRegex(html.get_content(), r'<p style="color: ?red;?">Dear Zoë</p>')
        self.assertTrue(self.verified("all"))
        self.assertEqual(self.received.mails["all"][0], "bounce+all@sender.example")

    async def test_by_key(self) -> None:
        """A body that was put by the command is sent by its key to two, kept for one who asks, and signed."""
        await self.begin()
        put = [sys.executable, "-m", "mailerq", "store", "put", "k/1", "-c", str(self.engine.config)]
        subprocess.run(
            put,
            input=TWO_PARTS.encode(),
            check=True,
            cwd=self.engine.folder,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        )
        kept = {"recipient": "kept@kept.example", "envelope": "a@b.example", "key": "k/1", "keepmime": 1}
        result = (await self.send(kept))["kept"]
        self.assertEqual((self.kind(result), result.get("key")), ("success", "k/1"), result)
        last = {"recipient": "last@kept.example", "envelope": "a@b.example", "key": "k/1"}
        result = (await self.send(last))["last"]
        self.assertEqual((self.kind(result), result.get("key")), ("success", None), result)
        self.assertTrue(self.verified("kept") and self.verified("last"))
        await sleep(6)
        result = (await self.send({"recipient": "late@kept.example", "key": "k/1"}))["late"]
        self.assertEqual(self.kind(result), "nodata")

    async def test_described(self) -> None:
        """A described message is composed with what it names, personalised, signed; a compressed job is one, too."""
        await self.begin()
        root = Resource()
        root.putChild(b"logo.png", Data(PNG, "image/png"))
        root.putChild(b"terms.pdf", Data(b"%PDF-1.4 terms", "application/pdf"))
        listening = reactor.listenTCP(0, Site(root), interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        url = f"http://127.0.0.1:{listening.getHost().port}"
        blocks = [
            {"type": "heading", "level": 1, "content": "Hello {$name}"},
            {"type": "image", "src": f"{url}/logo.png", "alt": "logo"},
            {"type": "button", "label": "Look", "link": {"url": "https://sender.example/"}},
        ]
        description = {
            "from": {"name": "Shop", "address": "shop@sender.example"},
            "subject": "For {$name}",
            "content": {"blocks": blocks},
            "attachments": [{"url": f"{url}/terms.pdf", "name": "terms.pdf"}],
        }
        job = {"recipient": "made@kept.example", "mime": description, "data": {"name": "Ann"}}
        packed = Publication(self.engine.names["outbox"], gzip.compress(json.dumps(job).encode()), encoding="gzip")
        result = (await self.send(packed))["made"]
        self.assertEqual(self.kind(result), "success", result)
        message = self.received.parsed("made")
        self.assertEqual(message["Subject"], "For Ann")
        html, text = message.get_body(("html",)), message.get_body(("plain",))
        assert html is not None and text is not None
        self.assertIn("Hello Ann", html.get_content())
        self.assertIn("Hello Ann", text.get_content())
        (attached,) = message.iter_attachments()
        self.assertEqual((attached.get_filename(), attached.get_content()), ("terms.pdf", b"%PDF-1.4 terms"))
        self.assertTrue(self.verified("made"))

    async def test_bounce(self) -> None:
        """Who asks for it is told of a failure by a mail, which is itself no reason for another."""
        await self.begin()
        job = {
            "envelope": "ann@kept.example",
            "recipient": "nobody@kept.example",
            "mime": TWO_PARTS,
            "dsn": {"notify": "FAILURE", "envid": "17"},
        }
        results = await self.send(job)
        self.assertEqual(self.kind(results["nobody"]), "error")
        for _ in range(100):
            if "ann" in self.received.mails:
                break
            await sleep(0.1)
        report = self.received.parsed("ann")
        self.assertEqual(report.get_content_type(), "multipart/report")
        status = report.get_payload()[1].get_payload()
        self.assertEqual(status[1]["Action"], "failed")
        self.assertEqual(status[1]["Status"], "5.1.1")
        self.assertEqual(status[0]["Original-Envelope-Id"], "17")
        self.assertEqual(self.received.mails["ann"][0], "<>")

    async def test_hostile(self) -> None:
        """What cannot be made is a result that says why; what comes after it is delivered."""
        await self.begin()
        mime = "From: shop@sender.example\r\nSubject: {$a}\r\n\r\n"
        loops = "".join(f"{{foreach ${name} in $l}}" for name in "abcd") + "x" + "{/foreach}" * 4
        many = {"l": list(range(300)), "a": "1"}
        nested = "".join(f'Content-Type: multipart/mixed; boundary="b{n}"\r\n\r\n--b{n}\r\n' for n in range(1000))
        metadata = {"blocks": [{"type": "image", "src": "http://169.254.169.254/latest/meta-data"}]}
        results = await self.send(
            {"recipient": "loops@kept.example", "mime": mime + loops, "data": many},
            {"recipient": "lines@kept.example", "mime": mime + "x", "data": {"a": "1\r\nBcc: x@y.example"}},
            {"recipient": "nested@kept.example", "mime": "Subject: x\r\n" + nested, "data": {"a": 1}, "inlinecss": 1},
            {"recipient": "inside@kept.example", "mime": {"subject": "x", "content": metadata}},
            {"recipient": "after@kept.example", "mime": mime + "x"},
        )
        kinds = {name: self.kind(result) for name, result in results.items()}
        self.assertEqual((kinds["loops"], kinds["inside"], kinds["after"]), ("responsive", "responsive", "success"))
        self.assertIn(kinds["nested"], ("responsive", "error", "success"))
        self.assertIn("169.254.169.254", results["inside"]["results"][-1]["description"])
        if kinds["lines"] == "success":
            self.assertIsNone(self.received.parsed("lines")["Bcc"])
        self.assertTrue(self.engine.alive)


class ContentOverRabbitmq(Content):
    """Over RabbitMQ, with two workers."""

    broker = "rabbit"
    workers = 2
