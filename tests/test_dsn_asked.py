"""What a job and the configuration ask for, and how a host is asked."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import given
from hypothesis import settings as play
from hypothesis import strategies as st
from msgspec import structs
from twisted.trial.unittest import SynchronousTestCase

from mailerq.dsn.asked import Asked
from mailerq.dsn.notices import asked_of, policy_of
from mailerq.dsn.parameters import mail_parameters, rcpt_parameters
from mailerq.job import Job, read
from mailerq.settings import SettingsError, parse
from mailerq.smtp.envelope import prepare
from mailerq.smtp.extensions import Extensions
from tests.owner import Mail

OFFERS = Extensions(dsn=True, smtputf8=True, eightbit=True)
ANY = st.text(max_size=300) | st.text("aä;@+= \\\r\n\x00-,", max_size=200)


def job(dsn: Any, **properties: Any) -> Job:
    body = {"recipient": "you@example.org", "envelope": "me@example.org", "mime": "x", "dsn": dsn, **properties}
    found = read(json.dumps(body).encode())
    assert isinstance(found, Job)
    return found


def asked(dsn: Any) -> Asked:
    found = job(dsn)
    assert found.problem is None, found.problem
    assert found.dsn is not None
    return found.dsn


def problem(dsn: Any) -> str:
    return job(dsn).problem or ""


class Property(SynchronousTestCase):
    """``dsn`` in a job."""

    def test_notify(self) -> None:
        """A string with commas or an array, in any case and order."""
        for given_, expected in (
            ("NEVER", ("NEVER",)),
            ("never", ("NEVER",)),
            ("failure,Success", ("SUCCESS", "FAILURE")),
            (" DELAY , failure,delay", ("FAILURE", "DELAY")),
            (["success", "DELAY"], ("SUCCESS", "DELAY")),
            ("", ()),
            ([], ()),
            (None, ()),
        ):
            self.assertEqual(asked({"notify": given_}).notify, expected, given_)

    def test_others(self) -> None:
        """ret, envid, orcpt in their spellings; other members are nobody's."""
        found = asked({"ret": "hdrs", "envid": "a b", "orcpt": "RFC822; you@example.com", "mine": [1]})
        self.assertEqual((found.ret, found.envid, found.orcpt), ("HDRS", "a b", "rfc822;you@example.com"))
        self.assertEqual(asked({"orcpt": "you@example.com"}).orcpt, "rfc822;you@example.com")
        self.assertEqual(asked({"orcpt": "ä@example.com"}).orcpt, "utf-8;ä@example.com")
        self.assertEqual(asked({"orcpt": "rfc822;ä@example.com"}).orcpt, "utf-8;ä@example.com")
        self.assertEqual(asked({"orcpt": "x400;/C=NL/"}).orcpt, "x400;/C=NL/")
        self.assertEqual(asked({}), Asked())

    def test_problems(self) -> None:
        """A wrong value or shape names its member."""
        for dsn, expected in (
            ({"notify": "SOMETIMES"}, "dsn.notify: 'SOMETIMES' is none of NEVER, SUCCESS, FAILURE, DELAY"),
            ({"notify": "NEVER,DELAY"}, "dsn.notify: NEVER stands alone"),
            ({"notify": 5}, "dsn.notify: "),
            ({"notify": ["DELAY", 1]}, "dsn.notify"),
            ({"ret": "ALL"}, "dsn.ret: 'ALL' is none of FULL, HDRS"),
            ({"ret": True}, "dsn.ret: "),
            ({"envid": "ä"}, "dsn.envid: "),
            ({"envid": "a\r\nRCPT TO:<x>"}, "dsn.envid: "),
            ({"envid": "x" * 101}, "dsn.envid: "),
            ({"envid": "+" * 34}, "dsn.envid: "),
            ({"orcpt": "rfc822;"}, "dsn.orcpt: is no address"),
            ({"orcpt": "a\r\nb"}, "dsn.orcpt: is no address"),
            ({"orcpt": "x" * 600}, "dsn.orcpt: "),
            ({"orcpt": "x400;ä"}, "dsn.orcpt: "),
            ({"envelope": "me"}, "dsn.envelope: "),
            ({"envelope": "<me@x.org>\r\nBcc: a@b.c"}, "dsn.envelope: "),
            ({"mta": "a b"}, "dsn.mta: "),
            ("FAILURE", "dsn: "),
            (["FAILURE"], "dsn: "),
        ):
            self.assertTrue(problem(dsn).startswith(expected), (dsn, problem(dsn)))

    @play(max_examples=300, deadline=None)
    @given(
        st.fixed_dictionaries({}, optional=dict.fromkeys(("notify", "ret", "envid", "orcpt", "envelope", "mta"), ANY))
    )
    def test_any(self, dsn: dict[str, str]) -> None:
        """Any texts are a problem that names a member, or make two command lines that are what they were meant to be,
        in ASCII where the addresses are, and not too long."""
        found = job(dsn)
        if found.problem is not None:
            self.assertRegex(found.problem, r"^dsn(\.[a-z]+)?: ")
            return
        for extensions in (OFFERS, Extensions(dsn=True)):
            talk = prepare(Mail(dsn=found.dsn), extensions)
            self.assertIsNone(talk.refusal)
            self.assertRegex(
                talk.mail_line, rb"^MAIL FROM:<sender@example.com>( RET=(FULL|HDRS))?( ENVID=[!-*,-<>-~+]{1,100})?\r\n$"
            )
            self.assertRegex(
                talk.rcpt_line,
                rb"^RCPT TO:<one@example.org>( NOTIFY=[A-Z,]{5,21})?( ORCPT=[a-z0-9-]+;[!-<>-~]{1,500})?\r\n$",
            )
            self.assertLess(len(talk.rcpt_line), 512 + 500)


