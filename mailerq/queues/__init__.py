"""Queues: where jobs come from and results go. Which kind is used stands in the configuration."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from mailerq.queues.sqlite_lock import Group, started

if TYPE_CHECKING:
    from random import Random

    from mailerq.interfaces import IBroker
    from mailerq.worker import Worker


def make_broker(reactor: Any, settings: Any, random: Random, worker: Worker | None = None) -> IBroker:
    """The broker that ``settings.broker`` names, not started. ``random`` spreads the attempts to reconnect. ``worker``:
    which of several engines on this machine it is for.

    Only the module of the kind in use is imported.
    """
    if settings.broker.kind == "sqlite":
        from mailerq.queues.sqlite import SqliteBroker

        return SqliteBroker(reactor, settings, group=_group(worker, settings))
    from mailerq.queues.amqp import AmqpBroker

    broker: IBroker = AmqpBroker(reactor, settings, random)
    return broker


def _group(worker: Worker | None, settings: Any) -> Group | None:
    """Workers are one group where they have the same parent and the same journals."""
    if worker is None or worker.alone:
        return None
    parent = os.getppid()
    name = f"{parent} {started(parent)} {os.path.abspath(settings.journal)!r}"
    return Group(name, worker.index + 1, worker.count)


def configured(queues: Any) -> list[str]:
    """The queues of the settings that are on, each once, in the order in which they are shown."""
    kinds = ("outbox", "inbox", "dsn", "results", "success", "failure", "retry", "invalid")
    return list(dict.fromkeys(name for kind in kinds if (name := getattr(queues, kind, None))))
