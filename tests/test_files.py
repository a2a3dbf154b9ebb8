"""How many files may be open."""

from __future__ import annotations

import resource

from twisted.trial.unittest import SynchronousTestCase

from mailerq.files import allow


class FilesTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Whatever is done to the soft limit is undone."""
        self.before = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, self.before)
        self.start = self.before[0] - 100
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.start, self.before[1]))

    def soft(self) -> int:
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]

    def test_more(self) -> None:
        """The usual limit is often 1024, which is not enough for 1000 connections and what else is open."""
        self.assertEqual(allow(self.start + 50), self.start + 50)
        self.assertEqual(self.soft(), self.start + 50)

    def test_never_fewer(self) -> None:
        """A limit that is higher stays."""
        self.assertEqual(allow(50), self.start)
        self.assertEqual(self.soft(), self.start)

    def test_only_as_far_as_it_may_be(self) -> None:
        """The hard limit is not touched, and what can be had is told."""
        hard = self.before[1]
        if hard == resource.RLIM_INFINITY:
            hard = 2**20  # the system has one of its own above that
            self.assertGreaterEqual(allow(hard), self.start)
        else:
            self.assertEqual(allow(hard + 1000), hard)
        self.assertEqual(resource.getrlimit(resource.RLIMIT_NOFILE)[1], self.before[1])
