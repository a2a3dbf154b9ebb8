"""Puts the header fields of mailing lists into messages, as the configuration says: RFC 2369, 2919, 8058. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from zope.interface import implementer

from mailerq.content import members
from mailerq.content.author import from_domains
from mailerq.content.header_block import HeaderBlock, split
from mailerq.content.list_header_rules import POST, UNSUBSCRIBE, Content, ListHeaderRule
from mailerq.content.step import ContentError, IContentStep, Occasion
from mailerq.job import Job
from mailerq.limits import pattern

_LONGEST = 998  # RFC 5322 section 2.1.1


@implementer(IContentStep)
class ListHeaders:
    """Rules go from general to special: the last that fits and says a field holds for it."""

    name = "list-headers"
    slow = False

    def __init__(self, rules: Iterable[ListHeaderRule]) -> None:
        self._rules = [
            (rule, rule.domain and pattern(rule.domain), rule.tag and pattern(rule.tag)) for rule in tuple(rules)
        ]
        self._domains = any(rule.domain not in (None, "*") for rule, _, _ in self._rules)

    def wanted(self, job: Job, described: bool) -> bool:
        """Whether a rule can fit, as far as its tags say."""
        return any(not fits_tag or any(map(fits_tag, job.tags)) for _, _, fits_tag in self._rules)

    def apply(self, message: bytes, job: Job, occasion: Occasion) -> bytes:
        """The same message where nothing is to be added."""
        block = split(message)
        found = self._contents(job, from_domains(message) if self._domains else ())
        added = _written(found, job, block)
        for name, value, replace in added:
            if replace:
                block.remove(name)
            block.append(name, value)
        return block.written() if added else message

    def _contents(self, job: Job, domains: tuple[str, ...]) -> dict[str, tuple[Content, bool]]:
        """The fields that rules give, and whether each replaces what is there."""
        found: dict[str, tuple[Content, bool]] = {}
        for rule, fits_domain, fits_tag in self._rules:
            here = not fits_domain or rule.domain == "*" or any(map(fits_domain, domains))
            if here and (not fits_tag or any(map(fits_tag, job.tags))):
                found.update({name: (content, rule.replace) for name, content in rule.fields.items()})
        return found


def _written(found: dict[str, tuple[Content, bool]], job: Job, block: HeaderBlock) -> list[tuple[str, str, bool]]:
    """Names and values of the fields to be added, and whether they replace others. What a signature in the message
    covers, even by its absence, is left alone (RFC 6376 section 5.4.2)."""
    value = members.of(job)
    there = {field.key for field in block.fields}
    signed = _signed(block)
    added: dict[str, tuple[str, bool]] = {}
    for name, (content, replace) in found.items():
        if not content or name.lower() in signed or (name.lower() in there and not replace):
            continue
        texts = [written for text in content if (written := text.written(value)) is not None]
        if any(len(text) > _LONGEST for text in texts):
            raise ContentError(f"{ListHeaders.name}: {name} would have a line of more than {_LONGEST} characters")
        if texts:
            added[name] = (", ".join(texts), replace)
    if POST in added and "<https:" not in added.get(UNSUBSCRIBE, ("",))[0].lower():
        del added[POST]  # it says what the https address does: of one that is not ours nobody knows
    return [(name, value, replace) for name, (value, replace) in added.items()]


def _signed(block: HeaderBlock) -> set[str]:
    """The names, in lower case, that signatures in the message cover."""
    names: set[str] = set()
    for field in block.all("DKIM-Signature"):
        for tag in field.value.decode("ascii", "replace").split(";"):
            name, _, value = tag.partition("=")
            if name.strip() == "h":
                names.update(part.strip().lower() for part in value.split(":"))
    return names
