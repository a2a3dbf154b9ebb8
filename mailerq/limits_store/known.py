"""Who we are among the members that share limits, and who they were: kept in the state folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
from twisted.logger import Logger

_log = Logger()


class Known(msgspec.Struct):
    """``me``: the name of this engine, the same for all its lives; ``members``: the names of all, when last heard."""

    me: str
    members: list[str] = []


def read_known(path: str, host: str, new_name: Callable[[], str]) -> Known:
    """What the file says; another name where there is none, or where it was copied from another host. Never raises."""
    host = "".join(sign for sign in host if sign.isalnum() or sign in ".-") or "host"
    try:
        known = msgspec.json.decode(Path(path).read_bytes(), type=Known)
        if known.me.startswith(f"{host}/") and " " not in known.me:
            return known
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        _log.warn("{path} cannot be read: {error}; it is begun anew", path=path, error=error)
    known = Known(f"{host}/{new_name()}")
    write_known(path, known)
    return known


def write_known(path: str, known: Known) -> None:
    """Keep it. A disk that is full is said, and costs nothing else."""
    new = f"{path}.new"
    try:
        with open(new, "wb") as file:
            file.write(msgspec.json.encode(known))
        os.replace(new, path)
    except OSError as error:
        _log.error("{path} cannot be written: {error}", path=path, error=error)