class Parameters(SynchronousTestCase):
    """What stands behind MAIL and RCPT."""

    def test_xtext(self) -> None:
        """Plus, equals and blanks are encoded, and come back as they were."""
        line = mail_parameters(Asked(ret="FULL", envid="a+b=c d~!")).decode()
        self.assertEqual(line, " RET=FULL ENVID=a+2Bb+3Dc+20d~!")
        back = re.sub(r"\+([0-9A-F]{2})", lambda found: chr(int(found[1], 16)), line.partition("ENVID=")[2])
        self.assertEqual(back, "a+b=c d~!")

    def test_utf8(self) -> None:
        """An address in UTF-8 goes as it is with SMTPUTF8, and else in ASCII (RFC 6533 section 3)."""
        dsn = Asked(orcpt="utf-8;ä+b\\@bücher.example")
        self.assertEqual(
            rcpt_parameters(dsn, b"x@y.z", False).decode(),
            " ORCPT=utf-8;\\x{E4}\\x{2B}b\\x{5C}@b\\x{FC}cher.example",
        )
        self.assertEqual(rcpt_parameters(dsn, b"x@y.z", True).decode(), " ORCPT=utf-8;ä\\x{2B}b\\x{5C}@bücher.example")

    def test_recipient(self) -> None:
        """Without orcpt the recipient stands there, as it is sent; not where nothing is to be told."""
        self.assertEqual(rcpt_parameters(Asked(), b"a@b.c", False), b" ORCPT=rfc822;a@b.c")
        self.assertEqual(rcpt_parameters(Asked(), "ä@b.c".encode(), True), " ORCPT=utf-8;ä@b.c".encode())
        self.assertEqual(rcpt_parameters(Asked(("NEVER",)), b"a@b.c", False), b" NOTIFY=NEVER")
        self.assertEqual(rcpt_parameters(Asked(), b"a" * 600 + b"@b.c", False), b"")

    def test_smtputf8(self) -> None:
        """The form with UTF-8 is taken only where the mail itself goes with SMTPUTF8."""
        dsn = Asked(orcpt="utf-8;ä@b.c")
        ascii_mail = prepare(Mail(dsn=dsn), OFFERS)
        self.assertIn(b"\\x{E4}@b.c", ascii_mail.rcpt_line)
        utf8_mail = prepare(Mail(dsn=dsn, recipient="ö@b.c"), OFFERS)
        self.assertIn("ORCPT=utf-8;ä@b.c".encode(), utf8_mail.rcpt_line)


class Configured(SynchronousTestCase):
    """The section ``dsn``."""

    def test_defaults(self) -> None:
        """Nobody is told anything unless a job asks; bounces are from this host's mailer daemon."""
        policy = policy_of(parse("", "x", {}), "host.example")
        self.assertFalse(policy.asks)
        self.assertEqual(
            (policy.mta, policy.author), ("host.example", "Mail Delivery System <mailer-daemon@host.example>")
        )
        self.assertEqual((policy.delay_after, policy.queue), (3600.0, "outbox"))
        self.assertEqual(policy_of(parse("smtp: {hostname: a.example}", "x", {}), "b").mta, "a.example")

    def test_member_by_member(self) -> None:
        """A job's dsn goes before, member by member."""
        policy = policy_of(parse("dsn: {notify: [delay, failure], ret: full}", "x", {}), "h")
        self.assertEqual(asked_of(job({"ret": "HDRS"}), policy), Asked(("FAILURE", "DELAY"), "HDRS"))
        self.assertEqual(asked_of(job({"notify": "NEVER"}), policy), Asked(("NEVER",), "FULL"))
        never = structs.replace(policy, notify=("NEVER",))
        self.assertEqual(asked_of(job({"ret": "HDRS"}), never), Asked((), "HDRS"))
        self.assertEqual(asked_of(job({}, envelope=""), policy), Asked((), "FULL"))

    def test_wrong(self) -> None:
        """Each wrong value is named, all at once."""
        text = (
            'dsn:\n  notify: never, delay\n  ret: all\n  mta: a b\n  from: "x\\" <a@b>"\n  delay-after: 0s\n  form: x\n'
        )
        error = self.assertRaises(SettingsError, parse, text, "x", {})
        self.assertEqual(
            [one.split(": ")[1] for one in error.errors],
            ["dsn.notify", "dsn.ret", "dsn.mta", "dsn.from", "dsn.delay-after", "dsn.form"],
        )
        self.assertIn("from", error.errors[-1])
