"""A Python prompt inside the running process, on a Unix socket: ``python -m mailerq.admin.manhole PATH``.

Who can open the socket can do all that the process can; so only its own user (and root) can open it. Whatever is typed
runs in the reactor's thread: while it runs, no mail moves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from mailerq.admin.prompt import Door
from mailerq.admin.unix_socket import listen

_log = Logger()


def manhole_service(reactor: Any, path: str, names: Mapping[str, Any]) -> IService:
    """A service that gives a prompt with ``names`` to who connects to the Unix socket ``path`` (mode 0600).

    Its folder is made (0700) if it is missing; a socket left by a killed process is replaced. Where that cannot be, a
    living process has it for instance, a line in the log says why and all else goes on.
    """
    return Manhole(reactor, path, names)


class Manhole(Service):
    """Listens while the service runs. ``doors`` are the prompts that are open."""

    def __init__(self, reactor: Any, path: str, names: Mapping[str, Any]) -> None:
        self.doors: set[Door] = set()
        self._reactor = reactor
        self._path = path
        self._names = names
        self._port: Any = None

    def startService(self) -> None:
        """Listen, if that can be."""
        super().startService()  # type: ignore[no-untyped-call]
        factory = Factory.forProtocol(lambda: Door(self._names, self.doors))
        factory.noisy = False
        self._port = listen(self._reactor, self._path, factory, "manhole")
        if self._port is not None:
            _log.info("manhole: python -m mailerq.admin.manhole {path}", path=self._path)

    def stopService(self) -> Deferred[None] | None:
        """Close the socket and all prompts; the file is removed."""
        super().stopService()  # type: ignore[no-untyped-call]
        for door in list(self.doors):
            door.loseConnection()
        port, self._port = self._port, None
        return None if port is None else port.stopListening()


if __name__ == "__main__":
    from mailerq.admin.manhole_client import main

    main()
