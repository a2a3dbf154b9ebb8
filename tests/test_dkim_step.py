"""Which messages are signed, with which keys: those of the job, those of the configuration."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mailerq.attempt import Type
from mailerq.content.author import from_domains
from mailerq.content.chain import take
from mailerq.content.dkim_step import as_it_is_sent
from mailerq.content.header_block import split
from mailerq.content.responsive.gathering import gather
from mailerq.content.step import ContentError, Occasion
from mailerq.content.steps import make_chain
from mailerq.job import Job, read
from mailerq.settings import parse
from tests import verifiers
from tests.test_dkim_signing import MESSAGE, NOW
from tests.verifiers import Zone

PEM, KEY = verifiers.rsa()
ED_PEM, ED = verifiers.ed25519()
ZONE = Zone()
for _selector in ("s1", "s2"):
    for _domain in ("example.org", "news.example.org", "xn--exmple-cua.org"):
        ZONE.publish(_selector, _domain, KEY if _selector == "s1" else ED)
SIGN = {"domain": "example.org", "selector": "s1", "key": PEM}


def job(**properties: Any) -> Job:
    found = read(json.dumps({"recipient": "a@b.c", "mime": MESSAGE.decode(), **properties}).encode())
    assert isinstance(found, Job)
    return found


class Case(SynchronousTestCase):
    rules: tuple[dict[str, Any], ...] = ()

    def made(self, message: bytes = MESSAGE, eight_bit: bool = True, **properties: Any) -> bytes:
        """What the chain makes of it."""
        found = job(**properties)
        self.assertIsNone(found.problem)
        chain = make_chain(parse(json.dumps({"dkim": self.rules}), "test", {}))
        return take(chain.steps_for(found, False), message, found, Occasion(NOW, eight_bit))

    def why(self, **properties: Any) -> str:
        """Why it cannot be made."""
        return self.assertRaises(ContentError, self.made, **properties).what

    def problem(self, **properties: Any) -> str:
        """Why the job cannot be used at all."""
        return job(**properties).problem or ""


class Own(Case):
    """The job's keys."""

    def test_object(self) -> None:
        """One, as an object."""
        self.assertEqual(ZONE.dkim(self.made(dkim=SIGN)), [True])

    def test_array(self) -> None:
        """Several, of both kinds, in the order of their priorities."""
        second = {**SIGN, "selector": "s2", "key": ED_PEM, "priority": -1, "canonicalization": "simple"}
        signed = self.made(dkim=[SIGN, second])
        self.assertEqual(ZONE.dkim(signed), [True, True])
        self.assertLess(signed.index(b"s=s2"), signed.index(b"s=s1"))
        self.assertIn(b"c=simple/simple", signed)

    def test_members(self) -> None:
        """expire, headers, report, canonicalization, protocols."""
        more = {"expire": "2099-01-01 00:00:00", "headers": ["X-Mine"], "report": True}
        signed = self.made(dkim={**SIGN, **more, "canonicalization": "relaxed/relaxed", "protocols": ["dkim", "arc"]})
        for part in (b"x=4070908800;", b"x-mine", b"r=y;", b"c=relaxed/relaxed;"):
            self.assertIn(part, signed)
        self.assertEqual((ZONE.dkim(signed), ZONE.arc(signed)), ([True], "pass"))

    def test_nothing(self) -> None:
        """Nothing asked for is nothing done."""
        for nothing in ({}, [], [{}]):
            self.assertEqual(self.made(dkim=nothing), MESSAGE)

    def test_names_beyond_ascii(self) -> None:
        """Domains of other letters stand there as DNS has them."""
        self.assertEqual(ZONE.dkim(self.made(dkim={**SIGN, "domain": "exÄmple.org"})), [True])

    def test_shapes(self) -> None:
        """What has a wrong shape makes the job fail when it is read, with what is wrong named, and nothing of the
        key."""
        for change, what in (
            ({"key": 5}, "dkim.key"),
            ({"key": ""}, "key: is missing"),
            ({"domain": "a b"}, "domain"),
            ({"domain": "a\r\nBcc: x@y"}, "domain"),
            ({"domain": "x" * 64 + ".org"}, "domain"),
            ({"selector": "s;l=1"}, "selector"),
            ({"expire": "tomorrow"}, "dkim.expire"),
            ({"headers": "x"}, "dkim.headers"),
            ({"headers": ["a:b"]}, "headers"),
            ({"headers": ["x\r\ny"]}, "headers"),
            ({"priority": "high"}, "dkim.priority"),
            ({"report": "yes"}, "dkim.report"),
            ({"protocols": []}, "dkim.protocols"),
            ({"protocols": ["spf"]}, "dkim.protocols[0]"),
            ({"canonicalization": "loose"}, "dkim.canonicalization"),
            ({"algorithm": "sha1"}, "obsolete"),
            ({"algorithm": "md5"}, "dkim.algorithm"),
        ):
            problem = self.problem(dkim={**SIGN, **change})
            self.assertIn(what, problem)
            self.assertNotIn(PEM[60:90], problem)
        self.assertIn("dkim[1]", self.problem(dkim=[SIGN, {"domain": "x.y"}]))
        self.assertIn("dkim", self.problem(dkim=[SIGN] * 21))

    def test_unusable_key(self) -> None:
        """The member is named; the key is not shown."""
        for key in ("hunter2", PEM[:300], PEM.replace("PRIVATE", "PUBLIC")):
            why = self.why(dkim=[SIGN, {**SIGN, "key": key}])
            self.assertTrue(why.startswith("dkim[1].key: "), why)
            self.assertNotIn(key[30:60] or key, why)
        self.assertTrue(self.why(dkim={**SIGN, "key": "hunter2"}).startswith("dkim.key: "))

    def test_refused(self) -> None:
        """A signature that would be over already, ARC with a key for which it is not defined, fields that change."""
        self.assertIn(
            "dkim.expire: 2020-01-01 00:00:00 is over", self.why(dkim={**SIGN, "expire": "2020-01-01 00:00:00"})
        )
        self.assertIn("dkim.protocols", self.why(dkim={**SIGN, "key": ED_PEM, "protocols": ["arc"]}))
        self.assertIn("dkim[0].headers: Received", self.why(dkim=[{**SIGN, "headers": ["Received"]}]))

    def test_repr(self) -> None:
        """No repr shows the key."""
        found = job(dkim=[SIGN])
        self.assertNotIn("PRIVATE", repr(found) + repr(found.known.dkim))

    def test_described(self) -> None:
        """The keys in the description of a responsive message sign it, too."""
        found = job(mime={"text": "x", "dkim": [SIGN]})
        steps = [step for step in make_chain(parse("", "test", {})).steps_for(found, True) if step.name == "dkim"]
        self.assertEqual([step.slow for step in steps], [True])

        def made(dkim: Any) -> bytes:
            description = json.dumps({"text": "x", "dkim": dkim}).encode()
            composed = self.successResultOf(Deferred.fromCoroutine(gather(description, None)))
            return steps[0].apply(MESSAGE, found, Occasion(NOW, gathered={"compose": composed}))

        self.assertEqual(ZONE.dkim(made([SIGN])), [True])
        self.assertEqual(ZONE.dkim(made(SIGN)), [True])
        self.assertEqual(made([]), MESSAGE)
        error = self.assertRaises(ContentError, made, [SIGN, {**SIGN, "key": "hunter2"}])
        self.assertTrue(error.what.startswith("mime.dkim[1].key: is no private key"), error.what)
        error = self.assertRaises(ContentError, made, [{**SIGN, "priority": "x"}])
        self.assertEqual((error.type, error.what[:20]), (Type.RESPONSIVE, "mime.dkim: Expected "))

    def test_long(self) -> None:
        """A long message, and one that is in the store, is signed in a thread; a short one is not."""
        chain = make_chain(parse("", "test", {}))
        for found, slow in (
            (job(dkim=SIGN), False),
            (job(dkim=SIGN, mime="x" * 100_000), True),
            (job(dkim=[SIGN] * 5), True),
            (read(json.dumps({"recipient": "a@b.c", "key": "k", "dkim": SIGN}).encode()), True),
        ):
            assert isinstance(found, Job)
            self.assertEqual([step.slow for step in chain.steps_for(found, False) if step.name == "dkim"], [slow])


