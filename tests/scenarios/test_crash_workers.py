"""What ``test_crash.py`` asks of one process, asked of a parent and two workers, with fewer jobs and kills: all of them
are killed, stopped and reloaded together. ``test_workers_crash.py`` kills them one by one."""

from __future__ import annotations

from tests.scenarios import test_crash


class _Two(test_crash.FlowTest):
    """Two workers."""

    workers = 2
    part = 0.5


class SqliteTwoTests(_Two, test_crash.CrashTests):
    """The embedded queue."""

    broker = "sqlite"


class RabbitTwoTests(_Two, test_crash.CrashTests):
    """RabbitMQ."""

    broker = "rabbit"


class RabbitFaultTwoTests(_Two, test_crash.RabbitFaultTests):
    """A RabbitMQ that goes away."""
