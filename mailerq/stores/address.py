"""Which message store, and how bodies are kept: the section ``store`` of the configuration."""

from __future__ import annotations

import attrs

from mailerq.shapes import key, scalar, secret, section, time, word, wrong
from mailerq.stores.remote import problem_of
from mailerq.yaml_source import Node, Table

KINDS = ("memory", "directory", "sqlite", "postgresql", "mongodb", "s3")


@attrs.frozen
class Store:
    """``kind`` is one of ``KINDS``; ``address`` is as it was given. ``policy``: which bodies are stored; ``delete``:
    which are removed after the final result; ``ttl``: seconds beyond the end of a mail's time; ``retry``: seconds after
    which a store that cannot be used is asked again."""

    address: str = attrs.field(repr=False, metadata={"read": secret, "null": False})
    policy: str = key("out", word("out", "all", "none"))
    delete: str = key("all", word("all", "own", "none"))
    ttl: float = key(7 * 86400.0, time())
    retry: float = key(120.0, time())

    @property
    def kind(self) -> str:
        """What the address begins with."""
        return self.address.partition(":")[0]


def read_store(node: Node) -> Store:
    """A store, from an address or a mapping with ``address``."""
    store: Store = section(Store)(node) if isinstance(node, Table) else Store(secret(scalar(node)))
    if store.kind not in KINDS:
        raise wrong(node, f"is no message store: {', '.join(f'{kind}:…' for kind in KINDS[1:])}")
    problem = problem_of(store.address)
    if problem is not None:
        raise wrong(node, problem)
    return store
