"""Addresses for MAIL FROM that say whom a mail was for: always valid, and read back as they were made."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from mailerq.content import members
from mailerq.content.verp import LONGEST_LOCAL, Verp, digest
from mailerq.content.verp_rules import Senders
from mailerq.job import Job, read
from mailerq.settings import SettingsError, parse
from mailerq.smtp.address import ascii_address

USUAL = "bounce+{recipient.local}={recipient.domain}@bounces.example.org"
PLUS = "b+{recipient}+{campaign}@b.example"


def job_for(recipient: str = "ann@example.com", envelope: str = "news@example.org", **properties: object) -> Job:
    job = read(json.dumps({"recipient": recipient, "envelope": envelope, "mime": "x", **properties}).encode())
    assert isinstance(job, Job)
    return job


def address(pattern: str, job: Job) -> str:
    return Verp.parse(pattern).address(members.of(job))


def sender(yaml: str, job: Job) -> str:
    return Senders(parse(f"verp: {yaml}", "f", {}).verp).sender(job)


class Addresses(SynchronousTestCase):
    """From a job to its address, and back."""

    def test_usual(self) -> None:
        """The address reads well, and says whom the mail was for."""
        made = address(USUAL, job_for())
        self.assertEqual(made, "bounce+ann=example.com@bounces.example.org")
        self.assertEqual(Verp.parse(USUAL).original(made), "ann@example.com")

    def test_signs_that_need_encoding(self) -> None:
        """What delimits, and what no local part can have, is encoded; with ``=`` unless the pattern has it."""
        self.assertEqual(address(USUAL, job_for("a+b_c@x.de")), "bounce+a_2bb_5fc=x.de@bounces.example.org")
        self.assertEqual(address(PLUS, job_for("a+b_c@x.de", campaign="ü")), "b+a=2bb_c=40x.de+=c3=bc@b.example")
        self.assertEqual(address(USUAL, job_for('"a b"@x.de')), "bounce+_22a_20b_22=x.de@bounces.example.org")

    def test_dots(self) -> None:
        """Dots at an end, or two together, are encoded."""
        self.assertEqual(address("b-{recipient.local}@b.example", job_for("a..b@x.de")), "b-a=2e=2eb@b.example")

    def test_members(self) -> None:
        """Properties of the job by name, also within objects; what is missing is empty."""
        job = job_for(campaign=7, data={"shop": {"id": "a"}}, tags=["t", "u"])
        self.assertEqual(address("b+{campaign}+{data.shop.id}+{no}@b.example", job), "b+7+a+@b.example")
        self.assertEqual(address("{tag}@b.example", job), "t@b.example")
        self.assertEqual(address("b+{envelope.local}@bounces.{envelope.domain}", job), "b+news@bounces.example.org")

    def test_too_long(self) -> None:
        """The longest value becomes a digest, which can be compared; the rest can be read."""
        long = "x" * 60 + "@example.com"
        made = address(PLUS, job_for(long, campaign="c7"))
        self.assertLessEqual(len(made.partition("@")[0]), LONGEST_LOCAL)
        self.assertEqual(made, f"b+=h{digest(long)}+c7@b.example")
        self.assertEqual(Verp.parse(PLUS).values(made), {"recipient": None, "campaign": "c7"})
        self.assertIsNone(Verp.parse(PLUS).original(made))

    def test_bounces_from_hosts_that_change_case(self) -> None:
        """Angle brackets and the case of letters make no difference for what is the address's own."""
        self.assertEqual(Verp.parse(USUAL).original("<BOUNCE+a_2Bb=X.DE@Bounces.Example.org>"), "a+b@X.DE")

    def test_other_addresses(self) -> None:
        """Addresses that the pattern does not give have no original."""
        for other in ("", "ann@example.com", "bounce+ann@bounces.example.org", "bounce+a=b=c@bounces.example.org"):
            self.assertIsNone(Verp.parse(USUAL).original(other), other)

    @settings(max_examples=500, deadline=None)
    @given(some.text(min_size=1, max_size=40), some.text(max_size=20), some.sampled_from([USUAL, PLUS]))
    def test_always_valid_and_read_back(self, local: str, campaign: str, pattern: str) -> None:
        """Whatever a local part or a property holds: a valid address, and the same values from it."""
        given = {"recipient.local": local, "recipient.domain": "x-y.example", "campaign": campaign}
        given["recipient"] = f"{local}@x-y.example"
        verp = Verp.parse(pattern)
        made = verp.address(given.get)
        self.assertIsNotNone(ascii_address(made))
        self.assertNotIn("%", made)
        before = made.partition("@")[0]
        self.assertLessEqual(len(before), LONGEST_LOCAL)
        self.assertNotIn("", before.split("."))
        for name, value in (verp.values(made) or {"none": "none"}).items():
            if value is not None:
                self.assertEqual(value.encode(), given[name].encode())
            else:
                self.assertIn(digest(given[name]), made)

    @settings(max_examples=300, deadline=None)
    @given(some.text(alphabet="bounce+=_h2@.a<>%é\0", max_size=80))
    def test_reading_anything(self, text: str) -> None:
        """Any text is read without an error."""
        Verp.parse(USUAL).original(text)


