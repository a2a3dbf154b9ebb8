"""When a job is tried again, and until when."""

from twisted.trial.unittest import SynchronousTestCase

from mailerq.job import Job, read
from mailerq.retry import attempt_limit, deadline, next_try


def job(more: bytes = b"") -> Job:
    """A job with more properties."""
    found = read(b'{"recipient":"a@b.c","mime":"x"%s}' % more)
    assert isinstance(found, Job)
    return found


class Times(SynchronousTestCase):
    """Schedules and limits."""

    def test_schedule(self) -> None:
        """After each attempt its own delay; the last repeats."""
        delays = [next_try(attempts, (600.0, 1800.0, 7200.0), 1000.0) - 1000.0 for attempts in range(1, 6)]
        self.assertEqual(delays, [600, 1800, 7200, 7200, 7200])

    def test_deadline(self) -> None:
        """The job's own; else counted from the first pick-up, which is now for a job never seen."""
        self.assertEqual(deadline(job(b',"maxdelivertime":"1970-01-01 00:01:00"'), 50.0, 7.0), 60.0)
        self.assertEqual(deadline(job(b',"seen":"1970-01-01 00:00:09"'), 50.0, 70.0), 59.0)
        self.assertEqual(deadline(job(), 50.0, 7.0), 57.0)

    def test_attempts(self) -> None:
        """The job's own, 0 included; else the configured one."""
        self.assertEqual(attempt_limit(job(), 6), 6)
        self.assertEqual(attempt_limit(job(b',"maxattempts":0'), 6), 0)
        self.assertEqual(attempt_limit(job(b',"maxattempts":9'), 6), 9)
