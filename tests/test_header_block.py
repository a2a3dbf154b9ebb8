"""The header of a message in fields: nothing is lost, nothing changes that nobody changed."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from mailerq.content.header_block import make, split

PIECES = [b"A", b"From", b"x y", b":", b": ", b" ", b"\t", b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\n\n", b"\xff", b"\0"]
messages = some.lists(some.one_of(some.sampled_from(PIECES), some.binary(max_size=3)), max_size=30).map(b"".join)
MESSAGE = b"From: a@x\r\nSubject: long\r\n  folded\r\nX: 1\r\nx : 2\r\n\r\nbody: no field\r\n"


class Splitting(SynchronousTestCase):
    """``split``."""

    @settings(max_examples=400, deadline=None)
    @given(messages)
    def test_written_is_what_was_split(self, message: bytes) -> None:
        """Any bytes come out as they went in."""
        block = split(message)
        self.assertEqual(block.written(), message)
        self.assertEqual(message[block.start :], block.body)

    def test_fields(self) -> None:
        """Names as written, values unfolded, the body apart."""
        block = split(MESSAGE)
        self.assertEqual([field.name for field in block.fields], ["From", "Subject", "X", "x"])
        self.assertEqual(block.value("SUBJECT"), "long  folded")
        self.assertEqual([field.value for field in block.all("x")], [b"1", b"2"])
        self.assertEqual(block.body, b"body: no field\r\n")
        self.assertFalse(block.broken)
        self.assertNotIn("To", block)

    def test_line_ends(self) -> None:
        """CRLF, LF and CR end a line, mixed too."""
        for end in (b"\r\n", b"\n", b"\r"):
            block = split(MESSAGE.replace(b"\r\n", end))
            self.assertEqual((len(block.fields), block.end), (4, end))
            self.assertEqual(block.value("subject"), "long  folded")
        self.assertEqual([field.name for field in split(b"A: 1\rB: 2\nC: 3\r\n\nx").fields], ["A", "B", "C"])

    def test_no_field(self) -> None:
        """A line that is no field is the body's first, and an empty line comes before it when a field is added."""
        block = split(b"A: 1\nnot a field\nB: 2\n\nx")
        self.assertTrue(block.broken)
        self.assertEqual(block.body, b"not a field\nB: 2\n\nx")
        block.append("C", "3")
        self.assertEqual(block.written(), b"A: 1\nC: 3\n\nnot a field\nB: 2\n\nx")

    def test_mailbox_line(self) -> None:
        """The line that mailbox files put first is no field, and stays first."""
        block = split(b"From a@x Mon\nA: 1\n\nx")
        block.prepend("B", "2")
        self.assertEqual(block.written(), b"From a@x Mon\nB: 2\nA: 1\n\nx")

    def test_many_fields(self) -> None:
        """A hundred thousand fields, and a field of megabytes, are split in no long time."""
        self.assertEqual(len(split(b"A: 1\r\n" * 100_000 + b"\r\n").fields), 100_000)
        self.assertEqual(len(split(b"A: 1\r\n" + b" x\r\n" * 1_000_000).fields), 1)
        self.assertTrue(split(b"a" * 5_000_000).broken)


class Changing(SynchronousTestCase):
    """What a step does with a header."""

    def test_prepend_append_remove(self) -> None:
        """All else stays byte for byte."""
        block = split(MESSAGE)
        block.prepend("List-Id", "<x>")
        block.append("Z", "ü")
        self.assertEqual(block.remove("X"), 2)
        wanted = b"List-Id: <x>\r\n" + MESSAGE.replace(b"X: 1\r\nx : 2\r\n", "Z: ü\r\n".encode())
        self.assertEqual(block.written(), wanted)

    def test_message_that_ends_within_its_header(self) -> None:
        """A field is a line of its own, whatever the message ended with."""
        block = split(b"A: 1")
        block.append("B", "2")
        self.assertEqual(block.written(), b"A: 1\r\nB: 2\r\n\r\n")
        block = split(b"")
        block.append("B", "2")
        self.assertEqual(block.written(), b"B: 2\r\n\r\n")

    def test_no_second_field(self) -> None:
        """No name and no value makes a second line."""
        for name, value in (("A", "1\r\nBcc: x"), ("A", "1\rB"), ("A", "\0"), ("A:b", "1"), ("", "1"), ("ü", "1")):
            self.assertRaises(ValueError, make, name, value)
        self.assertRaises(ValueError, make, "A", "\ud800")

    @settings(max_examples=200, deadline=None)
    @given(some.text(), some.sampled_from([b"\r\n", b"\n"]))
    def test_made_is_one_field(self, value: str, end: bytes) -> None:
        """What is made is one field with that value, or refused."""
        try:
            field = make("Name", value, end)
        except ValueError:
            return
        block = split(field.raw + b"\r\nx")
        self.assertEqual(len(block.fields), 1)
        self.assertEqual(block.fields[0].value.decode(), value.strip(" \t"))

    def test_folded(self) -> None:
        """Long values are folded at white space, and read back as they were; a long word stays whole."""
        value = " ".join(["word"] * 60)
        field = make("Name", value)
        self.assertTrue(all(len(line) <= 78 for line in field.raw.splitlines()))
        self.assertEqual(field.value.decode(), value)
        self.assertEqual(make("Name", "x" * 200).raw.count(b"\r\n"), 1)
