"""The content step that composes: the first of all, for jobs whose body is a description."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred
from zope.interface import implementer

from mailerq.content.step import IGatheringStep, Occasion
from mailerq.job import Job

if TYPE_CHECKING:
    from mailerq.content.responsive.gathering import Gathered


class Downloader(Protocol):
    """``fetch(url)``: a Deferred of something with ``body`` and ``type``, or of a ContentError, in bounded time."""

    def fetch(self, url: str) -> Deferred[Any]:
        """Get ``url``."""


@implementer(IGatheringStep)
class ComposeStep:
    """Makes a message of a description. ``downloader``: what gets the URLs that it names; None: it can name none.

    What it gathers (``occasion.gathered["compose"]``, a ``Gathered``) has the description that was read: steps that
    come later find its ``dkim`` and ``data`` there.
    """

    name = "compose"
    slow = True

    def __init__(self, downloader: Downloader | None = None) -> None:
        self._downloader = downloader

    def wanted(self, job: Job, described: bool) -> bool:
        """Whether the body is a description."""
        return described

    def gather(self, message: bytes, job: Job) -> Deferred[Gathered]:
        """What the description names."""
        from mailerq.content.responsive.gathering import gather

        return Deferred.fromCoroutine(gather(message, self._downloader))

    def apply(self, message: bytes, job: Job, occasion: Occasion) -> bytes:
        """The message. Raises ContentError of type RESPONSIVE."""
        from mailerq.content.responsive.compose import Purpose, compose

        gathered: Gathered = occasion.gathered[self.name]
        known = job.known
        purpose = Purpose(
            known.envelope or None,
            known.recipient or "",
            occasion.now if job.seen is None else job.seen,
            job.seen_id,
        )
        return compose(message, gathered.description, purpose, gathered.got, gathered.stills)
