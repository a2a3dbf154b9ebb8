"""The steps there are, in their order; which of them a mail takes."""

from __future__ import annotations

from collections.abc import Sequence

from mailerq.content.step import IContentStep, Occasion
from mailerq.job import Job


class Chain:
    """``steps`` in the order in which they are taken. ``always``: one may be wanted for jobs that ask for nothing."""

    def __init__(self, steps: Sequence[IContentStep] = (), always: bool = False) -> None:
        self.steps = tuple(steps)
        self.always = always

    def steps_for(self, job: Job, described: bool) -> list[IContentStep]:
        """Those that ``job`` takes."""
        return [step for step in self.steps if step.wanted(job, described)]


def take(steps: Sequence[IContentStep], message: bytes, job: Job, occasion: Occasion) -> bytes:
    """The message after ``steps``. Raises ContentError."""
    for step in steps:
        message = step.apply(message, job, occasion)
    return message
