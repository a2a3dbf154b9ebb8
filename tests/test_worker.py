"""Workers: which one of several a process is, and what of the configuration is its share."""

from __future__ import annotations

import contextlib
import os

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq.settings import AUTO, parse
from mailerq.start import processes
from mailerq.worker import ALONE, Worker, written


class Shares(SynchronousTestCase):
    """What is divided."""

    @given(st.integers(1, 64), st.integers(1, 65535), st.integers(1, 10000))
    def test_divided(self, count: int, window: int, unconfirmed: int) -> None:
        """All shares together are what is configured, and none is less than one."""
        settings = parse(f"queues: {{window: {window}, max-unconfirmed: {unconfirmed}}}", "c.yaml", {})
        shares = [Worker(index, count).share(settings).queues for index in range(count)]
        for whole, parts in (
            (window, [share.window for share in shares]),
            (unconfirmed, [share.max_unconfirmed for share in shares]),
        ):
            self.assertGreaterEqual(min(parts), 1)
            self.assertEqual(sum(parts), max(whole, count))

    def test_alone(self) -> None:
        """One worker has the settings and the paths as they are."""
        settings = parse("", "c.yaml", {})
        self.assertIs(ALONE.share(settings), settings)
        self.assertEqual(ALONE.own("var/journal"), "var/journal")
        self.assertEqual(Worker(1, 2).own("var/journal"), "var/journal.1")


class Written(SynchronousTestCase):
    """As one is told to its process."""

    def test_back(self) -> None:
        """What is written is read again."""
        for worker in (ALONE, Worker(1, 2), Worker(255, 256)):
            self.assertEqual(written(str(worker)), worker)

    @given(st.text() | st.sampled_from(["2/2", "1/0", "-1/2", "1/2\n", "1", "/", "٣/٤"]))
    def test_nonsense(self, text: str) -> None:
        """Anything else is a ValueError."""
        with contextlib.suppress(ValueError):
            self.assertEqual(str(written(text)), text)


class Settings(SynchronousTestCase):
    """``workers`` of the configuration."""

    def test_number(self) -> None:
        """A number, or as many as processors that may be used."""
        self.assertEqual(processes(parse("workers: 3", "c.yaml", {})), 3)
        self.assertEqual(processes(parse("", "c.yaml", {})), 1)
        settings = parse("workers: auto", "c.yaml", {})
        self.assertEqual((settings.workers, processes(settings)), (AUTO, len(os.sched_getaffinity(0))))
