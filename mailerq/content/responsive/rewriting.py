"""Rules that put parameters into the links of a message (``rewrite``). Pure."""

from __future__ import annotations

import math
import re
from fnmatch import translate
from typing import Annotated, Any
from urllib.parse import urlsplit

from msgspec import Struct

from mailerq.content.responsive.kinds import Flag, Pairs, Text, one_of, parameters, text
from mailerq.content.responsive.reading import Reader, Reading, object_of, read, shown
from mailerq.content.responsive.tags import has_tag
from mailerq.content.responsive.urls import LONGEST, with_params
from mailerq.regex_cost import steps

MOST_RULES = 50
LONGEST_SEARCHED = 1000
"""Characters of an address that regular expressions are searched in; to longer ones they do not apply."""
MOST_STEPS = 1e9
"""Of all rules in all links of a message: about ten seconds at the worst."""
_MOST_EACH = 1e7  # of one expression in one address
_A_RULE = 1000.0  # what it takes to look at a rule at all
_WEB = ("http://", "https://")
_HREF = re.compile(r"(<a\s(?:[^<>]*?\s)?href\s*=\s*)(?:\"([^\"<>]*)\"|'([^'<>]*)')", re.IGNORECASE)


class TooMuch(Exception):
    """The rules are too many, or too slow, for so many links."""


class Expression(Struct, frozen=True):
    """A regular expression, and how many steps it may take in the longest address."""

    pattern: re.Pattern[str]
    cost: float


class Budget:
    """How many steps the rules of a message may still take."""

    def __init__(self) -> None:
        self.left = MOST_STEPS

    def spend(self, steps: float) -> None:
        """Raises TooMuch."""
        self.left -= steps
        if self.left < 0:
            raise TooMuch


def _expression(value: Any, place: str, reading: Reading) -> Expression | None:
    found = text(value, place, reading)
    if found is None:
        return None
    try:
        cost = steps(found, LONGEST_SEARCHED) if len(found) <= 500 else math.inf
        if cost > _MOST_EACH:
            reading.fault(place, "may take too long on a long address")
            return None
        return Expression(re.compile(found, re.IGNORECASE), cost)
    except (re.error, OverflowError, RecursionError):
        reading.fault(place, f"{shown(found)} is no regular expression")
        return None


def _wildcard(value: Any, place: str, reading: Reading) -> re.Pattern[str] | None:
    found = text(value, place, reading)
    if found is not None and found.count("*") > 5:
        reading.fault(place, "has more than five *")
        return None
    return None if found is None else re.compile(translate(found), re.IGNORECASE)


class Component(Struct, frozen=True):
    """How a part of an address has to be: all that is said has to hold."""

    equals: Text = ""
    contains: Text = ""
    match: Annotated[re.Pattern[str] | None, Reader(_wildcard)] = None
    regex: Annotated[Expression | None, Reader(_expression)] = None

    def holds(self, part: str, budget: Budget) -> bool:
        """Whether ``part`` is so. Raises TooMuch."""
        return (
            (not self.equals or self.equals == part)
            and (not self.contains or self.contains in part)
            and (self.match is None or self.match.match(part) is not None)
            and (self.regex is None or _found(self.regex, part, budget))
        )


def _found(expression: Expression, part: str, budget: Budget) -> bool:
    if len(part) > LONGEST_SEARCHED:
        return False
    budget.spend(expression.cost * (len(part) / LONGEST_SEARCHED) ** 2)
    return expression.pattern.search(part) is not None


_Component = Annotated[Component | None, object_of(Component)]


class Rule(Struct, frozen=True):
    """One rule. ``last``: after it, no other; ``unique``: only where no other did."""

    domain: _Component = None
    path: _Component = None
    url: _Component = None
    params: Annotated[Pairs, Reader(parameters)] = ()
    protocol: Annotated[str, Reader(one_of("http", "https"))] = ""
    last: Flag = False
    unique: Flag = False
    regex: Annotated[Expression | None, Reader(_expression)] = None

    def holds(self, url: str, budget: Budget) -> bool:
        """Whether it is a rule for ``url``. Raises TooMuch."""
        budget.spend(_A_RULE)
        try:
            split = urlsplit(url)
            domain = split.hostname or ""
        except ValueError:
            return False
        parts = ((self.domain, domain), (self.path, split.path), (self.url, url))
        if not all(said is None or said.holds(part, budget) for said, part in parts):
            return False
        return self.regex is None or _found(self.regex, url, budget)


Rules = tuple[Rule, ...]


def rewrite(value: Any, place: str, reading: Reading) -> Rules | None:
    """The rules in ``links``."""
    links = value.get("links") if isinstance(value, dict) else value
    if not isinstance(value, dict):
        reading.expected(place, "an object", value)
        return None
    if links is None:
        return ()
    if not isinstance(links, list) or len(links) > MOST_RULES:
        reading.expected(f"{place}.links", f"an array of at most {MOST_RULES} rules", links)
        return None
    return tuple(read(Rule, rule, f"{place}.links[{number}]", reading) for number, rule in enumerate(links))


RewriteOr = Annotated[Rules, Reader(rewrite)]


def rewritten(url: str, rules: Rules, budget: Budget) -> str:
    """``url`` as the rules want it. What is no address of the web, or begins with a tag, stays. Raises TooMuch."""
    if not rules or not url.lower().startswith(_WEB) or len(url) > LONGEST:
        return url
    some = False
    for rule in rules:
        if (rule.unique and some) or not rule.holds(url, budget):
            continue
        some = True
        budget.spend(_A_RULE * len(rule.params))
        url = with_params(url, rule.params)
        if len(url) > LONGEST:
            break
        if rule.protocol:
            url = f"{rule.protocol}://{url.partition('://')[2]}"
        if rule.last:
            break
    return url


def rewritten_html(source: str, rules: Rules, budget: Budget) -> str:
    """HTML whose links are as the rules want them. Raises TooMuch."""
    if not rules:
        return source

    def change(found: re.Match[str]) -> str:
        url = (found[2] or found[3] or "").replace("&amp;", "&")
        changed = rewritten(url, rules, budget)
        if changed == url or (has_tag(changed) and '"' in changed):
            return found[0]
        return f'{found[1]}"{changed.replace("&", "&amp;").replace(chr(34), "&quot;")}"'

    return _HREF.sub(change, source)
