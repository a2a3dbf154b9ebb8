"""A reply as a value."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq.reply import Reply, parse_reply


class ParseReplyTests(SynchronousTestCase):
    def test_table(self) -> None:
        """Code, enhanced code and text of replies as hosts send them."""
        for code, lines, status, text in (
            (250, [b"2.1.0 Ok"], "2.1.0", "Ok"),
            (250, [b"Ok"], None, "Ok"),
            (250, [b""], None, ""),
            (250, [b"2.0.0"], "2.0.0", ""),
            (250, [b"2.0.0\tOk"], "2.0.0", "Ok"),
            (250, [], None, ""),
            (550, [b"5.1.1 No such", b"5.1.1 user"], "5.1.1", "No such user"),
            (550, [b"No such", b"5.1.1 user"], "5.1.1", "No such user"),
            (550, [b"", b"5.7.1", b" spaced  out ", b""], "5.7.1", "spaced  out"),
            (450, [b"5.1.1 of another class"], None, "5.1.1 of another class"),
            (550, [b"5.1 short"], None, "5.1 short"),
            (550, [b"5.1.1234 long"], None, "5.1.1234 long"),
            (550, [b"5.1.1x"], None, "5.1.1x"),
            (554, [b"5.7.509 Access denied"], "5.7.509", "Access denied"),
            (550, ["5.1.\u0661 Arabic".encode()], None, "5.1.\u0661 Arabic"),
            (550, ["Grüße".encode()], None, "Grüße"),
            (550, [b"Gr\xfc\xdfe"], None, "Gr\ufffd\ufffde"),
            (550, [b"a\0b\x07c\x1b[0m"], None, "a b c [0m"),
            (550, [b"\x1b"], None, ""),
            (550, [b"x" * 5000], None, "x" * 5000),
        ):
            self.assertEqual(parse_reply(code, lines), Reply(code, status, text), lines)

    @settings(max_examples=300, deadline=None)
    @given(st.integers(100, 599), st.lists(st.binary(max_size=40), max_size=4))
    def test_any_bytes(self, code: int, lines: list[bytes]) -> None:
        """Never raises; the text has no control characters and no space at its ends."""
        reply = parse_reply(code, lines)
        self.assertEqual(reply.text, reply.text.strip())
        self.assertFalse([c for c in reply.text if ord(c) < 32 or ord(c) == 127])
        self.assertTrue(reply.status is None or reply.status[0] == str(code)[0])
