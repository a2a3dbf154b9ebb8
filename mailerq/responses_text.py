"""Rules for answers in words: what one is for, what follows from it, and which one an answer fires."""

from __future__ import annotations

from collections.abc import Sequence

from mailerq.attempt import Outcome, Type, utc
from mailerq.job import Job, read
from mailerq.response_rules import ResponseRule
from mailerq.responses import Reaction, Responses
from mailerq.verdict import Delivered, Policy, Retry, decide

_FRESH = b'{"recipient":"somebody@somewhere.example","mime":"-"}'


def explained(
    responses: Responses,
    outcome: Outcome,
    whose: tuple[str, str | None, str | None],
    policy: Policy,
    now: float,
    *,
    source: str = "the configuration",
) -> list[str]:
    """Lines about what an outcome leads to, for a job that has not been tried before. ``whose``: domain, MX host, local
    address; ``source``: what the user's rules were read from."""
    if outcome.type is Type.SUCCESS:
        return ["no rule: the mail was delivered"]
    fired = responses.fired(outcome, *whose)
    reaction = responses.reaction(outcome, *whose)
    lines = []
    for number, rule in enumerate(fired):
        lines.append(f"{'then: ' if number else 'rule: '}  {rule.title} ({where(rule, source)})")
        lines.append(f"  for:   {conditions(rule)}")
        lines += [f"  as in: {example}" for example in rule.examples[:1]]
    if not fired:
        lines.append("rule:   none fits")
    lines.append(f"class:  {reaction.bounce_class}")
    lines.append(f"job:    {_fate(outcome, reaction, policy, now)}")
    return lines + [f"site:   {what}" for what in consequences(reaction)]


def where(rule: ResponseRule, source: str) -> str:
    """Where a rule stands."""
    return f"shipped, responses.yaml:{rule.line}" if rule.shipped else f"{source}:{rule.line}"


def conditions(rule: ResponseRule) -> str:
    """What a rule is for."""
    given = (
        ("code", rule.codes),
        ("status", [status.replace("[245]", "x") for status in rule.statuses]),
        ("text", [repr(text) for text in rule.texts]),
        ("state", rule.states),
        ("type", rule.types),
        ("domain", rule.domains),
        ("mx", rule.mx),
        ("ip", rule.ips),
    )
    return ", ".join(f"{name} {_any(values)}" for name, values in given if values)


def _any(values: Sequence[str]) -> str:
    return " or ".join(values)


def actions(rule: ResponseRule) -> str:
    """What a rule does, short."""
    found = [rule.bounce_class] if rule.bounce_class else []
    if rule.fail is not None:
        found.append("final" if rule.fail else "not final")
    if rule.retry_in is not None:
        found.append(f"retry in {duration(rule.retry_in)}")
    scope = "site" if rule.scope == "site" else "this address"
    if rule.pause:
        found.append(f"pause {scope} {duration(rule.pause)}")
    if rule.slow:
        found.append(f"slow {scope} for {duration(rule.slow_for)} ({_limits(rule.slow)})")
    found += ["fewer connections"] * rule.fewer + ["same address"] * rule.sticky
    found += [f"set {name}" for name in rule.set] + ["go on"] * rule.proceed
    return ", ".join(found)


def consequences(reaction: Reaction) -> list[str]:
    """What a reaction does to its site, and to the result."""
    whom = "this local address at this site" if reaction.pause_scope == "address" else "the whole site"
    found = []
    if reaction.pause:
        found.append(f"{whom} is paused for {duration(reaction.pause)}")
    if reaction.slow:
        found.append(f"{whom} is slowed for {duration(reaction.slow_for)}: {_limits(reaction.slow)}")
    if reaction.fewer:
        found.append("fewer connections, then gradually more")
    if reaction.sticky:
        found.append("the next attempt leaves from the same local address")
    found += [f"the result gets {name}: {value.decode()}" for name, value in reaction.set.items()]
    return found


def _limits(values: object) -> str:
    items = values.items() if isinstance(values, dict) else ()
    return ", ".join(f"{name.replace('_', '-')} {number:g}" for name, number in items)


def _fate(outcome: Outcome, reaction: Reaction, policy: Policy, now: float) -> str:
    job = read(_FRESH)
    assert isinstance(job, Job)
    job.attempts = 1
    verdict = decide(job, outcome, policy, now, reaction=reaction)
    if isinstance(verdict, Retry):
        text = f"tried again in {duration(verdict.at - now)}, at {utc(verdict.at)} (a fresh job)"
        if reaction.hint is not None:
            text += f"; the host asks for {duration(reaction.hint)}"
        return text
    if isinstance(verdict, Delivered):
        return "delivered"
    return "final, it is not tried again" if outcome.type is not Type.IDLE else "goes at once over another connection"


def duration(seconds: float) -> str:
    """A time as the configuration writes it: ``90s``, ``10m``, ``1h``, ``1h30m``."""
    whole = round(seconds)
    if whole < 60 or whole % 60:
        return f"{whole}s" if whole < 600 else f"{whole // 60}m{whole % 60}s"
    hours, minutes = divmod(whole // 60, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if minutes or not hours else "")