class Configured(Case):
    """The keys of the configuration."""

    def signed(self, author: str, *rules: dict[str, Any], **properties: Any) -> bytes:
        self.rules = tuple({"selector": "s1", "key": PEM, **rule} for rule in rules)
        self.message = MESSAGE.replace(b"Joe <joe@example.org>", author.encode())
        return self.made(self.message, **properties)

    def test_whose(self) -> None:
        """Exact names, patterns of the shell, regular expressions; case does not matter."""
        for author, domain, right in (
            ("joe@example.org", "example.org", True),
            ("Joe <joe@EXAMPLE.org>", "Example.ORG", True),
            ("joe@news.example.org", "example.org", False),
            ("joe@news.example.org", "*.example.org", True),
            ("joe@example.org", "*.example.org", False),
            ("joe@news.example.org", "/^(news|shop)\\.example\\.org$/", True),
            ("joe@other.org", "/^(news|shop)\\.example\\.org$/", False),
            ("joe@example.org", "*", True),
            ("joe@exämple.org", "exämple.org", True),
        ):
            signed = self.signed(author, {"domain": domain})
            self.assertEqual(ZONE.dkim(signed), [True] * right, (author, domain))

    def test_signing_domain(self) -> None:
        """d= is the domain in From, or what the entry says."""
        self.assertIn(b"d=news.example.org;", self.signed("a@news.example.org", {"domain": "*.example.org"}))
        rule = {"domain": "*", "signing-domain": "example.org"}
        signed = self.signed("a@anything.example", rule)
        self.assertIn(b"d=example.org;", signed)
        self.assertEqual(ZONE.dkim(signed), [True])

    def test_all_that_match(self) -> None:
        """All entries that match sign, and the job's keys besides, each name once."""
        rules = [{"domain": "example.org"}, {"domain": "*", "selector": "s2", "key": ED_PEM, "priority": -5}]
        own = {**SIGN, "report": True}
        signed = self.signed("joe@example.org", *rules, dkim=own)
        self.assertEqual(ZONE.dkim(signed), [True, True])
        self.assertLess(signed.index(b"s=s2"), signed.index(b"s=s1"))
        self.assertIn(b"r=y", signed)

    def test_values(self) -> None:
        """expire is counted from the signature on; headers, canonicalization, protocols hold."""
        rule = {"domain": "*", "expire": "36500d", "headers": "X-Mine", "canonicalization": "simple/relaxed"}
        signed = self.signed("joe@example.org", {**rule, "protocols": ["dkim", "arc"], "report": True})
        for part in (b"x=%d;" % (NOW + 36500 * 86400), b"x-mine", b"c=simple/relaxed", b"r=y"):
            self.assertIn(part, signed)
        self.assertEqual((ZONE.dkim(signed), ZONE.arc(signed)), ([True], "pass"))

    def test_no_domains(self) -> None:
        """What is no name in DNS is nobody's, though the pattern is for all: it never gets into d=."""
        for author in ("a@[192.0.2.1]", '"a"@b..c', "a@-", "a@" + "x" * 64, "a@b.c-", "a@b!c", "a@.b"):
            self.assertEqual(self.signed(author, {"domain": "*"}), self.message, author)
        for author in ("a@x;l=1", "a@x_y;", 'a@"b"', "a@b;d=c", "a@b(;d=c)", "a@b\n ;d=c"):
            domains = re.findall(rb"[;\s]d=([^;]*);", self.signed(author, {"domain": "*"}).partition(b"h=")[0])
            self.assertTrue(all(re.fullmatch(rb"[a-z_]+", domain) for domain in domains), (author, domains))
            self.assertLess(len(domains), 2)

    def test_not_ours(self) -> None:
        """A message of somebody else, or of nobody, goes as it is: the same object."""
        self.rules = ({"domain": "example.com", "selector": "s1", "key": PEM},)
        for message in (MESSAGE, b"", b"no header", b"Subject: x\n\nFrom: a@example.com\n"):
            self.assertIs(self.made(message), message)

    def test_plain_jobs_are_looked_at(self) -> None:
        """With keys the chain looks at all mail; without, at none that is plain."""
        rules = {"dkim": [{"domain": "x.y", "selector": "s", "key": PEM}]}
        self.assertTrue(make_chain(parse(json.dumps(rules), "test", {})).always)
        self.assertFalse(make_chain(parse("", "test", {})).always)

    def test_open_file(self) -> None:
        """A key file that everybody can read is said to the log."""
        from twisted.logger import globalLogPublisher

        path = Path(self.mktemp())
        path.write_text(PEM)
        path.chmod(0o644)
        events: list[Any] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        rules = {"dkim": [{"domain": "x.y", "selector": "s", "key-file": str(path)}]}
        settings_ = parse(json.dumps(rules), "test", {})
        make_chain(settings_)
        self.assertIn(str(path), [event.get("path") for event in events])
        path.chmod(0o600)
        events.clear()
        make_chain(settings_)
        self.assertEqual(events, [])


