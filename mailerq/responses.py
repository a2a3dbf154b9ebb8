"""What the answers of hosts mean and lead to: the user's rules for replies, and the table that comes with the program.

Never does anything; ``verdict.py`` decides about the job, the scheduler about the site.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import translate

import msgspec

from mailerq.attempt import Outcome, Type
from mailerq.hints import retry_hint
from mailerq.patterns import LONGEST, Test, tests_of
from mailerq.response_rules import ResponseRule, fits_code, fits_status

_KEPT = 4096  # kinds of outcomes (code, enhanced code, type, state) whose rules are remembered


class Reaction(msgspec.Struct, frozen=True):
    """What an outcome leads to. ``rule`` is its name, ``line`` that of the configuration (0: built in).

    ``bounce_class`` is empty for a success. ``fail``: final or not, whatever the code. ``retry_in``: the delay before
    the next attempt, ``hint``: the one that the host asked for; all times are seconds. ``pause``, and ``slow`` (keys as
    in ``limits``) for ``slow_for``, are for the site, or where ``pause_scope`` is ``address`` for the local address
    there. ``fewer``: fewer connections. ``sticky``: come again from the same local address. ``set``: properties for
    the result, as JSON."""

    rule: str = ""
    line: int = 0
    bounce_class: str = ""
    fail: bool | None = None
    retry_in: float | None = None
    hint: float | None = None
    pause: float | None = None
    pause_scope: str = "address"
    slow: Mapping[str, float] | None = None
    slow_for: float = 0.0
    fewer: bool = False
    sticky: bool = False
    set: Mapping[str, bytes] = {}


SUCCESS = Reaction()
_UNKNOWN = Reaction(bounce_class="other")


class _Case:
    """A rule, ready to be looked at: for whom it is, and its reaction where that is the whole of it."""

    __slots__ = ("always", "domains", "ips", "mx", "reaction", "rule", "tests", "whose")

    def __init__(self, rule: ResponseRule) -> None:
        self.rule = rule
        self.tests = tests_of(rule.texts) if rule.texts else [("", None)]
        self.domains, self.mx, self.ips = _names(rule.domains), _names(rule.mx), _names(rule.ips)
        self.whose = not (self.domains is self.mx is self.ips is None)
        self.always = not rule.texts and not self.whose
        self.reaction = _merged((rule,)) if rule.bounce_class and not rule.proceed else None

    def is_for(self, domain: str, mx: str | None, source: str | None) -> bool:
        """Whether it is for this domain, MX host and local address."""
        return (
            (self.domains is None or self.domains.match(domain) is not None)
            and (self.mx is None or (mx is not None and self.mx.match(mx) is not None))
            and (self.ips is None or (source is not None and self.ips.match(source) is not None))
        )


_Looked = tuple[str, Test | None, _Case]  # a literal that must be in the text, what is seen then, and whose it is


def _names(patterns: Sequence[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(map(translate, patterns))) if patterns else None


class Responses:
    """All rules: those of the user, and behind them the table that comes with the program (``shipped`` None)."""

    def __init__(self, rules: Sequence[ResponseRule] = (), shipped: Sequence[ResponseRule] | None = None) -> None:
        if shipped is None:
            from mailerq.shipped_rules import shipped_rules

            shipped = shipped_rules()
        self.rules = (*rules, *shipped)
        self._cases = tuple(map(_Case, self.rules))
        self._codes: dict[int | None, list[_Case]] = {}
        self._kinds: dict[tuple[int | None, str | None, str, str | None], list[_Looked]] = {}

    def reaction(self, outcome: Outcome, domain: str, mx: str | None, source: str | None) -> Reaction:
        """What an outcome at a host (``mx``) of a domain, spoken to from ``source``, leads to. Never raises."""
        if outcome.type is Type.SUCCESS:
            return SUCCESS
        try:
            found = self._reaction(outcome, domain, mx, source)
            code = outcome.code
            if (code is not None and 400 <= code <= 499) or found.fail is False:
                hint = retry_hint(outcome.description)
                if hint is not None:
                    found = msgspec.structs.replace(found, hint=hint)
            if code == 421 and outcome.type is Type.NOACCESS and not found.fewer:  # whatever else a rule makes of it
                found = msgspec.structs.replace(found, fewer=True)
            return found
        except (RecursionError, MemoryError):  # a regular expression and a text that do not go together
            return _UNKNOWN

    def _reaction(self, outcome: Outcome, domain: str, mx: str | None, source: str | None) -> Reaction:
        fitting = self._fitting(outcome, domain, mx, source)
        first = next(fitting, None)
        if first is None:
            return _UNKNOWN
        if first.reaction is not None:
            return first.reaction
        fired, rest = _until_it_ends(first, fitting)
        classes = (case.rule.bounce_class for case in (*fired, *rest))
        reaction = _merged([case.rule for case in fired])
        bounce_class = next(filter(None, classes), _UNKNOWN.bounce_class)
        return msgspec.structs.replace(reaction, bounce_class=bounce_class)

    def fired(self, outcome: Outcome, domain: str, mx: str | None, source: str | None) -> list[ResponseRule]:
        """The rules that fire, in order: one, or more where a rule says ``continue``."""
        if outcome.type is Type.SUCCESS:
            return []
        fitting = self._fitting(outcome, domain, mx, source)
        first = next(fitting, None)
        return [] if first is None else [case.rule for case in _until_it_ends(first, fitting)[0]]

    def _fitting(self, outcome: Outcome, domain: str, mx: str | None, source: str | None) -> Iterator[_Case]:
        kind = (outcome.code, outcome.status, outcome.type, outcome.state)
        looked = self._kinds.get(kind)
        if looked is None:
            if len(self._kinds) >= _KEPT:  # hosts may send any status
                self._kinds.clear()
            looked = self._kinds[kind] = [(*test, case) for case in self._of_kind(outcome) for test in case.tests]
        text = outcome.description[:LONGEST]
        lower = text.lower()
        last = None
        for literal, test, case in looked:
            if (
                literal in lower
                and case is not last
                and (test is None or test(text, lower))
                and (not case.whose or case.is_for(domain, mx, source))
            ):
                last = case
                yield case

    def _of_kind(self, outcome: Outcome) -> list[_Case]:
        cases = self._codes.get(outcome.code)
        if cases is None:
            cases = [case for case in self._cases if fits_code(case.rule, outcome.code)]
            self._codes[outcome.code] = cases  # of three digits: there are not many
        found = []
        for case in cases:
            rule = case.rule
            if (
                (not rule.types or outcome.type in rule.types)
                and (not rule.states or outcome.state in rule.states)
                and fits_status(rule, outcome.status)
            ):
                found.append(case)
                if case.always and rule.bounce_class and not rule.proceed:
                    break  # none behind it is ever reached
        return found


def _until_it_ends(first: _Case, rest: Iterable[_Case]) -> tuple[list[_Case], Iterator[_Case]]:
    """The cases that fire, and those that would have."""
    fired, more = [first], iter(rest)
    while fired[-1].rule.proceed:
        following = next(more, None)
        if following is None:
            break
        fired.append(following)
    return fired, more


def _merged(rules: Sequence[ResponseRule]) -> Reaction:
    """What rules lead to together: of each thing, what the first says that says anything."""
    pausing = next((rule for rule in rules if rule.pause or rule.slow), rules[0])
    slowing = next((rule for rule in rules if rule.slow), None)
    settling = next((rule for rule in rules if rule.fail is not None or rule.retry_in is not None), rules[0])
    properties: dict[str, bytes] = {}
    for rule in rules:
        for name, value in rule.set.items():
            properties.setdefault(name, value)
    return Reaction(
        rules[0].title,
        0 if rules[0].shipped else rules[0].line,
        bounce_class=next((rule.bounce_class for rule in rules if rule.bounce_class), ""),
        fail=settling.fail,
        retry_in=settling.retry_in,
        pause=next((rule.pause for rule in rules if rule.pause), None),
        pause_scope=pausing.scope,
        slow=slowing.slow if slowing else None,
        slow_for=slowing.slow_for if slowing else 0.0,
        fewer=any(rule.fewer for rule in rules),
        sticky=any(rule.sticky for rule in rules),
        set=properties,
    )
