"""The tags of a template, and the words in them. Pure; takes time in proportion to the text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

from msgspec import Struct

from mailerq.content.template_budget import TemplateError

TAG = re.compile(
    r"\{(?:(?P<show>\$(?=[a-z_]))|(?P<open>if|elseif|foreach|assign)(?=[\s\xa0])"
    r"|(?P<alone>else|/if|endif|foreachelse|/foreach|literal|ldelim|rdelim)\})",
    re.IGNORECASE | re.ASCII,
)
_LITERAL = re.compile(r"(\{/?literal\})", re.IGNORECASE | re.ASCII)
_LITERAL_END = re.compile(r"\{/literal\}", re.IGNORECASE | re.ASCII)
_TOKEN = re.compile(
    r"""(?P<blank>[\s\xa0]++)
    |\$(?P<variable>[a-z_][a-z0-9_]*+)
    |(?P<number>[0-9]++(?:\.[0-9]++(?:e[-+]?[0-9]++)?)?)
    |(?P<string>"(?:[^"\\]++|\\"|\\)*+"|'(?:[^'\\]++|\\'|\\)*+')
    |(?P<name>[a-z_][a-z0-9_]*+)
    |(?P<sign>==|!=|<>|>=|<=|=>|=~|&&|\|\||[-+*/%<>!=().,|:\[\]}])""",
    re.IGNORECASE | re.ASCII | re.VERBOSE,
)
_SIGNS = {"<>": "!=", "eq": "==", "ne": "!=", "gt": ">", "gte": ">=", "ge": ">=", "lt": "<", "lte": "<=", "le": "<="}
_SIGNS |= {"&&": "and", "||": "or", "!": "not", "and": "and", "or": "or", "not": "not"}
_LONGEST_NUMBER = 30
_LONGEST_EDITED = 1_000_000
_WINDOW = 100_000
_LONGEST_TAG = 20
_LONGEST = 20_000  # characters from the begin of a tag to its end
_MOST_TOKENS = 2_000


class Token(Struct, frozen=True):
    """One word of a tag. ``kind``: ``variable``, ``number``, ``string`` (without its quotes), ``name``, ``sign``.
    ``text``: what it means (``&&`` is ``and``); ``word``: as it is written."""

    kind: str
    text: str
    line: int
    word: str = ""


class Tag(Struct, frozen=True):
    """A tag, or the text between two of them (``name`` is empty then). ``$`` is the name of what shows something."""

    name: str
    text: str
    tokens: tuple[Token, ...]
    line: int


_IN_HTML = re.compile(r"\{(?:\$[a-z_]|(?:if|elseif|foreach|assign)[\s\xa0&])[^{}]*\}", re.IGNORECASE | re.ASCII)
_ENTITY = re.compile(r"""("[^"]*"|'[^']*')|&(?:amp|lt|gt|quot|apos|nbsp|\#34|\#39|\#160);""")


def without_entities(text: str) -> str:
    """A template that is HTML, with its tags as they were before somebody's editor wrote ``&gt;`` for ``>`` in them.
    Strings in quotes stay as they are; those in ``&quot;`` get quotes. A text of more than a million characters was
    written by no editor."""

    def plain(tag: re.Match[str]) -> str:
        return _ENTITY.sub(lambda found: found[1] or unescape(found[0]), tag[0]) if "&" in tag[0] else tag[0]

    if "&" not in text or len(text) > _LONGEST_EDITED:
        return text
    pieces = _LITERAL.split(text)  # text, {literal}, text, {/literal}, text …
    inside = False
    for number, piece in enumerate(pieces):
        if number % 2:
            inside = "/" not in piece
        elif not inside:
            pieces[number] = _IN_HTML.sub(plain, piece)
    return "".join(pieces)


def has_tags(text: str) -> bool:
    """Whether there is anything to be done in a text."""
    return _next_tag(text, 0) is not None


def _next_tag(text: str, at: int) -> re.Match[str] | None:
    """The first tag from a place on. No other thread can go on while a regular expression is looked for: it is done
    in steps."""
    while at < len(text):
        found = TAG.search(text, at, at + _WINDOW + _LONGEST_TAG)
        if found is not None:
            return found
        at += _WINDOW
    return None


def split(text: str) -> Iterator[Tag]:
    """The texts and tags of a template in order; ``literal``, ``ldelim`` and ``rdelim`` come as texts. Raises
    TemplateError."""
    at, line = 0, 1
    while found := _next_tag(text, at):
        start, end = found.span()
        if start > at:
            yield Tag("", text[at:start], (), line)
            line += text.count("\n", at, start)
        first = line
        alone = (found["alone"] or "").lower()
        if alone == "literal":
            closing = _LITERAL_END.search(text, end)
            if closing is None:
                raise TemplateError("{literal} without {/literal}", line)
            yield Tag("", text[end : closing.start()], (), line)
            at = closing.end()
        elif alone:
            yield (
                Tag("", "{" if alone == "ldelim" else "}", (), line)
                if alone.endswith("delim")
                else Tag(alone, "", (), line)
            )
            at = end
        else:
            tokens, at = _tokens(text, start + 1 if found["show"] else end, line)
            yield Tag("$" if found["show"] else found["open"].lower(), "", tuple(tokens), first)
        line += text.count("\n", start, at)
    if at < len(text):
        yield Tag("", text[at:], (), line)


def _tokens(text: str, at: int, line: int) -> tuple[list[Token], int]:
    """The words of a tag up to its ``}``, and where the text goes on."""
    first = line
    tokens: list[Token] = []
    limit = at + _LONGEST
    while found := _TOKEN.match(text, at, limit):
        at = found.end()
        kind = str(found.lastgroup)
        word = found[kind]
        if word == "}":
            return tokens, at
        if kind != "blank":
            tokens.append(_token(kind, word, line))
            if len(tokens) > _MOST_TOKENS:
                break
        line += word.count("\n")
    if at >= limit or len(tokens) > _MOST_TOKENS:
        raise TemplateError("a tag is too long", first)
    if at >= len(text):
        raise TemplateError("a tag has no end", first)
    if text[at] in "\"'":
        raise TemplateError(f"a string has no end, or is longer than {_LONGEST} characters", line)
    raise TemplateError(f"{text[at : at + 10]!r} was not expected in a tag", line)


def _token(kind: str, word: str, line: int) -> Token:
    if kind == "string":
        quote = word[0]
        return Token(kind, word[1:-1].replace("\\" + quote, quote), line)
    if kind == "number" and len(word) > _LONGEST_NUMBER:
        raise TemplateError(f"the number {word[:_LONGEST_NUMBER]}… is too long", line)
    if kind in ("name", "sign"):
        sign = _SIGNS.get(word.lower())
        return Token("sign" if sign else kind, sign or word, line, word)
    return Token(kind, word, line, word)
