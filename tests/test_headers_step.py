"""The steps ``headers`` and ``normalize``: header fields changed as a job says, line ends of one kind."""

from __future__ import annotations

import json
from email import message_from_bytes, policy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mailerq.content.ascii_value import ascii_value
from mailerq.content.header_block import split
from mailerq.content.header_changes import HeaderChanges
from mailerq.content.headers import LARGEST, Headers, changed
from mailerq.content.normalize import Normalize
from mailerq.content.step import ContentError, IContentStep, Occasion
from mailerq.job import Job, read

MESSAGE = b"From: a@x\r\nSubject: long\r\n  folded\r\nX: 1\r\nTo: b@y\r\nx: 2\r\n\r\nX: in the body\r\n"
WORDS = some.text(some.sampled_from('aé ü"<>@,:;()\\=?\t漢\U0001f600'), max_size=60)


def job(**properties: Any) -> Job:
    found = read(json.dumps({"recipient": "a@b.example", "mime": "x", **properties}).encode())
    assert isinstance(found, Job)
    return found


def lines(message: bytes, **changes: Any) -> list[str]:
    """The header after ``changes``, a line each."""
    return changed(message, HeaderChanges(**changes)).partition(b"\r\n\r\n")[0].decode().split("\r\n")


def unfolded(message: bytes, name: str) -> str:
    """What a mail program shows."""
    return str(message_from_bytes(message, policy=policy.default)[name])


class Changes(SynchronousTestCase):
    """What a job may ask for."""

    def test_remove(self) -> None:
        """All fields of that name go, folds and all; nothing else changes."""
        self.assertEqual(
            changed(MESSAGE, HeaderChanges(remove=["SUBJECT", "none"])),
            MESSAGE.replace(b"Subject: long\r\n  folded\r\n", b""),
        )
        self.assertEqual(lines(MESSAGE, remove="x"), ["From: a@x", "Subject: long", "  folded", "To: b@y"])

    def test_prepend_and_append(self) -> None:
        """On top and at the end, several values in their order; ``add`` is ``append``."""
        made = lines(
            b"A: 1\r\n\r\n", prepend={"B": ["2", "3"], "C": "4"}, append={"D": "5", "A": ["6"]}, add={"E": "7"}
        )
        self.assertEqual(made, ["B: 2", "B: 3", "C: 4", "A: 1", "D: 5", "A: 6", "E: 7"])

    def test_replace(self) -> None:
        """The first of that name is replaced where it stands, the others go; one that is not there is appended."""
        made = lines(MESSAGE, replace={"x": "9", "New": "n", "To": ["c@z", "d@z"]})
        self.assertEqual(made, ["From: a@x", "Subject: long", "  folded", "x: 9", "To: c@z", "To: d@z", "New: n"])
        self.assertEqual(lines(b"A: 1\r\nB: 2\r\n\r\n", replace={"a": []}), ["B: 2"])

    def test_update(self) -> None:
        """Like replace, but nothing comes that was not there."""
        self.assertEqual(lines(b"A: 1\r\na: 2\r\n\r\n", update={"A": "3", "B": "4"}), ["A: 3"])

    def test_order(self) -> None:
        """Removed, then replaced, then updated, then the others."""
        made = lines(
            b"A: 1\r\nB: 2\r\n\r\n",
            remove="A",
            replace={"A": "3"},
            update={"A": "4", "C": "5"},
            prepend={"C": "6"},
            append={"B": "7"},
        )
        self.assertEqual(made, ["C: 6", "B: 2", "A: 4", "B: 7"])

    def test_odd_messages(self) -> None:
        """Without body, without header, with a line of a mailbox file, with LF or CR alone."""
        add = HeaderChanges(append={"B": "2"})
        for message, made in (
            (b"", b"B: 2\r\n\r\n"),
            (b"\r\nbody", b"B: 2\r\n\r\nbody"),
            (b"body", b"B: 2\r\n\r\nbody"),
            (b"A: 1", b"A: 1\r\nB: 2\r\n\r\n"),
            (b"A: 1\nC:\n d\n\nbody\n", b"A: 1\nC:\n d\nB: 2\n\nbody\n"),
            (b"A: 1\r\rbody\n", b"A: 1\rB: 2\r\rbody\n"),
            (b"From a@b Mon\nA: 1\n\n", b"From a@b Mon\nA: 1\nB: 2\n\n"),
        ):
            self.assertEqual(changed(message, add), made)
        made = changed(b"From a@b Mon\nA: 1\n\n", HeaderChanges(prepend={"B": "2"}))
        self.assertEqual(made, b"From a@b Mon\nB: 2\nA: 1\n\n")

    def test_folded(self) -> None:
        """Long values are folded at white space."""
        made = lines(b"A: 1\r\n\r\n", append={"X": "word " * 50})[1:]
        self.assertGreater(len(made), 3)
        self.assertLessEqual(max(map(len, made)), 78)
        self.assertTrue(all(line[0] == " " and line.strip() for line in made[1:]))

    def test_huge_header(self) -> None:
        """A header that no mail has is not gone through; a huge body is no header."""
        add = HeaderChanges(append={"B": "2"})
        error = self.assertRaises(ContentError, changed, b"A: 1\n" * LARGEST, add)
        self.assertIn("headers", error.what)
        for message in (b"A: 1\n\n" + b"x: y\n" * LARGEST, b"A: 1\nno header" + b"x" * LARGEST):
            self.assertTrue(changed(message, add).startswith(b"A: 1\nB: 2\n\n"))


