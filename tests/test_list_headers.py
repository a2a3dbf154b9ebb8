"""Header fields of mailing lists, put in as the configuration says; and VERP: both as hosts get them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from mailerq.content.header_block import split
from mailerq.content.list_headers import ListHeaders
from mailerq.content.step import ContentError, Occasion
from mailerq.job import Job, read
from mailerq.settings import SettingsError, parse
from tests.memory_engine import MemoryEngine
from tests.mx import Mx, Net

HOST = "127.1.1.1"
ALL: dict[str, Any] = {
    "domain": "*",
    "List-Unsubscribe": [
        "https://example.org/u/{recipient}?c={campaign}",
        "<mailto:off+{recipient.local}@example.org>",
    ],
    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    "List-Id": "news.example.org",
    "Feedback-ID": "{campaign}:{tag}:example",
}
MESSAGE = b"From: News <news@Mail.Example.org>\r\nSubject: x\r\n\r\nHello\r\n"


def job_for(**properties: Any) -> Job:
    job = read(json.dumps({"recipient": "a+b@x.de", "envelope": "e@y.de", "mime": "x", **properties}).encode())
    assert isinstance(job, Job)
    return job


def step(*rules: dict[str, Any]) -> ListHeaders:
    return ListHeaders(parse(json.dumps({"list-headers": rules}), "f", {}).list_headers)


def added(message: bytes, job: Job, *rules: dict[str, Any]) -> dict[str, str]:
    """The fields that the message has afterwards and had not before; the rest is checked to be the same."""
    out = step(*rules).apply(message, job, Occasion(0.0))
    before, after = split(message), split(out)
    assert after.body == before.body
    own = {field.raw for field in before.fields}
    return {field.name: field.value.decode() for field in after.fields if field.raw not in own}


class Fields(SynchronousTestCase):
    """The step alone."""

    def test_all(self) -> None:
        """Values stand in URLs as URLs need them."""
        found = added(MESSAGE, job_for(campaign="x y", tags=["t:1", "u"]), ALL)
        expected = {
            "List-Unsubscribe": "<https://example.org/u/a%2Bb%40x.de?c=x%20y>, <mailto:off+a%2Bb@example.org>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
            "List-Id": "<news.example.org>",
            "Feedback-ID": "x y:t%3A1:example",
        }
        self.assertEqual(found, expected)

    def test_missing_member(self) -> None:
        """An address whose member the job does not have is left out, a field with nothing left too; and without an
        https address there is no one-click."""
        found = added(MESSAGE, job_for(), ALL)
        self.assertEqual(found, {"List-Unsubscribe": "<mailto:off+a%2Bb@example.org>", "List-Id": "<news.example.org>"})

    def test_what_is_there_stays(self) -> None:
        """A field of the message stays, and nothing is said about an address that is not ours."""
        message = b"list-unsubscribe: <https://other.example/>\r\n" + MESSAGE
        found = added(message, job_for(campaign=1), ALL)
        self.assertEqual(found, {"List-Id": "<news.example.org>"})

    def test_replace(self) -> None:
        """With ``replace`` ours take their place."""
        message = b"LIST-ID: <x.y>\r\nList-Id: <y.z>\r\n" + MESSAGE
        rule = {"domain": "*", "replace": True, "List-Id": "News <n.example>"}
        out = step(rule).apply(message, job_for(), Occasion(0.0))
        self.assertEqual([field.value for field in split(out).all("list-id")], [b"News <n.example>"])

    def test_signed(self) -> None:
        """What a signature covers, even by its absence, is left alone."""
        message = b"DKIM-Signature: v=1; h=from: List-Id\r\n :list-unsubscribe; b=x\r\n" + MESSAGE
        self.assertEqual(list(added(message, job_for(campaign=1, tags=["t"]), ALL)), ["Feedback-ID"])

    def test_domain_and_tag(self) -> None:
        """Rules fit by the domain of From and by tags, from general to special; ``null`` is none."""
        rules: list[dict[str, Any]] = [
            {"domain": "*.example.org", "List-Id": "a.b", "Precedence": "bulk"},
            {"domain": "*", "tag": "news-*", "List-Id": "c.d"},
            {"tag": "receipt", "Precedence": None},
        ]
        self.assertEqual(added(MESSAGE, job_for(), *rules), {"List-Id": "<a.b>", "Precedence": "bulk"})
        self.assertEqual(added(MESSAGE, job_for(tags=["x", "news-1"]), *rules)["List-Id"], "<c.d>")
        self.assertNotIn("Precedence", added(MESSAGE, job_for(tags=["receipt"]), *rules))
        self.assertEqual(added(b"From: a@b.de\r\n\r\nx", job_for(), *rules), {})
        self.assertFalse(step(*rules[1:]).wanted(job_for(), False))

    def test_untouched(self) -> None:
        """A message that gets nothing is the same object."""
        self.assertIs(step({"domain": "x.de", "List-Id": "a.b"}).apply(MESSAGE, job_for(), Occasion(0.0)), MESSAGE)

    def test_too_long(self) -> None:
        """A value that would make a line too long is an error that names the field."""
        error = self.assertRaises(ContentError, added, MESSAGE, job_for(campaign="x" * 2000), ALL)
        self.assertIn("list-headers: List-Unsubscribe would have", error.what)

    @settings(max_examples=300, deadline=None)
    @given(some.text(max_size=50), some.text(max_size=50), some.binary(max_size=200))
    def test_nothing_comes_in(self, campaign: str, tag: str, message: bytes) -> None:
        """Whatever a job holds, and whatever the message is: fields of one line each, and no others."""
        job = job_for(campaign=campaign, tags=[tag], recipient="a\u00fc\u2028b@x.de")
        out = step(ALL).apply(message, job, Occasion(0.0))
        before, after = split(message), split(out)
        self.assertEqual(
            len(after.fields) - len(before.fields), len({*ALL} - {"domain"} - {f.name for f in before.fields})
        )
        self.assertEqual(after.body, before.body)
        self.assertTrue(all(field.raw.isascii() for field in after.fields[len(before.fields) :]))


class Configuration(SynchronousTestCase):
    """What is refused."""

    def errors(self, *rules: dict[str, Any]) -> str:
        text = json.dumps({"list-headers": rules})
        return "\n".join(self.assertRaises(SettingsError, parse, text, "f", {}).errors)

    def test_faults(self) -> None:
        """Each fault is named with its place and key."""
        for rule, why in (
            ({"List-Id": "a.b"}, "must say for whom it is"),
            ({"domain": "*"}, "has no field"),
            ({"domain": "*", "List-Idd": "a.b"}, "0.List-Idd: unknown key (did you mean"),
            ({"domain": "*", "List-Unsubscribe": "ftp://x"}, "is no address such as https"),
            ({"domain": "*", "List-Unsubscribe": "<https://x> y"}, "is no list of addresses"),
            ({"domain": "*", "List-Unsubscribe": "{u}"}, "is no address"),
            ({"domain": "*", "List-Unsubscribe-Post": "yes"}, "can only be"),
            ({"domain": "*", "Feedback-ID": "{dkim}"}, "cannot be used"),
            ({"domain": "*", "List-Id": "ü.b"}, "is not ASCII"),
            (ALL | {"List-Unsubscribe": "mailto:a@b"}, "0.List-Unsubscribe-Post: needs an https:// address"),
        ):
            self.assertIn(why, self.errors(rule))

    def test_any_case(self) -> None:
        """Names of fields are the same in any case."""
        (rule,) = parse("list-headers: [{domain: '*', list-id: a.b}]", "f", {}).list_headers
        self.assertEqual(list(rule.fields), ["List-Id"])


class Engine(SynchronousTestCase):
    """Through the engine to a host."""

    def begin(self, **config: Any) -> None:
        self.net = Net()
        text = json.dumps({"dns": {"hosts": {"*": f"{HOST}:2525"}}, **config})
        self.engine = MemoryEngine(parse(text, "test", {}), {}, str(Path(self.mktemp()) / "journal"), self.net)
        self.mx: Mx = self.net.add(HOST, Mx())

    def send(self, **properties: Any) -> dict[str, Any]:
        job = {"recipient": "a+b@host.example", "envelope": "news@example.org", "mime": MESSAGE.decode(), **properties}
        self.engine.publish(json.dumps(job).encode())
        self.net.run(1)
        ((_, body),) = self.engine.take_all(["results"])
        result: dict[str, Any] = json.loads(body)
        return result

    def test_list_headers(self) -> None:
        """A job that asks for nothing gets the fields."""
        self.begin(**{"list-headers": [ALL]})
        self.assertEqual(self.send(campaign=7)["results"][-1]["type"], "success")
        (mail,) = self.mx.mails
        self.assertIn(b"List-Unsubscribe: <https://example.org/u/a%2Bb%40host.example?c=7>,\r\n <mailto:", mail.message)
        self.assertTrue(mail.message.endswith(b"\r\n\r\nHello\r\n"))

    def test_verp(self) -> None:
        """MAIL FROM is made by the pattern; the result has the job's envelope."""
        self.begin(verp="bounce+{recipient.local}={recipient.domain}@bounces.example.org")
        self.assertEqual(self.send()["envelope"], "news@example.org")
        self.assertIn("MAIL FROM:<bounce+a_2bb=host.example@bounces.example.org>", "".join(self.mx.talk))

    def test_verp_null(self) -> None:
        """The null reverse-path stays."""
        self.begin(verp="bounce+{recipient.local}={recipient.domain}@bounces.example.org")
        self.send(envelope=None)
        self.assertIn("MAIL FROM:<>", "".join(self.mx.talk))

    def test_verp_without_address(self) -> None:
        """A pattern that gives no address for a job makes it fail, without a connection, and says why."""
        self.begin(verp="{campaign}@bounces.example.org")
        (entry,) = self.send()["results"]
        self.assertEqual((entry["type"], "state" in entry, self.mx.talk), ("error", False, []))
        self.assertIn(
            "the job cannot be used: verp: {campaign}@bounces.example.org gives no address", entry["description"]
        )
