"""Print what lies in a queue, one body a line, and remove what was printed."""

from __future__ import annotations

import argparse
import json
import os
import sys
import zlib
from collections.abc import Sequence
from typing import Any

from mailerq.commands import Failed, queue_name
from mailerq.commands.access import Access, Held, with_access
from mailerq.queues import configured

BATCH = 500
LOOK_AGAIN = 0.2  # seconds, with --follow
LARGEST = 1 << 30  # of an unpacked body


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """QUEUE, -n, --follow, --peek."""
    parser.add_argument("queue", metavar="QUEUE", type=queue_name)
    parser.add_argument("-n", metavar="N", type=_count, default=None, help="so many at most")
    parser.add_argument("--follow", action="store_true", help="wait for more instead of ending when the queue is empty")
    parser.add_argument("--peek", action="store_true", help="leave them in the queue")


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no number")
    return int(text)


def run(arguments: argparse.Namespace, settings: Any) -> int:
    """Until the queue is empty, or ``-n`` are printed."""
    if arguments.follow and arguments.peek:
        raise Failed("--follow and --peek do not go together")
    printer = Printer(1)
    with_access(settings, lambda access: _consume(access, arguments, configured(settings.queues), printer))
    return 0


async def _consume(access: Access, arguments: argparse.Namespace, names: Sequence[str], printer: Printer) -> None:
    queue = arguments.queue
    if queue not in names and not await access.states([queue]):
        raise Failed(f"there is no queue {queue!r} (configured are: {', '.join(names)})")
    left = arguments.n if arguments.n is not None else sys.maxsize
    if arguments.peek:
        await _peek(access, queue, left, printer)
        return
    while left > 0:
        taken = await access.take(queue, min(left, BATCH))
        left -= len(taken)
        if taken:
            printed = await access.blocking(printer.print, taken)
            await access.settle(taken[:printed])
            if printed < len(taken):
                await access.give_back(taken[printed:])
                printer.complain()
                return
        elif arguments.follow:
            await access.sleep(LOOK_AGAIN)
        else:
            return


async def _peek(access: Access, queue: str, left: int, printer: Printer) -> None:
    if left <= 0:
        return
    async for held in access.peek(queue):
        if not await access.blocking(printer.print, [held]):
            printer.complain()
            return
        left -= 1
        if left <= 0:
            return


class Printer:
    """Writes bodies to a file descriptor, and knows how many have got there."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._trouble = ""

    def complain(self) -> None:
        """Raise ``Failed`` if writing failed by more than that nobody reads any more."""
        if self._trouble:
            raise Failed(f"standard output: {self._trouble}")

    def print(self, some: Sequence[Held]) -> int:
        """How many were written to their end: fewer than all if nobody reads any more, or writing fails."""
        lines = [line(held) for held in some]
        written = self._write(b"".join(lines))
        count = 0
        for one in lines:
            written -= len(one)
            if written < 0:
                break
            count += 1
        return count

    def _write(self, content: bytes) -> int:
        view, written = memoryview(content), 0
        try:
            while written < len(view):
                written += os.write(self._descriptor, view[written : written + 65536])
        except BrokenPipeError:
            pass
        except OSError as error:
            self._trouble = error.strerror or str(error)
        return written


def line(held: Held) -> bytes:
    """A body as one line: unpacked; JSON with line breaks is joined to one line; anything else as it is."""
    body = held.body
    if held.encoding == "gzip":
        body = _unpacked(body)
    if b"\n" in body or b"\r" in body:
        body = _joined(body)
    return body + b"\n"


def _unpacked(body: bytes) -> bytes:
    """What was compressed; what cannot be unpacked stays as it is."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        unpacked = unpacker.decompress(body, LARGEST)
    except zlib.error:
        return body
    return unpacked if unpacker.eof else body


def _joined(body: bytes) -> bytes:
    """JSON has line breaks only between its parts, where they and the indentation mean nothing: without them it is the
    same, each number and string as it was written."""
    try:
        json.loads(body, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return body
    return b"".join(part.strip(b" \t") for part in body.replace(b"\r", b"\n").split(b"\n"))
