"""Signed mail through the whole engine: what a host receives is right, to dkimpy, OpenDKIM and Mail::DKIM."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from mailerq.content.dkim_signing import Signer
from mailerq.content.dkim_step import sign
from mailerq.content.service import ContentService
from mailerq.settings import parse
from tests import verifiers
from tests.memory_engine import MemoryEngine
from tests.mx import EXTENSIONS, Mx, Net
from tests.test_dkim_signing import MESSAGE, NOW, WAYS
from tests.verifiers import Zone

HOST = "127.1.1.1"
PEM, KEY = verifiers.rsa()
ED_PEM, ED = verifiers.ed25519()
ZONE = Zone()
ZONE.publish("s1", "example.org", KEY)
ZONE.publish("s2", "example.org", ED)
SIGN = {"domain": "example.org", "selector": "s1", "key": PEM}
RULE = {"domain": "example.org", "selector": "s2", "key": ED_PEM}
SEVEN = tuple(word for word in EXTENSIONS if word not in ("8BITMIME", "SMTPUTF8"))


class Sent(SynchronousTestCase):
    """A played host behind the engine."""

    def begin(self, extensions: tuple[str, ...] = EXTENSIONS, **config: Any) -> None:
        self.net = Net()
        self.net.rightNow = NOW  # before now: verifiers look at the clock
        config = {"dns": {"hosts": {"*": f"{HOST}:2525"}}, **config}
        found = parse(json.dumps(config), "test", {})
        self.engine = MemoryEngine(found, {}, str(Path(self.mktemp()) / "journal"), self.net)
        self.mx: Mx = self.net.add(HOST, Mx(extensions=extensions))

    def send(self, mime: str, **properties: Any) -> dict[str, Any]:
        """What came of a job."""
        self.engine.publish(json.dumps({"recipient": "a@host.example", "mime": mime, **properties}).encode())
        self.net.run(1)
        ((_, result),) = self.engine.take_all(["results"])
        found: dict[str, Any] = json.loads(result)
        return found

    def test_job(self) -> None:
        """Signed by the job's key; the result has the job as it was."""
        self.begin()
        result = self.send(MESSAGE.decode(), dkim=SIGN)
        self.assertEqual((result["results"][-1]["type"], result["dkim"]), ("success", SIGN))
        self.assertEqual(ZONE.dkim(self.mx.mails[0].message), [True])

    def test_configured(self) -> None:
        """A plain job is signed by the key of the configuration; somebody else's is not changed."""
        self.begin(dkim=[RULE])
        self.send(MESSAGE.decode())
        other = "From: a@other.example\r\n\r\nx\r\n"
        self.send(other)
        self.assertEqual(ZONE.dkim(self.mx.mails[0].message), [True])
        self.assertEqual(self.mx.mails[1].message, other.encode())

    def test_line_ends_and_dots(self) -> None:
        """Bare CR and LF, dots at the beginning of lines, no line end at the end: as it was sent, so it was signed."""
        self.begin(dkim=[RULE])
        for body in (".\n..\r.x\r\n\r\rlast", "\r\n\r\n", "", ".", "a \n\t\n\n", "x" * 70_000 + "\r."):
            self.send("From: a@example.org\nSubject: x\n\n" + body, dkim={**SIGN, "canonicalization": "simple/simple"})
            self.assertEqual(ZONE.dkim(self.mx.mails[-1].message), [True, True], body[:20])

    def test_seven_bits(self) -> None:
        """A host of 7 bits gets a converted message whose signature is right."""
        self.begin(SEVEN, dkim=[RULE])
        mime = "From: Jö <a@example.org>\r\nSubject: Grüße\r\n\r\nGrüße\r\n"
        self.assertEqual(self.send(mime)["results"][-1]["type"], "success")
        (mail,) = self.mx.mails
        self.assertTrue(mail.message.isascii())
        self.assertEqual(ZONE.dkim(mail.message), [True])

    def test_eight_bits(self) -> None:
        """A host without SMTPUTF8 gets a header in ASCII, and a body as it was."""
        self.begin((*SEVEN, "8BITMIME"), dkim=[RULE])
        self.send("From: Jö <a@example.org>\r\nSubject: Grüße\r\n\r\nGrüße\r\n")
        (mail,) = self.mx.mails
        self.assertTrue(mail.message.partition(b"\r\n\r\n")[0].isascii())
        self.assertIn("BODY=8BITMIME", mail.parameters)
        self.assertEqual(ZONE.dkim(mail.message), [True])

    def test_last(self) -> None:
        """Signed after everything else: what was filled in, the fields that were added, the new line ends."""
        lists = [{"domain": "*", "List-Id": "News <news.example.org>"}]
        self.begin(**{"dkim": [RULE], "list-headers": lists})
        mime = "From: {$who} <a@example.org>\nSubject: x\n\nHello {$who}\n"
        self.send(mime, dkim=SIGN, data={"who": "Joe"}, headers={"append": {"X-More": "more"}})
        message = self.mx.mails[0].message
        for part in (b"Joe <a@example.org>", b"Hello Joe\r\n", b"X-More: more\r\n", b"List-Id: News"):
            self.assertIn(part, message)
        self.assertEqual(ZONE.dkim(message), [True, True])
        self.assertRegex(message.partition(b"bh=")[0], rb"list-id")

    def test_documented(self) -> None:
        """The job in content.md, with the key of RFC 8463, is right by the record that stands there."""
        page = (Path(__file__).parent.parent / "docs" / "content.md").read_text(encoding="utf-8")
        (example,) = [text for text in re.findall(r"^```json\n(.*?)^```$", page, re.M | re.S) if '"dkim"' in text]
        zone = Zone()
        zone.records["brisbane._domainkey.football.example.com"] = (
            "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
        )
        self.begin()
        self.send(**json.loads(example))
        self.assertEqual(zone.dkim(self.mx.mails[0].message), [True])

    def test_reload(self) -> None:
        """Keys are read again by SIGHUP; without any, plain mail is not looked at."""
        service = ContentService(Clock(), parse("", "test", {}))
        self.assertFalse(service.contents.always)
        service.reload(parse(json.dumps({"dkim": [RULE]}), "test", {}))
        self.assertTrue(service.contents.always)
        service.reload(parse("", "test", {}))
        self.assertFalse(service.contents.always)

    def test_refused(self) -> None:
        """A message that cannot be signed is not sent: an error that says why."""
        self.begin()
        entry = self.send("Subject: x\r\n\r\nx\r\n", dkim=SIGN)["results"][-1]
        self.assertEqual((entry["type"], len(self.mx.mails)), ("error", 0))
        self.assertIn("dkim: the message has no From field", entry["description"])
        entry = self.send(MESSAGE.decode(), dkim={**SIGN, "key": "hunter2"})["results"][-1]
        self.assertEqual(entry["type"], "error")
        self.assertIn("dkim.key: is no private key", entry["description"])

    @settings(max_examples=40, deadline=None)
    @given(st.text(st.sampled_from("\r\n\t .:aä\0ä-"), max_size=60))
    def test_anything(self, text: str) -> None:
        """Whatever the message: what arrives was signed as it arrived."""
        self.begin(dkim=[RULE])
        self.send("From: a@example.org\r\n\r\n" + text)
        self.assertEqual(ZONE.dkim(self.mx.mails[0].message), [True])


