"""The bytes of a message, whole and in pieces."""

from __future__ import annotations

from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from mailerq.smtp import wire

LETTERS = (b"\r", b"\n", b".", b"x")


def expected(body: bytes) -> bytes:
    """What RFC 5321 asks for, said another way: line by line."""
    lines = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    return b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines)


def all_bodies(longest: int) -> list[bytes]:
    return [b"".join(letters) for length in range(longest + 1) for letters in product(LETTERS, repeat=length)]


class StuffTests(SynchronousTestCase):
    def test_every_short_body(self) -> None:
        """All strings over CR, LF, dot and a letter up to six: lines end in CRLF, dots are doubled, nothing is lost."""
        for body in all_bodies(6):
            self.assertEqual(wire.stuff(body), expected(body), body)

    def test_size_is_what_is_sent_without_stuffing(self) -> None:
        """``size`` counts what ``normal`` makes, for every short body."""
        for body in all_bodies(6):
            self.assertEqual(wire.size(body), len(wire.normal(body)), body)

    def test_nothing_ends_a_message_but_its_end(self) -> None:
        """No body holds a lone dot on a line, whatever its line ends."""
        for body in all_bodies(6):
            self.assertNotIn(b"\r\n.\r\n", b"\r\n" + wire.stuff(body), body)
            self.assertNotIn(b"\n", wire.stuff(body).replace(b"\r\n", b""))
            self.assertNotIn(b"\r", wire.stuff(body).replace(b"\r\n", b""))

    def test_a_good_body_is_not_copied(self) -> None:
        """A body with CRLF ends and no dot at the start of a line is sent as the object that it is."""
        body = b"Subject: x\r\n\r\nhello. you\r\n" * 50
        self.assertIs(wire.stuff(body), body)


class StufferTests(SynchronousTestCase):
    def test_cut_at_every_two_places(self) -> None:
        """All strings up to five, in three pieces cut anywhere, make the same bytes as the whole."""
        for body in all_bodies(5):
            whole = expected(body)
            for first in range(len(body) + 1):
                for second in range(first, len(body) + 1):
                    stuffer = wire.Stuffer()
                    pieces = [stuffer.feed(piece) for piece in (body[:first], body[first:second], body[second:])]
                    self.assertEqual(b"".join(pieces) + stuffer.end(), whole, (body, first, second))

    def test_slices_of_every_length(self) -> None:
        """``slices`` makes the same bytes as ``stuff``, whatever the length of a slice."""
        for body in all_bodies(5):
            for length in range(1, 6):
                self.assertEqual(b"".join(wire.slices(body, length)), expected(body), (body, length))


class CommandTests(SynchronousTestCase):
    def test_a_name_is_never_two_commands(self) -> None:
        """Line breaks and spaces in the EHLO name are dropped."""
        self.assertEqual(wire.ehlo("a b\r\nRSET\n.example"), b"EHLO abRSET.example\r\n")
        self.assertEqual(wire.helo("\r\n"), b"HELO localhost\r\n")

    def test_a_name_that_is_not_ascii(self) -> None:
        """It is sent as an A-label, or without what cannot be one."""
        self.assertEqual(wire.ehlo("mx.bücher.example"), b"EHLO mx.xn--bcher-kva.example\r\n")
        self.assertEqual(wire.ehlo("ü..\r\nx"), b"EHLO ..x\r\n")
