"""The step ``normalize``: every line end becomes CRLF. Pure.

CRLF, LF and CR each end a line, as they do when a message is sent (``smtp/wire.py``), so hosts get the same bytes with
it and without; the steps after it get a message with line ends of one kind.
"""

from __future__ import annotations

from zope.interface import implementer

from mailerq.content.step import IContentStep, Occasion
from mailerq.job import Job
from mailerq.smtp.wire import normal


@implementer(IContentStep)
class Normalize:
    """See ``IContentStep``."""

    name = "normalize"
    slow = True

    def wanted(self, job: Job, described: bool) -> bool:
        """Whether the job asks for it."""
        return bool(job.known.normalize)

    def apply(self, message: bytes, job: Job, occasion: Occasion) -> bytes:
        """The message with CRLF at the end of each line, the last one too."""
        return normal(message)
