"""The steps that a configuration gives, in their order: composed, personalised, changed, signed."""

from __future__ import annotations

from zope.interface import implementer

from mailerq.attempt import Type
from mailerq.content.chain import Chain
from mailerq.content.dkim_step import dkim_steps
from mailerq.content.headers import Headers
from mailerq.content.list_headers import ListHeaders
from mailerq.content.normalize import Normalize
from mailerq.content.personalise import Personalise
from mailerq.content.responsive.step import ComposeStep, Downloader
from mailerq.content.step import ContentError, IContentStep, Occasion
from mailerq.job import Job
from mailerq.settings import Settings

NOT_YET = ("inlinecss",)
COMPOSES = True


def make_chain(settings: Settings, downloader: Downloader | None = None) -> Chain:
    """The chain of content steps. Cheap: what a step needs is imported when it is first taken. ``downloader``: what
    gets the URLs that descriptions of messages name."""
    steps: list[IContentStep] = [NotYet()]
    steps.append(ComposeStep(downloader))  # composed: a description becomes a message
    # personalised: what the job's data say is filled in
    steps.append(Personalise())
    # changed: CSS, line ends, headers
    steps += [Normalize(), Headers()]
    if settings.list_headers:
        steps.append(ListHeaders(settings.list_headers))
    steps += dkim_steps(settings.dkim)  # signed, after all else
    return Chain(steps, always=bool(settings.list_headers or settings.dkim))


@implementer(IContentStep)
class NotYet:
    """What is not there yet: sending the message unchanged would be guessing."""

    name = "not-yet"
    slow = False

    def wanted(self, job: Job, described: bool) -> bool:
        """Whether something is asked for that no step does."""
        return (described and not COMPOSES) or any(getattr(job.known, name) for name in NOT_YET)

    def apply(self, message: bytes, job: Job, occasion: Occasion) -> bytes:
        """Refuse it."""
        for name in NOT_YET:
            if getattr(job.known, name):
                raise ContentError(f"{name}: is not supported by this version; nothing was sent")
        raise ContentError("responsive messages are not supported by this version", type=Type.RESPONSIVE)
