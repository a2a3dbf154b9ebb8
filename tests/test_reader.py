"""Replies, read from bytes that are cut anywhere."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq.reply import Reply
from mailerq.smtp.reader import LINE_LIMIT, REPLY_LIMIT, Garbage, Overflow, Reader


def read(*pieces: bytes) -> list[Any]:
    reader = Reader()
    items: list[Any] = []
    for piece in pieces:
        items += reader.feed(piece)
        if items and type(items[-1]) is not Reply:
            break
    return items


STREAM = (
    b"220 mx.test ESMTP\r\n250-mx.test\r\n250-PIPELINING\r\n250-\r\n250 SIZE\r\n250\r\n"
    b"550-5.1.1 No\r\n550 5.1.1 such\r\n"
)
REPLIES = [
    Reply(220, None, "mx.test ESMTP"),
    Reply(250, None, "mx.test PIPELINING SIZE"),
    Reply(250, None, ""),
    Reply(550, "5.1.1", "No such"),
]


class ReaderTests(SynchronousTestCase):
    def test_cut_at_every_two_places(self) -> None:
        """Four replies, in three pieces cut anywhere, are the same four replies."""
        for first in range(len(STREAM) + 1):
            for second in range(first, len(STREAM) + 1):
                self.assertEqual(read(STREAM[:first], STREAM[first:second], STREAM[second:]), REPLIES)

    def test_single_bytes(self) -> None:
        """Each byte by itself makes the same replies."""
        self.assertEqual(read(*(STREAM[i : i + 1] for i in range(len(STREAM)))), REPLIES)

    def test_line_feed_alone_ends_a_line(self) -> None:
        """A host that sends LF only is understood."""
        self.assertEqual(read(STREAM.replace(b"\r\n", b"\n")), REPLIES)

    def test_lines_of_the_last_reply_with_several(self) -> None:
        """``lines`` holds the texts of an EHLO reply, line by line."""
        reader = Reader()
        reader.feed(b"250-mx\r\n250-SIZE 1000\r\n250 8BITMIME\r\n")
        self.assertEqual(reader.lines, [b"mx", b"SIZE 1000", b"8BITMIME"])

    def test_what_is_no_reply(self) -> None:
        """Words, an empty line, codes out of range, a code without a space: Garbage, which quotes it."""
        for line in (b"hello", b"", b"25", b"2500 x", b"250x", b"099 x", b"600 x", b"25\xb2 x", b" 250 x", b"+25 x"):
            (item,) = read(line + b"\r\n")
            self.assertIsInstance(item, Garbage, line)
        self.assertEqual(read(b"hello\r\n"), [Garbage("'hello'")])

    def test_codes_that_differ_between_lines(self) -> None:
        """RFC 5321 4.2.1: all lines have the same code; else it is no reply."""
        self.assertEqual(read(b"250-a\r\n550 b\r\n"), [Garbage("'550 b'")])

    def test_replies_before_garbage_are_kept(self) -> None:
        """What came before it counts."""
        items = read(b"250 ok\r\nwhat\r\n250 no\r\n")
        self.assertEqual(items, [Reply(250, None, "ok"), Garbage("'what'")])

    def test_pending(self) -> None:
        """A reply that has begun is pending, a complete one is not."""
        reader = Reader()
        for piece, pending in ((b"25", True), (b"0-a\r\n", True), (b"250", True), (b" b\r\n", False)):
            reader.feed(piece)
            self.assertEqual(reader.pending, pending, piece)

    def test_bytes_of_any_kind(self) -> None:
        """Latin-1 is replaced, NUL becomes a space."""
        self.assertEqual(read(b"550 Gr\xfc\xdfe\0you\r\n"), [Reply(550, None, "Gr\ufffd\ufffde you")])


class LimitTests(SynchronousTestCase):
    def test_longest_line(self) -> None:
        """A line of the limit is read, one of a byte more is not, whether its end has come or not."""
        self.assertIsInstance(read(b"250 " + b"x" * (LINE_LIMIT - 5) + b"\r\n")[0], Reply)
        self.assertIsInstance(read(b"250 " + b"x" * LINE_LIMIT + b"\r\n")[0], Overflow)
        self.assertIsInstance(read(b"250 " + b"x" * LINE_LIMIT)[0], Overflow)

    def test_endless_reply(self) -> None:
        """A reply of short lines without an end is an Overflow before it fills the memory."""
        reader = Reader()
        fed = 0
        items: list[Any] = []
        while not items and fed < 2 * REPLY_LIMIT:
            items = reader.feed(b"250-x\r\n")
            fed += 7
        self.assertIsInstance(items[0], Overflow)
        self.assertLess(fed, REPLY_LIMIT + 14)

    def test_many_short_replies_are_no_long_one(self) -> None:
        """The limit is for one reply."""
        self.assertEqual(len(read(b"250-a\r\n250 b\r\n" * 20000)), 20000)


class FuzzTests(SynchronousTestCase):
    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.sampled_from([b"250 ok", b"250-", b"\r\n", b"\n", b"\r", b"550", b" ", b"\xff", b"x", b"4"])))
    def test_cuts_make_no_difference(self, words: list[bytes]) -> None:
        """Whatever comes: no exception, and whole and in single bytes it is the same."""
        stream = b"".join(words)
        self.assertEqual(read(stream), read(*(stream[i : i + 1] for i in range(len(stream)))))

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=200))
    def test_any_bytes(self, stream: bytes) -> None:
        """Any bytes at all are read without an exception."""
        read(stream + b"\r\n")
