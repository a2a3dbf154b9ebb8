"""All rules, and what they find."""

from __future__ import annotations

from mailerq.lint import authentication, headers, html, lines, lists, mime
from mailerq.lint.message import Message
from mailerq.lint.rule import Finding, Rule, Severity

RULES: tuple[Rule, ...] = (
    *headers.RULES,
    *lines.RULES,
    *mime.RULES,
    *html.RULES,
    *lists.RULES,
    *authentication.RULES,
)
MOST = 20
"""Findings of one rule: more of the same say nothing."""


def lint(message: Message) -> list[Finding]:
    """All that is wrong with a message: the worst first, then by lines. Never raises, whatever the message is."""
    found: list[Finding] = []
    for rule in RULES:
        severity = Severity.ERROR if rule.bulk and message.bulk else rule.severity
        for number, (line, what) in enumerate(rule.look(message)):
            if number == MOST:
                break
            found.append(Finding(severity, rule.name, line, what, rule.why, rule.fix))
    return ordered(found)


def ordered(found: list[Finding]) -> list[Finding]:
    """The worst first, then by lines."""
    order = list(Severity)
    return sorted(found, key=lambda finding: (order.index(finding.severity), finding.line))
