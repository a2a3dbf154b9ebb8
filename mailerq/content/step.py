"""A content step: one change to a message, asked for by its job or by the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from msgspec import Struct
from zope.interface import Attribute, Interface

from mailerq.attempt import Type
from mailerq.job import Job

NOTHING: Mapping[str, Any] = MappingProxyType({})


class ContentError(Exception):
    """The message cannot be made. ``what`` is read by people, and names the property it is about.

    ``type`` is what the result says: ``error`` for a property that cannot be used, ``responsive`` for a message that
    cannot be composed or personalised, with its ``reasons``. ``passing``: it may be made later; otherwise that is
    final.
    """

    def __init__(
        self, what: str, *, type: Type = Type.ERROR, reasons: tuple[str, ...] = (), passing: bool = False
    ) -> None:
        super().__init__(what)
        self.what = what
        self.type = type
        self.reasons = reasons or ((what,) if type is Type.RESPONSIVE else ())
        self.passing = passing


class Occasion(Struct, frozen=True):
    """What a step is told beside the message and its job.

    ``now``: epoch seconds. ``eight_bit``: whether the host takes bytes above 127 in a message. ``gathered``: what
    steps with ``gather`` have got, by their name.
    """

    now: float
    eight_bit: bool = True
    gathered: Mapping[str, Any] = NOTHING


class IContentStep(Interface):
    """One change to a message. Knows no other step. ``apply`` may run in a thread, for several mails at once."""

    name: str = Attribute("One word, for logs and ``gathered``.")
    slow: bool = Attribute("Whether ``apply`` may take longer than a millisecond: then it runs in a thread.")

    def wanted(job: Job, described: bool) -> bool:
        """Whether it is to be done. ``described``: the body is a description of a message (a JSON object). Quick."""

    def apply(message: bytes, job: Job, occasion: Occasion) -> bytes:
        """The message after it. Line ends of any kind come in, and may go out. Raises ContentError; anything else that
        it raises is a bug of ours. Bounded in time and memory whatever comes in."""


class IGatheringStep(IContentStep):
    """A step that needs something from elsewhere first."""

    def gather(message: bytes, job: Job) -> Any:
        """A Deferred of what ``occasion.gathered`` shall have under the step's name. Called in the reactor; bounded in
        time. Fails with ContentError."""