class Encoded(SynchronousTestCase):
    """Values that are not ASCII."""

    def test_unstructured(self) -> None:
        """A mail program shows the value as it was given, spaces and all."""
        for value in (
            "Grüße aus Köln",
            "a é b",
            "é  é",
            "漢字" * 60,
            "x" * 60 + " é",
            "\U0001f600" * 30,
            "e\u0301 " * 40,
        ):
            made = changed(b"", HeaderChanges(append={"Subject": value}))
            self.assertTrue(made.isascii())
            self.assertLessEqual(max(map(len, made.split(b"\r\n"))), 78)
            self.assertEqual(unfolded(made, "Subject"), value.strip())

    def test_addresses(self) -> None:
        """In fields with addresses names are encoded, and addresses stay."""
        made = changed(
            b"", HeaderChanges(append={"To": '"Müller, Jörg" <j@x.example>, Zoë Ö <z@x.example>, k@x.example'})
        )
        self.assertTrue(made.isascii())
        found: Any = message_from_bytes(made, policy=policy.default)["To"]
        shown = [(one.display_name, one.addr_spec) for one in found.addresses]
        self.assertEqual(shown, [("Müller, Jörg", "j@x.example"), ("Zoë Ö", "z@x.example"), ("", "k@x.example")])
        self.assertEqual(ascii_value("to", "<ü@é.example>"), "<ü@é.example>")

    @settings(deadline=None)
    @given(some.sampled_from(["To", "X"]), WORDS)
    def test_any_value(self, name: str, value: str) -> None:
        """Any value is one field of lines that are not too long; outside addresses, of ASCII."""
        block = split(changed(b"A: 1\r\n\r\nbody", HeaderChanges(append={name: value})))
        self.assertEqual([field.name for field in block.fields], ["A", name])
        self.assertEqual(block.body, b"body")
        if name == "X":
            self.assertTrue(block.fields[1].raw.isascii())


