"""Where a text has tags of the personalisation (``{$name}``, ``{if}``, ``{* *}``), which a composed message has to
keep as they are. Pure."""

from __future__ import annotations

import re

TAG = re.compile(
    r"\{(?:\$|/?(?:if|elseif|else|foreach|foreachelse|for|while|assign|append|literal|ldelim|rdelim|capture|strip)\b)"
    r"[^{}]{0,500}\}|\{\*[^{}]{0,500}\*\}"
)


def has_tag(text: str) -> bool:
    """Whether what it says is known only when it is personalised."""
    return "{" in text and TAG.search(text) is not None


def pieces(text: str) -> list[tuple[str, bool]]:
    """``text`` in pieces: each with whether it is a tag."""
    found, at = [], 0
    for tag in TAG.finditer(text):
        if tag.start() > at:
            found.append((text[at : tag.start()], False))
        found.append((tag[0], True))
        at = tag.end()
    if at < len(text) or not found:
        found.append((text[at:], False))
    return found
