"""Downloads: bounded in size, time and number, remembered for a while, and never from an address that is not public."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from twisted.internet.defer import Deferred

from mailerq.content.download_rules import DownloadRules


class Download(Struct, frozen=True):
    """What came. ``type``: its media type in lower case without parameters (``image/png``), '' where the server did not
    say. ``url``: where it was found in the end, after redirects."""

    body: bytes
    type: str
    url: str


class Downloads:
    """Fetches URLs. One for the whole process; used in the reactor's thread only.

    ``rules`` may be replaced at any time: others hold from then on.
    """

    def __init__(self, reactor: Any, rules: DownloadRules) -> None:
        self.rules = rules
        self._reactor = reactor

    def fetch(self, url: str) -> Deferred[Download]:
        """Get ``url`` (``http`` or ``https``). May fire before this returns (it is remembered), fires in bounded time.

        Fails with ContentError only (``type`` RESPONSIVE, naming the URL without its password): ``passing`` for what may
        pass (no answer, a 5xx, a connection that fails, a certificate), final for what never will (no http, an address
        that is not allowed, 404, 410, more than ``max_size``). Who asks for the same URL at the same time gets the same
        download. Cancel what is returned to give up: the others that wait for it still get it.
        """
        raise NotImplementedError
