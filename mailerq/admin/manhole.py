"""A Python prompt inside the running process, on a Unix socket: ``python -m mailerq.admin.manhole PATH``.

Who can open the socket can do all that the process can; so only its own user (and root) can open it. Whatever is typed
runs in the reactor's thread: while it runs, no mail moves.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Mapping
from typing import Any

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from mailerq.admin.prompt import Door

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
        try:
            os.makedirs(os.path.dirname(self._path) or ".", mode=0o700, exist_ok=True)
            remove_stale(self._path)
            self._port = self._reactor.listenUNIX(self._path, factory, mode=0o600)
        except CannotListenError as error:
            _log.error("no manhole: {path}: {why}", path=self._path, why=str(error.socketError))
        except OSError as error:
            _log.error("no manhole: {path}: {why}", path=self._path, why=error.strerror or str(error))
        else:
            _log.info("manhole: python -m mailerq.admin.manhole {path}", path=self._path)

    def stopService(self) -> Deferred[None] | None:
        """Close the socket and all prompts; the file is removed."""
        super().stopService()  # type: ignore[no-untyped-call]
        for door in list(self.doors):
            door.loseConnection()
        port, self._port = self._port, None
        return None if port is None else port.stopListening()


def remove_stale(path: str) -> None:
    """Remove the socket at ``path`` if nobody listens to it any more; OSError if somebody does, or it is no socket."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, "there is a file that is no socket")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass  # its backlog is full: it lives
    raise OSError(errno.EADDRINUSE, "a living process listens there")


if __name__ == "__main__":
    from mailerq.admin.manhole_client import main

    main()
