"""What DNS says of a sender, judged."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from mailerq.lint.message import Message
from mailerq.lint.records import KINDS, Unanswered, look
from mailerq.lint.rule import Severity
from tests.test_lint import GOOD, NOW


def key(bits: int) -> str:
    public = generate_private_key(65537, bits).public_key()
    return base64.b64encode(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


LONG, SHORT = key(2048), key(1024)
IP, PTR = "192.0.2.7", "7.2.0.192.in-addr.arpa"
RIGHT: dict[str, Sequence[str]] = {
    "bounces.example.org TXT": ["other", "v=spf1 ip4:192.0.2.7 include:spf.example.net -all"],
    "spf.example.net TXT": ["v=spf1 a mx ~all"],
    "_dmarc.example.org TXT": ["v=DMARC1; p=none; rua=mailto:d@example.org"],
    "a._domainkey.example.org TXT": [f"v=DKIM1; p={LONG}"],
    "example.org MX": ["10 mx.example.org."],
    "bounces.example.org MX": ["10 mx.example.org."],
    f"{PTR} PTR": ["out.example.org."],
    "out.example.org A": [IP],
}


def names(zone: Mapping[str, Sequence[str]] = {}, bulk: bool = False, text: str = GOOD) -> list[str]:
    """The findings with a zone that differs from the right one."""
    whole = {**RIGHT, **zone}

    def ask(name: str, kind: str) -> Sequence[str]:
        if whole.get(f"{name} {kind}") == ["?"]:
            raise Unanswered("no answer")
        return whole.get(f"{name} {kind}", [])

    message = Message(text.encode(), now=NOW, envelope="b@bounces.example.org", bulk=bulk)
    return [finding.rule for finding in look(message, [IP], ask)]


class Records(SynchronousTestCase):
    """``look``."""

    def test_right(self) -> None:
        """Records as they should be have no finding."""
        self.assertEqual(names(), [])

    def test_each(self) -> None:
        """Each kind of finding has a record that it is about."""
        spf, dmarc, dkim = "bounces.example.org TXT", "_dmarc.example.org TXT", "a._domainkey.example.org TXT"
        rows: list[tuple[str, dict[str, Sequence[str]]]] = [
            ("spf-missing", {spf: []}),
            ("spf-several", {spf: ["v=spf1 -all", "v=spf1 ~all"]}),
            ("spf-open", {spf: ["v=spf1 +all"]}),
            ("spf-endless", {spf: ["v=spf1 ip4:192.0.2.7"]}),
            ("spf-lookups", {spf: ["v=spf1 " + "a:x.example " * 11 + "-all"]}),
            (
                "spf-lookups",
                {spf: ["v=spf1 include:spf.example.net -all"], "spf.example.net TXT": ["v=spf1 " + "mx " * 10]},
            ),
            ("dkim-record", {dkim: []}),
            ("dkim-record", {dkim: ["v=DKIM1; p="]}),
            ("dkim-record", {dkim: ["v=DKIM1; p=eA=="]}),
            ("dkim-testing", {dkim: [f"t=y; p={LONG}"]}),
            ("dkim-shortish", {dkim: [f"p={SHORT}"]}),
            ("dmarc-missing", {dmarc: ["v=spf1"]}),
            ("dmarc-several", {dmarc: ["v=DMARC1; p=none; rua=x"] * 2}),
            ("dmarc-invalid", {dmarc: ["v=DMARC1; rua=x"]}),
            ("dmarc-reports", {dmarc: ["v=DMARC1; p=reject"]}),
            ("replies", {"example.org MX": []}),
            ("replies", {"example.org MX": ["0 ."]}),
            ("bounces", {"bounces.example.org MX": []}),
            ("ptr-missing", {f"{PTR} PTR": []}),
            ("ptr-mismatch", {"out.example.org A": ["192.0.2.8"]}),
            ("unanswered", {spf: ["?"]}),
        ]
        for name, zone in rows:
            self.assertEqual(names(zone), [name], zone)
        self.assertEqual(set(KINDS) - {name for name, _ in rows}, {"dkim-short", "dmarc-strict"})

    def test_strict(self) -> None:
        """Strict alignment wants the very domain of From."""
        text = GOOD.replace("d=example.org", "d=a.example.org")
        zone = {
            "a._domainkey.a.example.org TXT": [f"p={LONG}"],
            "_dmarc.example.org TXT": ["v=DMARC1; p=reject; adkim=s; aspf=s; rua=x"],
        }
        self.assertEqual(names(zone, text=text), ["dmarc-strict"])

    def test_bulk(self) -> None:
        """For mail to many a missing policy is an error."""
        message = Message(GOOD.encode(), now=NOW, envelope="b@bounces.example.org", bulk=True)
        found = look(message, [], lambda name, kind: RIGHT.get(f"{name} {kind}", []) if "_dmarc" not in name else [])
        self.assertEqual([(one.rule, one.severity) for one in found], [("dmarc-missing", Severity.ERROR)])

    def test_loops(self) -> None:
        """Policies that include each other end."""
        names(
            {
                "bounces.example.org TXT": ["v=spf1 include:spf.example.net"],
                "spf.example.net TXT": ["v=spf1 include:bounces.example.org"],
            }
        )

    @settings(max_examples=200, deadline=None)
    @given(some.lists(some.text(alphabet="v=spf1 DMARC;pktyincludeall:+/%.x10\x00é", max_size=30), max_size=3))
    def test_anything(self, records: list[str]) -> None:
        """Whatever the records are, nothing is raised."""
        message = Message(GOOD.encode(), now=NOW, envelope="b@bounces.example.org")
        look(message, [IP], lambda name, kind: ["v=spf1 " + one for one in records] + records)
