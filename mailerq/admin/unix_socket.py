"""Unix sockets that only the user of the process (and root) may open."""

from __future__ import annotations

import errno
import os
import socket
import stat
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.logger import Logger

_log = Logger()


def listen(reactor: Any, path: str, factory: Any, what: str) -> Any:
    """Listen on ``path`` (mode 0600); the port, or None where that cannot be: a line in the log says why.

    The folder is made (0700) if it is missing; a socket left by a killed process is replaced. ``what`` is what the log
    calls it.
    """
    try:
        os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
        remove_stale(path)
        return reactor.listenUNIX(path, factory, mode=0o600)
    except CannotListenError as error:
        _log.error("no {what}: {path}: {why}", what=what, path=path, why=str(error.socketError))
    except OSError as error:
        _log.error("no {what}: {path}: {why}", what=what, path=path, why=error.strerror or str(error))
    return None


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
