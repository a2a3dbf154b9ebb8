"""What is due when."""

from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailerq.agenda import Agenda


class Times(SynchronousTestCase):
    """Many times, one timer."""

    def setUp(self) -> None:
        """A clock that starts somewhere."""
        self.clock = Clock()
        self.clock.advance(1000)
        self.agenda = Agenda(self.clock)
        self.called: list[object] = []

    def test_order(self) -> None:
        """Each is called at its time, in order, those of one time in the order in which they were noted."""
        times = [Random(5).choice(range(1001, 1020)) for _ in range(200)]
        for number, time in enumerate(times):
            self.agenda.at(time, lambda *found: self.called.append((self.clock.seconds(), *found)), time, number)
            self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        for _ in range(20):
            self.clock.advance(1)
        self.assertEqual(
            self.called, [(time, time, number) for time, number in sorted(zip(times, range(200), strict=True))]
        )
        self.assertEqual((len(self.agenda), self.clock.getDelayedCalls()), (0, []))

    def test_earlier(self) -> None:
        """One that is earlier than all others moves the timer."""
        self.agenda.at(1010, self.called.append, "late")
        self.agenda.at(1005, self.called.append, "soon")
        self.clock.advance(5)
        self.assertEqual(self.called, ["soon"])
        self.clock.advance(5)
        self.assertEqual(self.called, ["soon", "late"])

    def test_past(self) -> None:
        """What is past is called in the next turn, never at once."""
        self.agenda.at(1, self.called.append, 1)
        self.assertEqual(self.called, [])
        self.clock.advance(0)
        self.assertEqual(self.called, [1])

    def test_again_and_again(self) -> None:
        """One that is noted anew for a time that has passed, while it is called, waits for the next turn."""

        def again() -> None:
            self.called.append(1)
            self.agenda.at(self.clock.seconds(), again)

        again()
        for turn in range(2, 5):
            (call,) = self.clock.getDelayedCalls()
            fire = call.func
            call.cancel()
            fire()
            self.assertEqual(len(self.called), turn)

    def test_cancel(self) -> None:
        """What was cancelled is not called, also while its turn is under way; it may be cancelled twice."""
        self.agenda.at(1001, lambda: second.cancel())  # noqa: PLW0108 - there is no second yet
        second = self.agenda.at(1001, self.called.append, 1)
        third = self.agenda.at(1002, self.called.append, 2)
        third.cancel()
        third.cancel()
        self.clock.advance(5)
        self.assertEqual((self.called, len(self.agenda)), ([], 0))

    def test_clear(self) -> None:
        """All is forgotten, also what is due in the same turn; it can be used on."""
        self.agenda.at(1001, self.agenda.clear)
        self.agenda.at(1001, self.called.append, 1)
        self.agenda.at(1002, self.called.append, 2)
        self.clock.advance(5)
        self.assertEqual((self.called, self.clock.getDelayedCalls(), len(self.agenda)), ([], [], 0))
        self.agenda.clear()
        self.agenda.at(1006, self.called.append, 3)
        self.clock.advance(5)
        self.assertEqual(self.called, [3])

    def test_failing(self) -> None:
        """One that fails is logged, and takes nobody with it."""
        self.agenda.at(1001, lambda: 1 / 0)
        self.agenda.at(1001, self.called.append, 1)
        self.agenda.at(1002, self.called.append, 2)
        self.clock.advance(1)
        self.clock.advance(1)
        self.assertEqual(self.called, [1, 2])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_early_timer(self) -> None:
        """A timer that fires a hair too early is on time."""
        self.agenda.at(1001, self.called.append, 1)
        call = self.clock.getDelayedCalls()[0]
        call.cancel()
        self.clock.advance(0.9999999)
        self.agenda._fire()
        self.assertEqual(self.called, [1])
