"""The steps that a configuration gives, in their order: composed, personalised, changed, signed."""

from __future__ import annotations

from mailerq.content.chain import Chain
from mailerq.content.dkim_step import dkim_steps
from mailerq.content.headers import Headers
from mailerq.content.inline_css import InlineCss
from mailerq.content.list_headers import ListHeaders
from mailerq.content.normalize import Normalize
from mailerq.content.personalise import Personalise
from mailerq.content.responsive.step import ComposeStep, Downloader
from mailerq.content.step import IContentStep
from mailerq.settings import Settings


def make_chain(settings: Settings, downloader: Downloader | None = None) -> Chain:
    """The chain of content steps. Cheap: what a step needs is imported when it is first taken. ``downloader``: what
    gets the URLs that descriptions of messages name."""
    steps: list[IContentStep] = [
        ComposeStep(downloader),  # composed: a description becomes a message
        Personalise(),  # personalised: what the job's data say is filled in
        *(InlineCss(), Normalize(), Headers()),  # changed
    ]
    if settings.list_headers:
        steps.append(ListHeaders(settings.list_headers))
    steps += dkim_steps(settings.dkim)  # signed, after all else
    return Chain(steps, always=bool(settings.list_headers or settings.dkim))
