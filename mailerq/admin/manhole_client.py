"""The other end of the manhole: a person's terminal, or lines from a program."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import termios
import tty
from collections.abc import Callable

from mailerq.admin.prompt import END, PLAIN

USAGE = """usage: python -m mailerq.admin.manhole PATH
PATH: the socket that `manhole` of the configuration names. Ctrl-D leaves; Ctrl-] does where nothing answers.
Where standard input is no terminal its lines are run, and what they print is printed."""
LEAVE = b"\x1d"  # Ctrl-]
PATIENCE = 60.0  # seconds of silence after the last line was sent


def main() -> None:
    """The command."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(USAGE)
    try:
        with socket.socket(socket.AF_UNIX) as door:
            door.settimeout(PATIENCE)
            door.connect(sys.argv[1])
            if os.isatty(0):
                on_terminal(door)
            else:
                from_program(door)
    except TimeoutError:
        sys.exit(f"{sys.argv[1]}: no answer for {PATIENCE:.0f} seconds")
    except BrokenPipeError:  # who reads us, or the process, is gone
        sys.exit(1)
    except OSError as error:
        sys.exit(f"{sys.argv[1]}: {error.strerror or error}")


def on_terminal(door: socket.socket) -> None:
    """Keys there, what is shown back; the terminal is afterwards as it was before, whatever ends it."""
    before = termios.tcgetattr(0)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    try:
        tty.setraw(0)
        exchange(door, lambda keys: LEAVE not in keys, lambda shown: shown)
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)
        write_all(b"\x1b[4l\x1b[0m\n")  # no insert mode, no colour


def from_program(door: socket.socket) -> None:
    """Lines there, their output back. The greeting, which came before the process knew what we are, is left out."""
    seen = bytearray()
    greeted = False

    def shown(come: bytes) -> bytes:
        nonlocal greeted
        if not greeted:
            seen.extend(come)
            _, mark, come = bytes(seen).partition(PLAIN)
            greeted = bool(mark)
        return come.replace(b"\r", b"")

    door.sendall(PLAIN)
    exchange(door, lambda lines: True, shown)


def exchange(door: socket.socket, goes_on: Callable[[bytes], bool], shown: Callable[[bytes], bytes]) -> None:
    """Standard input to ``door`` and back, until it closes, or ``goes_on`` says no."""
    ends: list[socket.socket | int] = [door, 0]
    while True:
        ready = select.select(ends, [], [], None if 0 in ends else PATIENCE)[0]
        if not ready:
            raise TimeoutError
        if door in ready:
            come = door.recv(65536)
            if not come:
                return
            write_all(shown(come))
        if 0 in ready:
            typed = os.read(0, 65536)
            if not goes_on(typed):
                return
            if not typed:
                ends.remove(0)
            door.sendall(typed or END)


def write_all(content: bytes) -> None:
    """All of it to standard output."""
    while content:
        content = content[os.write(1, content) :]
