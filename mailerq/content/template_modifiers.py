"""The modifiers: ``{$value|name:argument}``. Pure.

Each is ``modifier(budget, value, *arguments)``, and says with ``budget.make`` how much text it makes before it does.
Texts are counted in characters. A modifier that lacks an argument that it needs leaves the value as it is, as in the
original.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import inspect
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

from mailerq.content.template_budget import CHARACTERS_A_STEP, Budget, TemplateError
from mailerq.content.template_patterns import replaced
from mailerq.content.template_values import text_of, truth_of, whole_of

Modifier = Callable[..., Any]

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"}
_WORD = re.compile(r"[^\W_]")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _encoded(budget: Budget, value: Any) -> str:
    text = _bytes(text_of(value))
    budget.make(len(text) * 4 // 3)
    return base64.b64encode(text).decode("ascii")


def _decoded(budget: Budget, value: Any) -> str:
    text = text_of(value)
    budget.make(len(text))
    try:
        return binascii.a2b_base64(text.encode("ascii", "ignore")).decode("utf-8", "replace")
    except binascii.Error:
        raise TemplateError("base64_decode: the value is no base64") from None


def _cat(budget: Budget, value: Any, *more: Any) -> str:
    texts = [text_of(one) for one in (value, *more)]
    budget.make(sum(map(len, texts)))
    return "".join(texts)


def _count(budget: Budget, value: Any) -> int:
    return len(value) if isinstance(value, list | dict) else 0


def _characters(budget: Budget, value: Any, blanks: Any = False) -> int:
    text = _looked_at(budget, value)
    budget.take(len(text) // 20)
    return len(text) if truth_of(blanks) else len("".join(text.split()))


def _looked_at(budget: Budget, value: Any) -> str:
    """The text of a value, all of which is gone through."""
    text = text_of(value)
    budget.take(len(text) // CHARACTERS_A_STEP)
    return text


def _made(budget: Budget, text: str) -> str:
    """A text that was made, and is not much longer than the one that it was made of."""
    budget.make(len(text))
    return text


def _paragraphs(budget: Budget, value: Any) -> int:
    text = _looked_at(budget, value)
    return text.count("\n") + text.count("\r")


def _words(budget: Budget, value: Any) -> int:
    text = _looked_at(budget, value)
    budget.take(len(text) // 8)
    return sum(_WORD.search(word) is not None for word in text.split())


def _default(budget: Budget, value: Any, instead: Any = None) -> Any:
    return value if text_of(value) or (isinstance(value, list | dict) and value) else instead


def _empty(budget: Budget, value: Any) -> bool:
    return not (value if isinstance(value, list | dict) else text_of(value))


def _escape(budget: Budget, value: Any, how: Any = "html") -> str:
    text, name = text_of(value), text_of(how)
    if name == "html":
        budget.make(len(text) + 5 * sum(text.count(sign) for sign in _ENTITIES))
        for sign, entity in _ENTITIES.items():
            text = text.replace(sign, entity)
        return text
    if name == "url":
        return _urlencode(budget, value)
    if name == "base64":
        return _encoded(budget, value)
    if name == "json":
        budget.make(6 * len(text))
        return json.dumps(text, ensure_ascii=False)[1:-1]
    if name == "null":
        return text
    raise TemplateError(f"escape: {name[:20]!r} is none of html, url, json, base64")


def _indent(budget: Budget, value: Any, size: Any = 4, sign: Any = " ") -> str:
    text, by = text_of(value), text_of(sign)
    times = max(whole_of(size), 0)
    breaks = text.count("\n")
    budget.make(len(text) + (breaks + 1) * times * len(by))
    indent = by * times if by else ""
    return indent + text.replace("\n", "\n" + indent)


def _hashed(name: str) -> Modifier:
    def modifier(budget: Budget, value: Any) -> str:
        return hashlib.new(name, _bytes(_looked_at(budget, value)), usedforsecurity=False).hexdigest()

    return modifier


def _replace(budget: Budget, value: Any, old: Any = None, new: Any = None) -> Any:
    text, before, after = text_of(value), text_of(old), text_of(new)
    if new is None or not before:
        return value
    budget.make(len(text))
    budget.make(text.count(before) * len(after))
    return text.replace(before, after)


def _nl2br(budget: Budget, value: Any) -> Any:
    return _replace(budget, text_of(value), "\n", "<br />")


def _range(budget: Budget, value: Any, *bounds: Any) -> Any:
    """The first ``end`` of a list, or ``size`` of it from the ``begin``-th (counted from 1) on."""
    if not bounds or not isinstance(value, list | dict):
        return value
    first, last = 1, whole_of(bounds[0])
    if len(bounds) > 1:
        first, last = whole_of(bounds[0]), whole_of(bounds[0]) + whole_of(bounds[1])
    start, end = max(first - 1, 0), max(min(last, len(value)), 0)
    budget.take(1 + max(end - start, 0) // 10)
    if isinstance(value, list):
        return value[start:end]
    budget.take(len(value) // 10)
    return dict(list(value.items())[start:end])


def _regex_replace(budget: Budget, value: Any, pattern: Any = None, instead: Any = None) -> Any:
    if instead is None:
        return value
    return replaced(budget, text_of(value), text_of(pattern), text_of(instead))


def _spacify(budget: Budget, value: Any, between: Any = " ") -> str:
    text, by = text_of(value), text_of(between)
    budget.make(len(text) * (1 + len(by)))
    budget.take(len(text) // 20)
    return by.join(text)


def _strstr(budget: Budget, value: Any, needle: Any = None, before: Any = False) -> Any:
    if needle is None:
        return value
    text = _looked_at(budget, value)
    at = text.find(text_of(needle))
    if at < 0:
        return None
    return _made(budget, text[:at] if truth_of(before) else text[at:])


def _substr(budget: Budget, value: Any, start: Any = None, size: Any = None) -> Any:
    text = _looked_at(budget, value)
    if start is None:
        return value
    first = whole_of(start)
    if first < 0:
        first = max(len(text) + first, 0)
    if first > len(text):
        return text
    wanted = -1 if size is None else whole_of(size)
    return _made(budget, text[first:] if wanted < 0 else text[first : first + wanted])


def _changed(change: Callable[[str], str]) -> Modifier:
    def modifier(budget: Budget, value: Any) -> str:
        return _made(budget, change(_looked_at(budget, value)))

    return modifier


def _trim(budget: Budget, value: Any, signs: Any = " \t\n\r\0\x0b") -> str:
    return _made(budget, _looked_at(budget, value).strip(text_of(signs) or None))


def _truncate(budget: Budget, value: Any, size: Any = 80, end: Any = "...", within: Any = False) -> str:
    text, etc = _looked_at(budget, value), text_of(end)
    longest = max(whole_of(size), 0)
    if longest == 0:
        return ""
    if len(text) <= longest:
        return text
    budget.make(longest + len(etc))
    longest -= min(longest, len(etc))
    if not truth_of(within):
        text = _without_last_word(text[: longest + 1])
    return text[:longest] + etc


def _without_last_word(text: str) -> str:
    """What stands before the last white space (with all that is next to it)."""
    rest = text.rstrip()
    if len(rest) == len(text):
        at = max((text.rfind(sign) for sign in " \t\n\r\f\v"), default=-1)
        rest = text[:at].rstrip() if at >= 0 else text
    return rest


def _ucfirst(text: str) -> str:
    return text[:1].upper() + text[1:]


def _urlencode(budget: Budget, value: Any) -> str:
    text = _bytes(text_of(value))
    budget.make(3 * len(text))
    return quote_from_bytes(text, safe="")


def _urldecode(budget: Budget, value: Any) -> str:
    text = _looked_at(budget, value)
    budget.take(text.count("%") // 4)
    return unquote_to_bytes(text.replace("+", " ")).decode("utf-8", "replace")


MODIFIERS: dict[str, Modifier] = {
    "base64_decode": _decoded,
    "base64_encode": _encoded,
    "cat": _cat,
    "count": _count,
    "count_characters": _characters,
    "count_paragraphs": _paragraphs,
    "count_words": _words,
    "default": _default,
    "empty": _empty,
    "escape": _escape,
    "indent": _indent,
    "md5": _hashed("md5"),
    "nl2br": _nl2br,
    "range": _range,
    "regex_replace": _regex_replace,
    "replace": _replace,
    "sha1": _hashed("sha1"),
    "sha256": _hashed("sha256"),
    "sha512": _hashed("sha512"),
    "spacify": _spacify,
    "strlen": lambda budget, value: len(text_of(value)),
    "strstr": _strstr,
    "substr": _substr,
    "tolower": _changed(str.lower),
    "toupper": _changed(str.upper),
    "trim": _trim,
    "truncate": _truncate,
    "ucfirst": _changed(_ucfirst),
    "urlencode": _urlencode,
    "urldecode": _urldecode,
}
MODIFIERS |= {"upper": MODIFIERS["toupper"], "lower": MODIFIERS["tolower"]}


def most_arguments(name: str) -> int:
    """How many arguments a modifier looks at; more are ignored, as in the original."""
    code = MODIFIERS[name].__code__
    return 1000 if code.co_flags & inspect.CO_VARARGS else code.co_argcount - 2
