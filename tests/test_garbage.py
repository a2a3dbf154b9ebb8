"""How often Python looks for rings of objects."""

from __future__ import annotations

import gc

from twisted.trial.unittest import SynchronousTestCase

from mailerq import garbage


class Ring:
    """An object that holds itself."""

    def __init__(self) -> None:
        self.me = self


class GarbageTests(SynchronousTestCase):
    def setUp(self) -> None:
        before = gc.get_threshold()
        self.addCleanup(gc.set_threshold, *before)
        self.addCleanup(gc.unfreeze)

    def test_rings_are_found(self) -> None:
        """Rings are freed, and there are never many more than ``MORE`` of their objects."""
        garbage.settle()
        most = 0
        for _ in range(3 * garbage.MORE):
            Ring()
            most = max(most, gc.get_count()[0])
        self.assertLessEqual(most, garbage.MORE + 1)
        self.assertLess(sum(isinstance(one, Ring) for one in gc.get_objects()), garbage.MORE + 1)

    def test_what_was_there(self) -> None:
        """What is there at the start is not looked at again."""
        garbage.settle()
        self.assertGreater(gc.get_freeze_count(), 1000)
