"""The lines of a mail's life."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailerq.attempt import Attempt, State, Type
from mailerq.events import Events, as_json, as_text
from mailerq.job import read
from mailerq.mail import Mail
from mailerq.verdict import AGAIN, DELIVERED, FAILED, Retry


def mail(body: bytes = b'{"recipient":"a@b.c","mime":"x"}') -> Mail:
    """A mail in our hands."""
    return Mail(read(body), None, b"d" * 16, "id-1", 0.0)


class Case(SynchronousTestCase):
    """Events, and the turns they wait for."""

    def setUp(self) -> None:
        """Nobody listens."""
        self.turns: list[Callable[[], None]] = []
        self.events = Events(lambda: 1_700_000_000.0, self.turns.append)
        self.told: list[Sequence[dict[str, Any]]] = []

    def turn(self) -> None:
        """The next turn of the reactor."""
        turns, self.turns[:] = list(self.turns), []
        for call in turns:
            call()


class Told(Case):
    """Who is told what."""

    def test_once_a_turn(self) -> None:
        """What happened in a turn is told at once, in order."""
        self.events.listen(self.told.append)
        self.events.parked(mail(), 1_700_000_060.0, "max-queue")
        self.events.decided(mail(), DELIVERED)
        self.assertEqual((self.told, len(self.turns)), ([], 1))
        self.turn()
        self.events.doubled("id-2", "why")
        self.turn()
        self.assertEqual(
            [[fields["event"] for fields in once] for once in self.told], [["parked", "delivered"], ["doubled"]]
        )

    def test_nobody_listens(self) -> None:
        """Where nobody listens it is counted all the same, and no turn is asked for."""
        self.events.attempt(mail(), Attempt(1, Type.ERROR, "t"))
        for verdict in (DELIVERED, FAILED, FAILED, Retry(5.0), AGAIN):
            self.events.decided(mail(), verdict)
        self.events.parked(mail(), 5.0, "w")
        self.events.invalid("w", 5, True, b"")
        self.events.doubled("i", "w")
        self.assertEqual(
            self.events.counts,
            {"error": 1, "delivered": 1, "failed": 2, "retry": 1, "parked": 1, "invalid": 1, "doubled": 1},
        )
        self.assertEqual(self.turns, [])

    def test_failing_listener(self) -> None:
        """A listener that fails is logged, and the others are told."""
        self.events.listen(lambda told: 1 / 0)
        self.events.listen(self.told.append)
        self.events.doubled("i", "w")
        self.turn()
        self.assertEqual((len(self.told), len(self.flushLoggedErrors(ZeroDivisionError))), (1, 1))


class Lines(Case):
    """What a line says."""

    def line(self) -> str:
        """The only line that was told."""
        self.turn()
        return as_text(self.told[-1][0])

    def test_attempt(self) -> None:
        """An attempt says who, where and what."""
        self.events.listen(self.told.append)
        attempt = Attempt(
            2,
            Type.LOST,
            "2026-01-01 00:00:00",
            "192.0.2.1",
            "192.0.2.2",
            451,
            "4.1.1",
            "bad-mailbox",
            'no "x"',
            State.MAIL,
            in_doubt=True,
        )
        self.events.attempt(mail(), attempt)
        self.assertEqual(
            self.line(),
            "2026-01-01 00:00:00 attempt id=id-1 n=2 type=lost from=<> to=a@b.c local=192.0.2.1 remote=192.0.2.2 "
            'state="mail from" code=451 status=4.1.1 class=bad-mailbox in-doubt=true text="no \\"x\\""',
        )

    def test_decided(self) -> None:
        """A retry says when; what is final has no such field."""
        self.events.listen(self.told.append)
        self.events.decided(mail(), Retry(1_700_000_600.0))
        self.assertEqual(
            self.line(), '2023-11-14 22:13:20 retry id=id-1 to=a@b.c attempts=0 next="2023-11-14 22:23:20"'
        )
        self.events.decided(mail(), FAILED)
        self.assertEqual(self.line(), "2023-11-14 22:13:20 failed id=id-1 to=a@b.c attempts=0")

    def test_again(self) -> None:
        """What goes at once over another connection is no news."""
        self.events.listen(self.told.append)
        self.events.decided(mail(), AGAIN)
        self.assertEqual(self.turns, [])

    def test_invalid(self) -> None:
        """A body that no queue keeps is shown, whatever its bytes."""
        self.events.listen(self.told.append)
        self.events.invalid("is no UTF-8", 2, False, b"\xffx\n")
        self.assertEqual(self.line(), '2023-11-14 22:13:20 invalid bytes=2 text="is no UTF-8" dropped="\\\\xffx\\n"')
        self.events.invalid("is no UTF-8", 2, True, b"\xffx")
        self.assertNotIn("dropped", self.line())

    def test_one_line(self) -> None:
        """Line breaks from outside make no second line."""
        odd = {"time": "t", "event": "e", "text": "a\nb\r\u2028 =", "empty": "", "none": None}
        self.assertEqual(as_text(odd), 't e text="a\\nb\\r\u2028 =" empty=""')
        self.assertEqual(json.loads(as_json(odd)), {"time": "t", "event": "e", "text": odd["text"], "empty": ""})