class SevenBits(Case):
    """What is signed is what is sent."""

    MESSAGE = (
        "From: Jö <joe@example.org>\nSubject: Grüße\nMIME-Version: 1.0\n"
        "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nGrüße\n"
    ).encode()

    def test_converted_first(self) -> None:
        """For a host of 7 bits the message is converted, then signed; for another its header is."""
        seven = self.made(self.MESSAGE, False, dkim=SIGN)
        self.assertTrue(seven.isascii())
        eight = self.made(self.MESSAGE, True, dkim=SIGN)
        self.assertIn("Grüße".encode(), eight.partition(b"\r\n\r\n")[2])
        self.assertTrue(eight.partition(b"\r\n\r\n")[0].isascii())
        self.assertEqual([ZONE.dkim(seven), ZONE.dkim(eight)], [[True], [True]])

    def test_line_ends(self) -> None:
        """All line ends are CRLF, the last one too."""
        self.assertEqual(as_it_is_sent(b"a\rb\nc\r\nd", True), b"a\r\nb\r\nc\r\nd\r\n")
        self.assertEqual(ZONE.dkim(self.made(MESSAGE.replace(b"\r\n", b"\n"), dkim=SIGN)), [True])


class Authors(SynchronousTestCase):
    """The look at From."""

    def test_found(self) -> None:
        """The domains, in the forms that From has."""
        for value, domains in (
            (b"a@b.c", ("b.c",)),
            (b"<a@B.C>", ("b.c",)),
            (b'"Joe, \\"J\\"" <a@b.c>', ("b.c",)),
            (b'"Joe" <a@b.c.>', ("b.c",)),
            (b"=?utf-8?q?J=C3=B6?= <a@b.c>", ("b.c",)),
            (b"J\xc3\xb6 <a@b.c>", ("b.c",)),
            (b"Joe\r\n <a@b.c>", ("b.c",)),
            (b"a@b.c (Joe)", ("b.c",)),
            (b"a@b.c, d@e.f, g@b.c", ("b.c", "e.f")),
            ("a@exämple.org".encode(), ("xn--exmple-cua.org",)),
            (b"", ()),
            (b"nobody", ()),
            (b"a@", ()),
            (b"<<>>,;@@", ()),
        ):
            for before in (b"", b"To: x@y.z\r\nSubject: a\r\n From: no@no\r\n", b"From x@y Tue\r\n"):
                message = before + b"FROM:" + value + b"\r\n\r\nFrom: no@no\r\n"
                self.assertEqual(from_domains(message), domains, value)

    @settings(max_examples=400, deadline=None)
    @given(
        st.lists(
            st.sampled_from(
                [
                    *(b"From:", b"from :", b"From ", b"a@b.c", b"<", b">", b'"', b"\r", b"\n", b"\r\n", b" ", b"\t"),
                    *(b":", b"Subject: x", b"\xff", b"\x00", b"(", b",", b"[", b"\\", b"group: a@b;", b"@"),
                ]
            ),
            max_size=25,
        ).map(b"".join)
    )
    def test_anything(self, message: bytes) -> None:
        """Any bytes have authors or none; where there are some, the header has a From field."""
        if from_domains(message):
            self.assertIn("From", split(message))

    def test_hostile(self) -> None:
        """Long and odd headers do not hold it up."""
        began = time.process_time()
        for some in (b" ", b"a", b'"', b"(", b"<", b"a@b,", b"\\", b" \r\n", b"x:\r\n", b'"" ', b"a <"):
            from_domains(b"From: " + some * (1_000_000 // len(some)))
            from_domains(some * (1_000_000 // len(some)))
        self.assertLess(time.process_time() - began, 10)
