"""Rules that put parameters into the links of a message (``rewrite``). Pure."""

from __future__ import annotations

import re
from fnmatch import translate
from typing import Annotated, Any
from urllib.parse import urlsplit

from msgspec import Struct

from mailerq.content.responsive.kinds import Flag, Pairs, Text, one_of, parameters, text
from mailerq.content.responsive.reading import Reader, Reading, object_of, read, shown
from mailerq.content.responsive.tags import has_tag
from mailerq.content.responsive.urls import LONGEST, with_params
from mailerq.regex_cost import MOST, steps

MOST_RULES = 50
_WEB = ("http://", "https://")
_HREF = re.compile(r"(<a\s(?:[^<>]*?\s)?href\s*=\s*)(?:\"([^\"<>]*)\"|'([^'<>]*)')", re.IGNORECASE)


def _expression(value: Any, place: str, reading: Reading) -> re.Pattern[str] | None:
    found = text(value, place, reading)
    if found is None:
        return None
    try:
        if len(found) > 500 or steps(found, LONGEST) > MOST:
            reading.fault(place, "may take too long on a long address")
            return None
        return re.compile(found, re.IGNORECASE)
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
    regex: Annotated[re.Pattern[str] | None, Reader(_expression)] = None

    def holds(self, part: str) -> bool:
        """Whether ``part`` is so."""
        return (
            (not self.equals or self.equals == part)
            and (not self.contains or self.contains in part)
            and (self.match is None or self.match.match(part) is not None)
            and (self.regex is None or self.regex.search(part) is not None)
        )


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
    regex: Annotated[re.Pattern[str] | None, Reader(_expression)] = None

    def holds(self, url: str) -> bool:
        """Whether it is a rule for ``url``."""
        try:
            split = urlsplit(url)
            domain = split.hostname or ""
        except ValueError:
            return False
        parts = ((self.domain, domain), (self.path, split.path), (self.url, url))
        return all(said is None or said.holds(part) for said, part in parts) and (
            self.regex is None or self.regex.search(url) is not None
        )


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


def rewritten(url: str, rules: Rules) -> str:
    """``url`` as the rules want it. What is no address of the web, or begins with a tag, stays."""
    if not rules or not url.lower().startswith(_WEB) or len(url) > LONGEST:
        return url
    some = False
    for rule in rules:
        if (rule.unique and some) or not rule.holds(url):
            continue
        some = True
        url = with_params(url, rule.params)
        if rule.protocol:
            url = f"{rule.protocol}://{url.partition('://')[2]}"
        if rule.last:
            break
    return url


def rewritten_html(source: str, rules: Rules) -> str:
    """HTML whose links are as the rules want them."""
    if not rules:
        return source

    def change(found: re.Match[str]) -> str:
        url = (found[2] or found[3] or "").replace("&amp;", "&")
        changed = rewritten(url, rules)
        if changed == url or (has_tag(changed) and '"' in changed):
            return found[0]
        return f'{found[1]}"{changed.replace("&", "&amp;").replace(chr(34), "&quot;")}"'

    return _HREF.sub(change, source)
