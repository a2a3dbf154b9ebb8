"""Which header fields mail of mailing lists gets, and whose mail: the section ``list-headers`` of the configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import attrs

from mailerq.content import members
from mailerq.content.members import Member, Pieces, Value
from mailerq.shapes import each_entry, items, switch, text, wrong
from mailerq.yaml_source import Entry, Node, Problem, Table, Wrong, is_null, quoted

UNSUBSCRIBE, POST = "List-Unsubscribe", "List-Unsubscribe-Post"
ONE_CLICK = "List-Unsubscribe=One-Click"
URLS = (UNSUBSCRIBE, "List-Help", "List-Subscribe", "List-Post", "List-Owner", "List-Archive")  # RFC 2369
TEXTS = (POST, "List-Id", "Feedback-ID", "Precedence", "X-CSA-Complaints", "CFBL-Address")
SCOPES = ("domain", "tag")
KEYS = (*SCOPES, "replace", *URLS, *TEXTS)
_ITEMS = re.compile(r"\s*<([^<>]*)>\s*(?:,|$)")
_SCHEMES = ("https://", "http://", "mailto:")


@attrs.frozen
class Text:
    """One text with members; ``url``: it stands in angle brackets, and values are encoded for a URL (RFC 3986)."""

    text: str
    url: bool
    pieces: Pieces = attrs.field(eq=False, repr=False)

    def written(self, value: Value) -> str | None:
        """With the values of the members, which can never be more than one line of printable ASCII; None where one is
        missing."""
        out = []
        for piece in self.pieces:
            found = piece if isinstance(piece, str) else value(piece.name)
            if found is None:
                return None
            out.append(self._encoded(found) if isinstance(piece, Member) else found)
        return f"<{''.join(out)}>" if self.url else "".join(out)

    def _encoded(self, value: str) -> str:
        return quote(value.encode("utf-8", "surrogatepass"), safe="" if self.url else " @+=/")


Content = tuple[Text, ...] | None
"""The value of a field: texts that are joined with commas; None: no such field."""


@attrs.frozen
class ListHeaderRule:
    """One entry: for which domains in From and which tags (patterns of the shell; None: all), and the fields.
    ``replace``: also where the message has such a field."""

    domain: str | None = None
    tag: str | None = None
    replace: bool = False
    fields: Mapping[str, Content] = attrs.field(factory=dict)


def list_header_rule(node: Node) -> ListHeaderRule:
    """One entry of ``list-headers``."""
    if not isinstance(node, Table):
        raise wrong(node, 'must be a mapping, as in {domain: "*", List-Id: "<news.example.org>"}')
    rule: dict[str, Any] = {}
    fields: dict[str, Content] = {}
    given = Table(node.mark, {_spelled(name): entry for name, entry in node.entries.items()})

    def read(name: str, entry: Entry) -> None:
        if name in SCOPES:
            rule[name] = text(entry.node).lower().rstrip(".") if name == "domain" else text(entry.node)
        elif name == "replace":
            rule[name] = switch(entry.node)
        else:
            fields[name] = _content(name, entry.node)

    off = [name for name, entry in given.entries.items() if name in (*URLS, *TEXTS) and is_null(entry.node)]
    fields.update(dict.fromkeys(off))
    rest = Table(node.mark, {name: entry for name, entry in given.entries.items() if name not in off})
    problems = each_entry(rest, KEYS, read, "cannot be null")
    if not problems:
        problems = _crossed(given, fields)
    if problems:
        raise Wrong(problems)
    return ListHeaderRule(**rule, fields=fields)


def _spelled(name: str) -> str:
    """A key as we spell it: the names of header fields are the same in any case."""
    return next((known for known in KEYS if known.lower() == name.lower()), name)


def _crossed(node: Table, fields: Mapping[str, Content]) -> list[Problem]:
    if not any(scope in node.entries for scope in SCOPES):
        return [Problem(node.mark, "", 'must say for whom it is: domain or tag (all: domain: "*")')]
    if not fields:
        return [Problem(node.mark, "", "has no field, such as List-Unsubscribe")]
    ours = fields.get(UNSUBSCRIBE, ())
    if fields.get(POST) and UNSUBSCRIBE in fields and not any(text.text.startswith("https:") for text in ours or ()):
        what = f"needs an https:// address in {UNSUBSCRIBE} (RFC 8058 section 3.1)"
        return [Problem(node.entries[POST].mark, POST, what)]
    return []


def _content(name: str, node: Node) -> tuple[Text, ...]:
    if name in URLS:
        return tuple(found for some in items(_urls, single=True)(node) for found in some)
    given = text(node)
    if name == POST and given != ONE_CLICK:
        raise wrong(node, f"can only be {ONE_CLICK} (RFC 8058 section 3.1)")
    if name == "List-Id" and not given.endswith(">"):
        given = f"<{given}>"  # RFC 2919 section 3
    return (_parse(node, given, False),)


def _urls(node: Node) -> tuple[Text, ...]:
    """URLs in angle brackets with commas between them, or one without."""
    given = text(node)
    if given == "NO":  # RFC 2369 section 3.4: nobody can post
        return (_parse(node, given, False),)
    if not given.startswith("<"):
        given = f"<{given}>"
    found, at = [], 0
    while at < len(given):
        item = _ITEMS.match(given, at)
        if item is None:
            raise wrong(node, f"{quoted(given)} is no list of addresses such as <https://…>, <mailto:…>")
        found.append(_parse(node, item[1].strip(), True))
        at = item.end()
    return tuple(found)


def _parse(node: Node, given: str, url: bool) -> Text:
    try:
        pieces = members.parse(given)
    except ValueError as error:
        raise wrong(node, f"{quoted(given)} {error}") from None
    if not given.isascii():
        raise wrong(node, f"{quoted(given)} is not ASCII (in a URL it is written with %, in a text as RFC 2047 says)")
    if len(given) > 900:
        raise wrong(node, "is too long: a line of a message has at most 998 characters")
    if url and (not given.lower().startswith(_SCHEMES) or not isinstance(pieces[0], str) or " " in given):
        raise wrong(node, f"{quoted(given)} is no address such as https://… or mailto:…")
    return Text(given, url, pieces)
