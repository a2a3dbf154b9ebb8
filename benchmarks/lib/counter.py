"""Counts what Python does, by room: calls of functions (Python's and C's), and bytecodes.

What the benchmark's own files do does not count; that they are called by the engine does, as ``reactor``: it stands for
what a real reactor or transport would have been asked.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

OURS = str(Path(__file__).resolve().parent.parent) + "/"
ENGINE = str(Path(__file__).resolve().parent.parent.parent / "mailerq") + "/"
REACTOR = "reactor"


def room_of(filename: str) -> str:
    """The engine's own file, or its package; ``twisted``; else ``libraries``; an empty string for what is ours."""
    if filename.startswith(OURS):
        return ""
    if filename.startswith(ENGINE):
        first, slash, _ = filename.removeprefix(ENGINE).partition("/")
        return first + slash
    return "twisted" if "/twisted/" in filename else "libraries"


class Counting:
    """Counts while it is entered, in the thread that enters it. ``calls`` and ``bytecodes`` are by room; one of them
    stays empty. ``functions`` counts the calls by what is called."""

    def __init__(self, bytecodes: bool) -> None:
        self.calls: Counter[str] = Counter()
        self.bytecodes: Counter[str] = Counter()
        self.functions: Counter[str] = Counter()
        self._rooms: dict[str, str] = {}
        self._tracers: dict[str, Callable[..., Any]] = {}
        self._by_opcode = bytecodes

    def __enter__(self) -> None:
        if not self._by_opcode:
            sys.setprofile(self._profiled)
            return
        frame = sys._getframe(1)
        while frame is not None:  # a thread is in the midst of its work
            self._traced(frame, "call", None, again=True)
            frame = frame.f_back  # type: ignore[assignment]
        sys.settrace(self._traced)

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        sys.setprofile(None)
        sys.settrace(None)

    def _room(self, frame: FrameType) -> str:
        name = frame.f_code.co_filename
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = room_of(name)
        return room

    def _profiled(self, frame: FrameType, event: str, called: Any) -> None:
        if event == "call":
            room = self._room(frame)
            if not room:
                caller = frame.f_back
                if caller is None or not self._room(caller):
                    return
                room = REACTOR
            self.calls[room] += 1
            self.functions[f"{room} {frame.f_code.co_qualname}"] += 1
        elif event == "c_call":
            room = self._room(frame)
            if room:
                self.calls[room] += 1
                self.functions[f"{room} {frame.f_code.co_qualname} > {called.__qualname__}"] += 1

    def _traced(self, frame: FrameType, event: str, _: Any, again: bool = False) -> Any:
        room = self._room(frame)
        if not room:
            return None
        tracer = self._tracers.get(room)
        if tracer is None:
            tracer = self._tracers[room] = self._tracer(room)
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if again:
            frame.f_trace = tracer
        return tracer

    def _tracer(self, room: str) -> Callable[..., Any]:
        bytecodes = self.bytecodes

        def trace(frame: FrameType, event: str, _: Any) -> Any:
            if event == "opcode":
                bytecodes[room] += 1
            return trace

        return trace
