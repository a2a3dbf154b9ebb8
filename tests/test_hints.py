"""When a host wants us to come again."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq.hints import retry_hint

SAID = {
    "try again in 5 minutes": 300,
    "try again in half an hour": 1800,
    "Please try again in an hour": 3600,
    "try again in a few minutes": 300,
    "retry after 300 seconds": 300,
    "Retry-After: 120": 120,
    "please retry after 120": 120,
    "in 1 hour": 3600,
    "in 10 minutes please try again": 600,
    "Greylisting in action, please come back in 00:05:00": 300,
    "Greylisted for 300 seconds": 300,
    "You have been greylisted for 5 min, see http://postgrey.example/": 300,
    "please wait 2 min": 120,
    "wait 60s": 60,
    "Deferred for 1h": 3600,
    "retry at least 15 minutes from now": 900,
}
NOT_SAID = (
    "Try again later",
    "more than 100 mails in 24 hours, try again later",
    "Server busy. Please try again later from [192.0.2.1]. (S77714) 2024-07-01T12:34:16Z",
    "Recipient address rejected: Greylisted, see http://postgrey.example/help/5",
    "only 5 recipients per 5 minutes are allowed",
    "Please retry in 0 seconds",
    "421 4.7.0 temporarily deferred - 4.16.55.1",
    "again",
    "",
)


class Hints(SynchronousTestCase):
    """What is understood."""

    def test_said(self) -> None:
        """The ways in which hosts say it."""
        for text, seconds in SAID.items():
            self.assertEqual(retry_hint(text), seconds, text)
            self.assertEqual(retry_hint(text.upper()), seconds, text)

    def test_not_said(self) -> None:
        """Other numbers and times are not taken for it."""
        for text in NOT_SAID:
            self.assertIsNone(retry_hint(text), text)

    def test_bounds(self) -> None:
        """Never more than a day."""
        self.assertEqual(retry_hint("try again in 30 days"), 86400.0)
        self.assertEqual(retry_hint("retry after 999999999 seconds"), 86400.0)

    @given(st.text(max_size=300) | st.text("again in0123456789:hmsretyof ", max_size=300))
    def test_anything(self, text: str) -> None:
        """Whatever the text: nothing, or one second to a day."""
        seconds = retry_hint(text)
        self.assertTrue(seconds is None or 1 <= seconds <= 86400)

    def test_time(self) -> None:
        """Texts that are made for it cost milliseconds."""
        for text in (
            "again " * 10000,
            "in 1 hour " * 10000,
            "retry" * 10000,
            "1" * 60000,
            "in " * 20000,
            "after 1 m a ",
        ):
            began = time.process_time()
            retry_hint(text * 100)
            self.assertLess(time.process_time() - began, 0.05, text[:20])
