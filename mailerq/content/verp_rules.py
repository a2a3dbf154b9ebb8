"""Whose mail has a variable return path, and which: the section ``verp`` of the configuration."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import attrs

from mailerq.content import members
from mailerq.content.verp import Verp
from mailerq.shapes import each_entry, items, text, wrong
from mailerq.yaml_source import Entry, Node, Problem, Table, Wrong, is_null

if TYPE_CHECKING:
    from mailerq.job import Job

KEYS = ("domain", "pattern")


@attrs.frozen
class VerpRule:
    """One entry: for senders of which domain (a pattern of the shell, lower case), and which pattern; None: none."""

    domain: str
    verp: Verp | None


def read_verp(node: Node) -> tuple[VerpRule, ...]:
    """A pattern for all, or a list of ``{domain, pattern}``, from general to special: the last that fits holds."""
    return items(_rule, single=True)(node)


def _rule(node: Node) -> VerpRule:
    if not isinstance(node, Table):
        return VerpRule("*", _pattern(node))
    values: dict[str, Any] = {}

    def read(name: str, entry: Entry) -> None:
        values[name] = text(entry.node).lower().rstrip(".") if name == "domain" else _pattern(entry.node)

    if "pattern" in node.entries and is_null(node.entries["pattern"].node):
        values["pattern"] = None
    without = Table(node.mark, {name: entry for name, entry in node.entries.items() if name not in values})
    problems = each_entry(without, KEYS, read, "cannot be null")
    problems += [Problem(node.mark, name, "is missing") for name in KEYS if name not in node.entries]
    if problems:
        raise Wrong(problems)
    return VerpRule(values["domain"], values["pattern"])


def _pattern(node: Node) -> Verp:
    given = text(node)
    try:
        return Verp.parse(given)
    except ValueError as error:
        raise wrong(node, str(error)) from None


class Senders:
    """What stands in MAIL FROM, where it is not what the job says."""

    def __init__(self, rules: Iterable[VerpRule]) -> None:
        from mailerq.limits import pattern

        self._rules = [(pattern(rule.domain), rule.verp) for rule in reversed(tuple(rules))]

    def sender(self, job: Job) -> str:
        """The address for ``job``: its own where no rule fits, and always for the null reverse-path. Raises ValueError
        where the pattern gives none, naming ``verp``."""
        envelope = job.known.envelope
        if not envelope:
            return ""
        domain = envelope.rpartition("@")[2].lower().rstrip(".")
        verp = next((verp for fits, verp in self._rules if fits(domain)), None)
        if verp is None:
            return envelope
        try:
            return verp.address(members.of(job))
        except ValueError as error:
            raise ValueError(f"verp: {error}") from None


def make_senders(rules: tuple[VerpRule, ...]) -> Senders | None:
    """None: nothing is configured."""
    return Senders(rules) if rules else None
