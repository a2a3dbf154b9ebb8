"""How the commands ask the running engine: over its control socket, without Twisted."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from mailerq.admin import questions
from mailerq.commands import Failed

PATIENCE = 10.0  # seconds for each piece of an answer


class NotRunning(Failed):
    """Nobody answers on the control socket, or there is none."""


def ask(settings: Any, question: questions.Question) -> list[dict[str, Any]]:
    """The answer, one object a line. Raises ``NotRunning``, or ``Failed`` with what the engine said."""
    path = settings.control
    if path is None:
        raise NotRunning("there is no control socket in the configuration (control: null)")
    lines: list[dict[str, Any]] = []
    for line in _exchange(path, questions.write(question)):
        if "error" in line:
            raise Failed(f"the engine says: {line['error']}")
        if "end" in line:
            return lines
        lines.append(line)
    raise Failed(f"{path}: the engine ended in the middle of its answer")


def _exchange(path: str, line: bytes) -> Iterator[dict[str, Any]]:
    try:
        with socket.socket(socket.AF_UNIX) as engine:
            engine.settimeout(PATIENCE)
            engine.connect(path)
            with suppress(BrokenPipeError):  # it has answered already: that it is busy
                engine.sendall(line)
            with engine.makefile("rb") as answer:
                for come in answer:
                    if come != b"\n":
                        yield json.loads(come)
    except TimeoutError:
        raise Failed(f"{path}: the engine did not answer for {PATIENCE:.0f} seconds") from None
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ECONNREFUSED):
            raise NotRunning(f"no engine runs: nobody answers at {os.path.abspath(path)}") from None
        raise Failed(f"{path}: {error.strerror or error}") from None
    except ValueError:
        raise Failed(f"{path}: what came is no answer of an engine") from None
