"""The table: what a reply means at each step, and how far a mail came when the connection ends."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailerq.attempt import Outcome, State, Type
from mailerq.reply import Reply
from mailerq.smtp import tracker
from mailerq.smtp.tracker import Do, Step, Talk, Tracker

CODES = (421, 150, 250, 354, 450, 550)
STEPS = [value for value in vars(tracker).values() if isinstance(value, Step)]
LOST = Outcome(Type.LOST, State.MAIL, description="lost")


def talk(name: str = "one", first: bool = True) -> Talk:
    made = Talk(name, b"MAIL\r\n", b"RCPT\r\n", b"", False)
    made.first = first
    return made


def pipelined(*steps: Step) -> Tracker:
    made = Tracker()
    made.current = talk()
    made.due.extend(steps or tracker.ENVELOPE)
    return made


class TableTests(SynchronousTestCase):
    def test_one_by_one(self) -> None:
        """Each step alone, each kind of reply: what is to be done."""
        expected = {
            # awaited          421    1xx    2xx    3xx    4xx    5xx
            tracker.MAIL: "BYE ODD SEND ODD FINISH FINISH",
            tracker.RCPT: "BYE ODD SEND ODD FINISH FINISH",
            tracker.DATA: "BYE ODD ODD BODY FINISH FINISH",
            tracker.SENDING: "BYE ODD ODD ODD ODD ODD",
            tracker.RECEIVED: "BYE ODD FINISH ODD FINISH FINISH",
            tracker.RESET: "RESET RESET SEND RESET RESET RESET",
            tracker.INIT: "REFUSED REFUSED EHLO REFUSED REFUSED REFUSED",
            tracker.EHLO: "BYE ODD OFFERS ODD HELO HELO",
            tracker.HELO: "BYE ODD OFFERS ODD REFUSED REFUSED",
            tracker.STARTTLS: "BYE REFUSED TLS REFUSED REFUSED REFUSED",
            tracker.AUTH: "BYE ODD AUTHENTICATED CHALLENGE REFUSED REFUSED",
            tracker.QUIT: "CLOSE CLOSE CLOSE CLOSE CLOSE CLOSE",
        }
        for step, row in expected.items():
            done = [pipelined(step).take(Reply(code)).name for code in CODES]
            self.assertEqual(" ".join(done), row, step)

    def test_every_step_has_a_row_and_types(self) -> None:
        """No step is without an answer for a kind of reply, or without a type for each end."""
        self.assertEqual(len(STEPS), 14)
        for step in STEPS:
            self.assertEqual(len(step.row), 6)
            self.assertTrue(all((step.lost, step.silent, step.odd, step.refused)))

    def test_the_state_is_the_first_step(self) -> None:
        """What a result names is the answer that is awaited."""
        made = pipelined()
        self.assertEqual(made.state, State.MAIL)
        made.take(Reply(250))
        self.assertEqual(made.state, State.RCPT)
        self.assertEqual(Tracker().state, State.IDLE)


class PipelineTests(SynchronousTestCase):
    def test_every_three_answers(self) -> None:
        """All answers to MAIL, RCPT and DATA, one after the other: the first refusal is the outcome, a message follows
        only where there is none, and a dot where DATA was accepted all the same."""
        for mail in (250, 450, 550):
            for rcpt in (250, 450, 550):
                for data in (354, 450, 550):
                    made = pipelined()
                    self.assertIs(made.take(Reply(mail)), Do.NOTHING)
                    self.assertIs(made.take(Reply(rcpt)), Do.NOTHING)
                    do = made.take(Reply(data))
                    refused = [code for code in (mail, rcpt, data) if code >= 400]
                    if not refused:
                        self.assertIs(do, Do.BODY)
                        self.assertFalse(made.reset_due)
                        continue
                    self.assertIs(do, Do.DOT if data == 354 else Do.FINISH)
                    if do is Do.DOT:
                        made.due.append(tracker.DOT)
                        self.assertIs(made.take(Reply(250)), Do.FINISH)
                    assert made.outcome is not None
                    self.assertEqual(made.outcome.code, refused[0])
                    self.assertEqual(made.outcome.type, Type.ERROR)
                    self.assertEqual(made.reset_due, data != 354)

    def test_the_following_mail_becomes_the_current(self) -> None:
        """After the answer to a message the next answers are the next mail's."""
        made = pipelined(tracker.RECEIVED, *tracker.ENVELOPE)
        made.following = talk("two", first=False)
        self.assertIs(made.take(Reply(250)), Do.FINISH)
        self.assertEqual(made.advance().mail, "one")
        assert made.current is not None
        self.assertEqual((made.current.mail, made.following), ("two", None))


class EndTests(SynchronousTestCase):
    def fates(self, made: Tracker, step: Step, lost: bool = True) -> list[tuple[str, str | None]]:
        return [(one.mail, fate and fate.type) for one, fate in made.end(step, LOST, lost)]

    def test_how_far_it_came(self) -> None:
        """Lost at each step: the mail in hand has the outcome; after RSET it was not tried."""
        for step in (tracker.MAIL, tracker.RCPT, tracker.DATA, tracker.SENDING, tracker.RECEIVED):
            self.assertEqual(self.fates(pipelined(step), step), [("one", Type.LOST)])
        self.assertEqual(self.fates(pipelined(tracker.RESET, *tracker.ENVELOPE), tracker.RESET), [("one", None)])

    def test_not_the_first_mail(self) -> None:
        """Lost without an answer to a mail that came after others: it was not tried. Silence is another matter."""
        for lost, fate in ((True, None), (False, Type.LOST)):
            made = pipelined()
            made.current = talk(first=False)
            self.assertEqual(self.fates(made, tracker.MAIL, lost), [("one", fate)])

    def test_the_mail_behind(self) -> None:
        """Whatever becomes of the first, the one behind it was not tried."""
        made = pipelined(tracker.RECEIVED, *tracker.ENVELOPE)
        made.following = talk("two", first=False)
        self.assertEqual(self.fates(made, tracker.RECEIVED), [("one", Type.LOST), ("two", None)])

    def test_a_refusal_counts(self) -> None:
        """Refused, then lost before the other answers came: refused."""
        made = pipelined()
        made.take(Reply(550, None, "No"))
        self.assertEqual(self.fates(made, tracker.RCPT), [("one", Type.ERROR)])

    def test_nothing_in_hand(self) -> None:
        """An idle connection ends without a mail."""
        self.assertEqual(Tracker().end(tracker.RECEIVED, LOST), [])
