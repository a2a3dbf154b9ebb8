"""Which local addresses are on this host."""

from __future__ import annotations

import socket
from collections.abc import Callable


class LocalAddresses:
    """Asks the system by binding a socket, and remembers the answer for a minute."""

    REMEMBER = 60.0

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._known: dict[str, tuple[bool, float]] = {}

    def has(self, address: str) -> bool:
        """Whether a connection can be made from ``address``; False for what is no address."""
        now = self._seconds()
        known = self._known.get(address)
        if known is not None and known[1] > now:
            return known[0]
        found = _can_bind(address)
        self._known[address] = (found, now + self.REMEMBER)
        return found

    def towards(self, address: str) -> str | None:
        """The local address from which the system would connect to ``address``; None where there is no way to it."""
        try:
            with socket.socket(_family(address), socket.SOCK_DGRAM) as probe:
                probe.connect((address, 25))  # sends nothing
                return str(probe.getsockname()[0])
        except (OSError, ValueError):
            return None


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _can_bind(address: str) -> bool:
    try:
        with socket.socket(_family(address), socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except (OSError, ValueError):
        return False
    return True