class Refused(SynchronousTestCase):
    """What is found when the job is read."""

    def test_shapes(self) -> None:
        """A wrong shape, a name that is none, a line break: each is named."""
        for headers, where in (
            ([], "headers"),
            ({"append": "x"}, "headers.append"),
            ({"apend": {}}, "headers"),
            ({"append": {"X": 5}}, "headers.append.X"),
            ({"append": {"X": ["a", None]}}, "headers.append.X"),
            ({"remove": {"X": 1}}, "headers.remove"),
            ({"remove": ["X:"]}, "headers.remove"),
            ({"remove": "X\r\nY"}, "headers.remove"),
            ({"replace": {"": "a"}}, "headers.replace"),
            ({"update": {"Ü": "a"}}, "headers.update"),
            ({"add": {"X Y": "a"}}, "headers.add"),
            ({"append": {"X" * 101: "a"}}, "headers.append"),
            ({"append": {"X": "a\r\nBcc: b@c"}}, "headers.append.X"),
            ({"append": {"X": "a\nb"}}, "headers.append.X"),
            ({"append": {"X": "a\rb"}}, "headers.append.X"),
            ({"prepend": {"X": ["a", "\0"]}}, "headers.prepend.X"),
            ({"prepend": {"X": "a" * 881}}, "headers.prepend.X"),
            ({"prepend": {"To": "ü@" + "a" * 900}}, "headers.prepend.To"),
            ({"prepend": {"X": ["a"] * 1000}}, "headers"),
            ({"prepend": {"X": "a " * 200_000}}, "headers"),
        ):
            problem = job(headers=headers).problem or ""
            self.assertEqual(problem.partition(": ")[0], where, problem)
            self.assertLess(len(problem), 300)

    @settings(deadline=None)
    @given(
        some.recursive(
            some.none() | some.booleans() | some.integers() | some.text(max_size=5) | some.sampled_from(["X", "a b"]),
            lambda inner: (
                some.lists(inner, max_size=3)
                | some.dictionaries(some.sampled_from(["append", "remove", "replace", "X", "é"]), inner, max_size=3)
            ),
        )
    )
    def test_any_property(self, headers: Any) -> None:
        """Whatever ``headers`` is, the job has a problem that says so, or it can be done."""
        found = job(headers=headers)
        if found.problem is not None:
            self.assertTrue(found.problem.startswith("headers"), found.problem)
        elif Headers().wanted(found, False):
            self.assertIsInstance(Headers().apply(MESSAGE, found, Occasion(0.0)), bytes)

    def test_no_line_is_too_long(self) -> None:
        """The longest that is taken is a line that may be sent; letters that are not ASCII have no such bound."""
        for value in ("a" * 880, "é" * 5000, "a" * 5000 + "é"):
            headers = {"append": {"X" * 100: value}}
            self.assertIsNone(job(headers=headers).problem)
            made = Headers().apply(b"", job(headers=headers), Occasion(0.0))
            self.assertLessEqual(max(map(len, made.split(b"\r\n"))), 998)

    def test_half_of_a_pair(self) -> None:
        """Nor can half of a surrogate pair be sent."""
        self.assertIn("headers", job(headers={"append": {"X": "\ud83d"}}).problem or "")

    @settings(deadline=None, max_examples=300)
    @given(some.text(max_size=12), some.text(max_size=30) | WORDS, some.binary(max_size=60))
    def test_nothing_is_injected(self, name: str, value: str, message: bytes) -> None:
        """Any name and any value are one field more, or refused."""
        before = split(message)
        try:
            made = changed(message, HeaderChanges(append={name: value}))
        except ContentError as error:
            self.assertTrue(error.what.startswith("headers."))
            return
        after = split(made)
        self.assertEqual(len(after.fields), len(before.fields) + 1)
        self.assertEqual(after.body, before.body)


class Steps(SynchronousTestCase):
    """Both as steps."""

    def test_interface(self) -> None:
        """They are content steps."""
        for step in (Headers(), Normalize()):
            verifyObject(IContentStep, step)

    def test_wanted(self) -> None:
        """Only by jobs that ask for them."""
        self.assertFalse(Headers().wanted(job(), False))
        self.assertFalse(Headers().wanted(job(headers={"append": {}, "remove": []}), False))
        self.assertTrue(Headers().wanted(job(headers={"remove": "X"}), False))
        self.assertTrue(job(headers={}).plain)
        self.assertFalse(job(headers={"remove": "X"}).plain)
        self.assertFalse(Normalize().wanted(job(normalize=False), False))
        self.assertTrue(Normalize().wanted(job(normalize=1), False))

    def test_normalize(self) -> None:
        """CRLF, LF and CR become CRLF; so does the end."""
        made = Normalize().apply(b"A: 1\nB: 2\r\n\rbody\r\r\nend", job(normalize=1), Occasion(0.0))
        self.assertEqual(made, b"A: 1\r\nB: 2\r\n\r\nbody\r\n\r\nend\r\n")

    @given(some.text("a\r\n").map(str.encode))
    def test_normalize_any(self, message: bytes) -> None:
        """No line end of another kind is left, and a second time nothing changes."""
        made = Normalize().apply(message, job(normalize=1), Occasion(0.0))
        self.assertNotIn(b"\n", made.replace(b"\r\n", b""))
        self.assertNotIn(b"\r", made.replace(b"\r\n", b""))
        self.assertEqual(Normalize().apply(made, job(normalize=1), Occasion(0.0)), made)

    def test_headers(self) -> None:
        """What the job says is done."""
        made = Headers().apply(b"A: 1\n\nx", job(headers={"append": {"B": "2"}}), Occasion(0.0))
        self.assertEqual(made, b"A: 1\nB: 2\n\nx")