class Others(SynchronousTestCase):
    """Verifiers that have nothing to do with Python."""

    def signed(self, relaxed: tuple[bool, bool], key: Any = KEY, selector: str = "s1", arc: bool = False) -> bytes:
        message = MESSAGE.replace(b":  ", b": ")  # milters, as OpenDKIM is one, see one blank there, or none
        return sign(message, [Signer("example.org", selector, key, relaxed=relaxed, arc=arc)], NOW)

    def test_opendkim(self) -> None:
        """OpenDKIM: both kinds of keys, all canonicalizations; and it sees a change."""
        if verifiers.opendkim() is None:
            raise SkipTest("OpenDKIM is not installed")
        folder = Path(self.mktemp())
        for relaxed in WAYS:
            for key, selector in ((KEY, "s1"), (ED, "s2")):
                signed = self.signed(relaxed, key, selector)
                self.assertTrue(ZONE.opendkim(signed, folder), (relaxed, selector))
        self.assertFalse(ZONE.opendkim(signed.replace(b"world", b"word"), folder))

    def test_mail_dkim(self) -> None:
        """Mail::DKIM: RSA and ARC, all canonicalizations; and it sees a change."""
        if not verifiers.mail_dkim():
            raise SkipTest("Mail::DKIM is not installed")
        folder = Path(self.mktemp())
        for relaxed in WAYS:
            signed = self.signed(relaxed, arc=True)
            self.assertEqual(ZONE.mail_dkim(signed, folder), ["pass", "pass"], relaxed)
        self.assertEqual(ZONE.mail_dkim(signed.replace(b"world", b"word"), folder), ["fail", "fail"])
        for _ in range(2):
            results = b"Authentication-Results: mx.example; dkim=pass; arc=pass\r\n"
            signed = sign(results + signed, [Signer("example.org", "s1", KEY, arc=True, dkim=False)], NOW)
        self.assertIn(b"ARC-Seal: i=3; cv=pass", signed)
        self.assertEqual(ZONE.mail_dkim(signed, folder), ["pass", "pass"])
