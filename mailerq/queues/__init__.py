"""Queues: where jobs come from and results go. Which kind is used stands in the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from random import Random

    from mailerq.interfaces import IBroker


def make_broker(reactor: Any, settings: Any, random: Random) -> IBroker:
    """The broker that ``settings.broker`` names, not started. ``random`` spreads the attempts to reconnect.

    Only the module of the kind in use is imported.
    """
    if settings.broker.kind == "sqlite":
        from mailerq.queues.sqlite import SqliteBroker

        return SqliteBroker(reactor, settings)
    from mailerq.queues.amqp import AmqpBroker

    broker: IBroker = AmqpBroker(reactor, settings, random)
    return broker


def configured(queues: Any) -> list[str]:
    """The queues of the settings that are on, each once, in the order in which they are shown."""
    kinds = ("outbox", "inbox", "dsn", "results", "success", "failure", "retry", "invalid")
    return list(dict.fromkeys(name for kind in kinds if (name := getattr(queues, kind, None))))