class Patterns(SynchronousTestCase):
    """What a configuration may say."""

    def refused(self, pattern: str) -> str:
        error = self.assertRaises(ValueError, Verp.parse, pattern)
        return str(error)

    def test_faults(self) -> None:
        """Patterns whose addresses could be invalid, or could not be read back, are refused with the reason."""
        for pattern, why in (
            ("bounce", "is no address"),
            ("b{recipient@x.example", "other half"),
            ("b+{recipient.name}@x.example", "local and domain"),
            ("b+{recipient.local}{recipient.domain}@x.example", "needs a sign"),
            ("b+{recipient.local}-{recipient.domain}@x.example", "needs a sign"),
            ("b.{recipient.local}@x.example", "dot"),
            ("b c@x.example", "characters"),
            ("b=_{tag}@x.example", "left for encoding"),
            ("b+{tag}@x example", "host name"),
            ("b+{tag}@{recipient.local}.example", "in its domain"),
            ("x" * 60 + "{tag}@x.example", "too long"),
            ("b+{dkim}@x.example", "cannot be used"),
            ("b+{a b}@x.example", "is no member"),
        ):
            self.assertIn(why, self.refused(pattern), pattern)

    def test_line_and_key(self) -> None:
        """An error in the configuration names the line and the key."""
        text = "verp:\n  - {domain: '*', pattern: bounce}\n  - {domain: x}\n  - {patern: x@y.de}\n"
        errors = self.assertRaises(SettingsError, parse, text, "f", {}).errors
        self.assertIn("f:2:28: verp.0.pattern: is no address", errors[0])
        self.assertIn("f:3:5: verp.1.pattern: is missing", errors)
        self.assertTrue(any("verp.2.patern: unknown key (did you mean" in error for error in errors))


class Whose(SynchronousTestCase):
    """Which mail has one."""

    def test_null_stays_null(self) -> None:
        """The null reverse-path is never replaced."""
        self.assertEqual(sender(f'"{USUAL}"', job_for(envelope="")), "")

    def test_last_that_fits(self) -> None:
        """Rules go from general to special by the sender's domain; ``null``: none for those."""
        rules = f'[{{domain: "*", pattern: "{USUAL}"}}, {{domain: "*.example.org", pattern: "{PLUS}"}}, '
        rules += "{domain: example.net, pattern: null}]"
        self.assertIn("bounces.example.org", sender(rules, job_for()))
        self.assertIn("@b.example", sender(rules, job_for(envelope="a@m.Example.ORG")))
        self.assertEqual(sender(rules, job_for(envelope="a@example.net")), "a@example.net")

    def test_no_rule(self) -> None:
        """Where no rule fits, the sender is the job's."""
        self.assertEqual(sender(f'[{{domain: x.de, pattern: "{USUAL}"}}]', job_for()), "news@example.org")

    def test_no_address(self) -> None:
        """Where no address comes out, that is said."""
        error = self.assertRaises(ValueError, sender, '"{campaign}@x.de"', job_for())
        self.assertIn("verp: {campaign}@x.de gives no address", str(error))
