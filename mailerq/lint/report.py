"""Findings as people and programs read them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence

from mailerq.lint.rule import Finding, Severity


def lines(name: str, found: Sequence[Finding]) -> Iterator[str]:
    """Each finding with its place, who says so and what to do; then how many there are."""
    for finding in found:
        place = f"{name}:{finding.line}" if finding.line else name
        yield f"{place}: {finding.severity}: {_shown(finding.what)} [{finding.rule}]"
        yield f"    why: {finding.why}"
        yield f"    fix: {finding.fix}"
    yield summary(name, found)


def summary(name: str, found: Sequence[Finding]) -> str:
    """How many there are."""
    counts = Counter(finding.severity for finding in found)
    parts = [f"{counts[one]} {one}{'s' * (counts[one] != 1)}" for one in Severity if counts[one]]
    return f"{name}: {', '.join(parts) or 'nothing found'}"


def as_json(found: Sequence[Finding]) -> str:
    """A list of objects."""
    names = Finding.__struct_fields__
    return json.dumps(
        [{name: getattr(finding, name) for name in names} for finding in found], ensure_ascii=False, indent=1
    )


def _shown(text: str) -> str:
    """Never a control character: what is in a message must not reach the terminal."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)
