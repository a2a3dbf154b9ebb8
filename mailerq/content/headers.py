"""The step ``headers``: header fields taken out, replaced and added, as the job says. Pure.

In this order: ``remove``, ``replace``, ``update``, ``prepend``, ``append``. Fields that nobody names keep their bytes.
"""

from __future__ import annotations

from zope.interface import implementer

from mailerq.content.ascii_value import ascii_value
from mailerq.content.header_block import Field, HeaderBlock, make, split
from mailerq.content.header_changes import HeaderChanges, Values, listed
from mailerq.content.step import ContentError, IContentStep, Occasion
from mailerq.job import Job
from mailerq.smtp.downgrade import EMPTY_LINE

LARGEST = 256 * 1024
"""Bytes of a header that is changed: mail servers refuse half of that."""


@implementer(IContentStep)
class Headers:
    """See ``IContentStep``. Values that are not ASCII are encoded (RFC 2047); long ones are folded at white space."""

    name = "headers"
    slow = False

    def wanted(self, job: Job, described: bool) -> bool:
        """Whether the job asks for a change."""
        return bool(job.known.headers)

    def apply(self, message: bytes, job: Job, occasion: Occasion) -> bytes:
        """The message with its header changed."""
        changes = job.known.headers
        assert isinstance(changes, HeaderChanges)
        return changed(message, changes)


def changed(message: bytes, changes: HeaderChanges) -> bytes:
    """``message`` after ``changes``. Raises ContentError, which names what cannot be used."""
    problem = changes.problem()
    if problem:
        raise ContentError(problem)
    block = _block(message)
    removed = {name.lower() for name in listed(changes.remove)}
    block.fields = [field for field in block.fields if field.key not in removed]
    _replace(block, changes.replace, append=True)
    _replace(block, changes.update, append=False)
    for name, value in reversed(list(changes.pairs("prepend"))):
        block.prepend(name, ascii_value(name, value))
    for change in ("append", "add"):
        for name, value in changes.pairs(change):
            block.append(name, ascii_value(name, value))
    return block.written()


def _block(message: bytes) -> HeaderBlock:
    """The message in pieces. A header that is larger than any mail's is not gone through to its end."""
    if len(message) > LARGEST and not EMPTY_LINE.search(message, 0, LARGEST):
        head = split(message[:LARGEST])
        if head.start == LARGEST:
            raise ContentError(f"headers: the message has a header of more than {LARGEST} bytes")
    return split(message)


def _replace(block: HeaderBlock, changes: dict[str, Values], append: bool) -> None:
    """The first field of a name becomes those with its values, the others of that name go."""
    made: dict[str, list[Field]] = {}
    for name, values in changes.items():
        fields = made.setdefault(name.lower(), [])
        fields += [make(name, ascii_value(name, value), block.end) for value in listed(values)]
    found: set[str] = set()
    kept: list[Field] = []
    for field in block.fields:
        if field.key not in made:
            kept.append(field)
        elif field.key not in found:
            found.add(field.key)
            kept += made[field.key]
    block.fields = kept
    for name, values in changes.items() if append else ():
        if name.lower() not in found:
            for value in listed(values):
                block.append(name, ascii_value(name, value))
