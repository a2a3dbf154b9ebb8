"""Which message store, and how bodies are kept: the section ``store`` of the configuration."""

from __future__ import annotations

import attrs

from mailerq.shapes import key, keys_of, scalar, secret, section, time, word, wrong
from mailerq.stores.remote import problem_of
from mailerq.yaml_source import Node, Problem, Table, Wrong, suggestion

KINDS = ("memory", "directory", "sqlite", "postgresql", "mongodb", "s3")


@attrs.frozen
class Store:
    """``kind`` is one of ``KINDS``; ``address`` is as it was given, and may have a password in it. ``policy``: which
    bodies are stored; ``delete``: which are removed after the final result; ``ttl``: seconds beyond the end of a mail's
    time; ``retry``: seconds after which a store that cannot be used is asked again; ``compress``: how bodies are
    stored; ``timeout``: seconds that the store has for an answer."""

    address: str = attrs.field(repr=False, metadata={"read": secret, "null": False})
    policy: str = key("out", word("out", "all", "none"))
    delete: str = key("all", word("all", "own", "none"))
    ttl: float = key(7 * 86400.0, time())
    retry: float = key(120.0, time())
    compress: str = key("none", word("none", "gzip"))
    timeout: float = key(20.0, time())

    @property
    def kind(self) -> str:
        """What the address begins with."""
        return self.address.partition(":")[0]


KEYS = tuple(keys_of(Store))


def read_store(node: Node) -> Store:
    """A store, from an address or a mapping with ``address``."""
    store: Store = section(Store)(node) if isinstance(node, Table) else Store(secret(scalar(node)))
    problem = problem_of_local(store.address) or problem_of(store.address)
    if problem is None:
        return store
    if isinstance(node, Table):
        raise Wrong([Problem(node.entries["address"].mark, "address", problem)])
    raise wrong(node, problem)


def problem_of_local(address: str) -> str | None:
    """What is wrong with the address of no store that there is, or of one on this machine; None: nothing. The text has
    no password in it."""
    kind, colon, path = address.partition(":")
    if kind not in KINDS or not colon:
        meant = suggestion(kind, KINDS[1:]) if len(kind) <= 12 else ""
        return f"is no message store{meant}: there are {', '.join(f'{one}:…' for one in KINDS[1:])}"
    if kind not in ("directory", "sqlite"):
        return None
    example = f"{kind}:var/bodies{'.db' if kind == 'sqlite' else ''}"
    if not path:
        return f"needs a path, as in {example}"
    if not path.isprintable() or path != path.strip():
        return f"has a path with spaces around it, or a character that cannot be printed: {example}"
    if path.startswith("//"):
        return f"has a path that begins with //: it stands directly behind the colon, as in {example}"
    if path.startswith("~"):
        return "has a path that begins with ~, which is not replaced: write the whole path"
    if path.endswith("/") and kind == "sqlite":
        return f"needs a file, as in {example}"
    return None
