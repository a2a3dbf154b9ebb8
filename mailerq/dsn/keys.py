"""The section ``dsn`` of the configuration: what holds for jobs that say nothing, and from whom bounces are."""

from __future__ import annotations

import re

import attrs

from mailerq.dsn.words import HDRS, NOTHING, read_notify, read_ret
from mailerq.shapes import key, text, time, wrong
from mailerq.yaml_source import Items, Node, quoted

_AUTHOR = re.compile(r"(?:[^<>\"\\]*<)?[!#-'*+\--9=?A-Z^-~]+@[A-Za-z0-9.-]+>?")


def _notify(node: Node) -> tuple[str, ...]:
    words = [text(one) for one in node.nodes] if isinstance(node, Items) else text(node)
    try:
        found = read_notify("", words)
    except ValueError as error:
        raise wrong(node, str(error).removeprefix(": ")) from None
    if not found:
        raise wrong(node, "must not be empty: write never")
    return found


def _ret(node: Node) -> str:
    try:
        return read_ret("", text(node))
    except ValueError as error:
        raise wrong(node, str(error).removeprefix(": ")) from None


def _mta(node: Node) -> str:
    name = text(node)
    if not re.fullmatch(r"[!-~]{1,255}", name):
        raise wrong(node, f"{quoted(name)} is no host name")
    return name


def _author(node: Node) -> str:
    given = text(node)
    if len(given) > 320 or not _AUTHOR.fullmatch(given) or ("<" in given) != (">" in given):
        raise wrong(node, f"{quoted(given)} is no author: Mail Delivery <mailer-daemon@example.org>, or an address")
    return given


@attrs.frozen
class DsnRules:
    """``notify`` and ``ret`` for jobs that do not say; ``mta`` None: ``smtp.hostname``; ``from_`` None: the mailer
    daemon there. ``delay_after``: seconds after which the sender of a late mail is told."""

    notify: tuple[str, ...] = key(NOTHING, _notify)
    ret: str = key(HDRS, _ret)
    mta: str | None = key(None, _mta, null=True)
    from_: str | None = key(None, _author, null=True)
    delay_after: float = key(3600.0, time())
