"""Rules for mail to many: how it is ended with one click, and how it is known (RFC 2369, 2919, 8058)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mailerq.lint.message import Message
from mailerq.lint.rule import BULK, Rule, Spot, error, hint, warning
from mailerq.lint.signatures import signatures

UNSUBSCRIBE, POST = "List-Unsubscribe", "List-Unsubscribe-Post"
_LIST = re.compile(r"\s*(?:\([^()]*\)\s*)?<[^<>\s]+>\s*(?:\([^()]*\)\s*)?(?:,\s*<[^<>\s]+>\s*(?:\([^()]*\)\s*)?)*")
_URL = re.compile(r"<\s*([^<>]+?)\s*>")
_LIST_ID = re.compile(r'(?:[^<>]*\s|"[^"]*"\s*)?<[A-Za-z0-9!#$%&\'*+/=?^_`{|}~.-]+>')
_WORDS = re.compile(
    r"unsubscri|opt.?out|abmeld|abbestell|abonnement|afmeld|uitschrij|d[eé]sabonn|d[eé]sinscri|baja|cancelar|disiscri"
    r"|annulla|avregistr|frameld|wypisz|отпис|配信停止|退订",
    re.IGNORECASE,
)
_FIX = "List-Unsubscribe: <https://example.org/u?a=...>, <mailto:off@example.org> (mailerq: `list-headers`)"


def urls(message: Message) -> list[str]:
    """The addresses in List-Unsubscribe."""
    return _URL.findall(message.value(UNSUBSCRIBE)[:20_000])


def unsubscribe_missing(message: Message) -> Iterator[Spot]:
    """No List-Unsubscribe."""
    if UNSUBSCRIBE not in message.block:
        yield 0, "there is no List-Unsubscribe"


def unsubscribe_invalid(message: Message) -> Iterator[Spot]:
    """A List-Unsubscribe that nobody reads."""
    for line, value in message.fields(UNSUBSCRIBE):
        if not _LIST.fullmatch(value[:20_000]):
            yield line, f"List-Unsubscribe is no list of addresses in <>: {value[:80]!r}"


def https_missing(message: Message) -> Iterator[Spot]:
    """Nothing that takes a click."""
    if UNSUBSCRIBE in message.block and not _https(message):
        yield message.line_of(message.block.first(UNSUBSCRIBE)), "List-Unsubscribe has no https:// address"


def mailto_missing(message: Message) -> Iterator[Spot]:
    """Nothing that takes a mail."""
    if UNSUBSCRIBE in message.block and not any(url.lower().startswith("mailto:") for url in urls(message)):
        yield message.line_of(message.block.first(UNSUBSCRIBE)), "List-Unsubscribe has no mailto: address"


def post_missing(message: Message) -> Iterator[Spot]:
    """No one-click."""
    if _https(message) and POST not in message.block:
        yield message.line_of(message.block.first(UNSUBSCRIBE)), "there is no List-Unsubscribe-Post"


def post_invalid(message: Message) -> Iterator[Spot]:
    """Another value than the one that there is."""
    for line, value in message.fields(POST):
        if value.strip() != "List-Unsubscribe=One-Click":
            yield line, f"List-Unsubscribe-Post is {value[:60]!r}"


def post_alone(message: Message) -> Iterator[Spot]:
    """One-click with nothing to click."""
    if POST in message.block and not _https(message):
        yield message.line_of(message.block.first(POST)), "List-Unsubscribe-Post has no https:// address to post to"


def unsubscribe_unsigned(message: Message) -> Iterator[Spot]:
    """One-click that nobody vouches for."""
    if POST in message.block and (found := signatures(message)):
        wanted = {UNSUBSCRIBE.lower(), POST.lower()}
        if not any(wanted <= set(one.fields) for one in found):
            yield message.line_of(message.block.first(POST)), "no signature covers List-Unsubscribe and -Post"


def link_missing(message: Message) -> Iterator[Spot]:
    """Nothing to be seen of it."""
    texts = [part.text[:1_000_000] for part in (*message.html, *message.plain)]
    if UNSUBSCRIBE in message.block and not any(map(_WORDS.search, texts)):
        yield 0, "the text has nothing that looks like a link for unsubscribing"


def list_id_missing(message: Message) -> Iterator[Spot]:
    """No List-Id."""
    if UNSUBSCRIBE in message.block and "List-Id" not in message.block:
        yield 0, "there is no List-Id"


def list_id_invalid(message: Message) -> Iterator[Spot]:
    """A List-Id that is none."""
    for line, value in message.fields("List-Id"):
        if not _LIST_ID.fullmatch(value[:1000]):
            yield line, f"List-Id has no <name.of.the.list> at its end: {value[:80]!r}"


def feedback_id_invalid(message: Message) -> Iterator[Spot]:
    """A Feedback-ID that Gmail does not read."""
    for line, value in message.fields("Feedback-ID"):
        parts = value.split(":")
        if not 1 < len(parts) <= 4 or not 5 <= len(parts[-1].strip()) <= 15:
            yield line, f"Feedback-ID is not a:b:c:sender, with 5 to 15 letters for the sender: {value[:80]!r}"


def _https(message: Message) -> bool:
    return any(url.lower().startswith("https://") for url in urls(message))


RULES: tuple[Rule, ...] = (
    warning("unsubscribe-missing", f"{BULK} (RFC 2369)", _FIX, unsubscribe_missing, bulk=True),
    error("unsubscribe-invalid", "RFC 2369 section 2", _FIX, unsubscribe_invalid),
    warning("unsubscribe-https-missing", f"{BULK} (RFC 8058)", _FIX, https_missing, bulk=True),
    hint("unsubscribe-mailto-missing", "some mail programs have no other way (RFC 2369)", _FIX, mailto_missing),
    warning(
        "one-click-missing",
        f"{BULK} (RFC 8058 section 3.1)",
        "add List-Unsubscribe-Post: List-Unsubscribe=One-Click, and let the address take that POST",
        post_missing,
        bulk=True,
    ),
    error("one-click-invalid", "RFC 8058 section 3.1", "write List-Unsubscribe=One-Click", post_invalid),
    error("one-click-alone", "RFC 8058 section 3.1", _FIX, post_alone),
    error(
        "one-click-unsigned",
        "RFC 8058 section 4: it does not count then",
        "sign both fields (h=...:list-unsubscribe:list-unsubscribe-post)",
        unsubscribe_unsigned,
    ),
    hint("unsubscribe-link-missing", BULK, "put a link at the end of the text", link_missing),
    hint("list-id-missing", "RFC 2919: readers sort by it", "add List-Id: News <news.example.org>", list_id_missing),
    warning("list-id-invalid", "RFC 2919 section 3", "write News <news.example.org>", list_id_invalid),
    warning("feedback-id-invalid", "Gmail's feedback loop", "write campaign:customer:kind:sender", feedback_id_invalid),
)
