"""The Python prompt that who connects to the manhole is given: for a terminal, or line by line for a program."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import CodeType
from typing import Any

from twisted.conch.insults.insults import ServerProtocol, modes
from twisted.conch.manhole import ColoredManhole, ManholeInterpreter
from twisted.logger import Logger

from mailerq import __version__

PLAIN = b"\0"  # sent first by a client that is no terminal, and sent back: what follows is only what was asked for
END = b"\x04"  # Ctrl-D
LONGEST_LINE = 1024 * 1024  # bytes

_log = Logger()


def greeting(names: Mapping[str, Any]) -> str:
    """One line that lists what there is."""
    return f"mailerq {__version__}, process {os.getpid()}: {' '.join(names)}"


class _Interpreter(ManholeInterpreter):  # type: ignore[misc]
    """``exit()`` ends the prompt, not the process."""

    def runcode(self, code: CodeType) -> None:
        """Run it; whatever it raises is shown."""
        try:
            super().runcode(code)
        except SystemExit:
            self.handler.handle_QUIT()

    def _cbDisplayDeferred(self, result: Any, k: int, obj: Any) -> Any:
        """Show what a Deferred came to; that it cannot be shown does not change it for others."""
        try:
            return super()._cbDisplayDeferred(result, k, obj)
        except Exception:
            return result


class Prompt(ColoredManhole):  # type: ignore[misc]
    """What is typed and shown on a terminal."""

    def connectionMade(self) -> None:
        """Show what there is."""
        super().connectionMade()
        self.interpreter = _Interpreter(self, self.namespace)

    def initializeScreen(self) -> None:
        """Leave on the screen what is there."""
        self.terminal.write(greeting(self.terminal.names) + "\n")
        self.terminal.write(self.ps[self.pn])
        self.setInsertMode()

    def keystrokeReceived(self, keyID: bytes, modifier: bytes | None) -> None:
        """A key; one that means nothing rings the bell."""
        if keyID in self.keyHandlers or keyID in self._printableChars:
            super().keystrokeReceived(keyID, modifier)
        else:
            self.terminal.write(b"\a")

    def characterReceived(self, ch: bytes, moreCharactersComing: bool) -> None:
        """A character; shown without colours where the line is no Python yet."""
        try:
            super().characterReceived(ch, moreCharactersComing)
        except (SyntaxError, IndexError, ValueError):
            self.terminal.write(ch)

    def addOutput(self, data: str, isAsync: bool | None = None) -> None:
        """What was printed; a lone surrogate in it stops nothing."""
        if self.terminal.plain:
            isAsync = None
        super().addOutput(data.encode("utf-8", "backslashreplace"), isAsync)


class Door(ServerProtocol):  # type: ignore[misc]
    """One connection to the manhole. It is in ``doors`` while it is open. No error of who types leaves it."""

    def __init__(self, names: Mapping[str, Any], doors: set[Door]) -> None:
        super().__init__(Prompt, {**names, "exit": self._leave, "quit": self._leave})
        self.plain = False
        self.names = names
        self._doors = doors
        self._began = False
        self._unfinished = b""

    def connectionMade(self) -> None:
        """Somebody is here."""
        _log.info("manhole: a prompt was opened")
        self._doors.add(self)
        super().connectionMade()

    def connectionLost(self, reason: Any) -> None:
        """They have left."""
        _log.info("manhole: a prompt was closed")
        self._doors.discard(self)
        super().connectionLost(reason)

    def dataReceived(self, data: bytes) -> None:
        """Keys of a terminal, or lines."""
        if self.transport.disconnecting:
            return
        try:
            if not self._began:
                self._began = True
                if data.startswith(PLAIN):
                    self.plain = True
                    self.transport.write(PLAIN)
                    data = data[1:]
            if self.plain:
                self._lines_received(data)
            else:
                super().dataReceived(data)
        except Exception:
            _log.failure("manhole: a prompt broke")
            self.transport.loseConnection()

    def loseConnection(self) -> None:
        """Close it; the terminal goes on behind the last line."""
        if not self.plain:
            self.resetModes([modes.IRM])
            self.nextLine()
        self.transport.loseConnection()

    def _leave(self, *_: object) -> None:
        """``exit()`` and ``quit()``."""
        raise SystemExit

    def _lines_received(self, data: bytes) -> None:
        *lines, self._unfinished = (self._unfinished + data).split(b"\n")
        end = self._unfinished.endswith(END)
        if end:  # what is unfinished is finished now, a block as well
            lines += [self._unfinished[:-1], b""]
        elif len(self._unfinished) > LONGEST_LINE:
            raise ValueError("a line without end")
        for line in lines:
            if self.transport.disconnecting:
                return
            self._line_received(line.removesuffix(b"\r"))
        if end:
            self.loseConnection()

    def _line_received(self, line: bytes) -> None:
        interpreter = self.terminalProtocol.interpreter
        if not line and not interpreter.buffer:
            return
        self.lastWrite = b"\n"
        interpreter.push(line.decode("utf-8", "replace").encode())
        if not self.lastWrite.endswith(b"\n"):
            self.nextLine()
