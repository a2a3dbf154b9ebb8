"""Give a mail server messages over SMTP, over several connections at once, pipelined where it offers that.

    python injector.py PORT COUNT SIZE DOMAINS CONNECTIONS

One transaction for each message, connections kept. Ends with status 1 and the server's words if one is refused.
"""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])  # the checkout, not this folder

from benchmarks.compare.messages import SENDER, message, recipient

# What is sent, and how many replies are needed before the next.
Step = tuple[bytes, int]


def talk(numbers: Iterator[int], mail: bytes, domains: int) -> Generator[Step, bytes, None]:
    """A whole session; is sent the replies to each step. ``numbers``: the messages that are still to be sent."""
    yield b"", 1
    pipelined = b"PIPELINING" in (yield b"EHLO injector.example\r\n", 1).upper()
    for number in numbers:
        envelope = [b"MAIL FROM:<%s>\r\n" % SENDER.encode(), b"RCPT TO:<%s>\r\n" % recipient(number, domains).encode()]
        commands = [*envelope, b"DATA\r\n"]
        if pipelined:
            yield b"".join(commands), len(commands)
        else:
            for command in commands:
                yield command, 1
        yield mail, 1
    yield b"QUIT\r\n", 1


def complete(replies: bytes) -> int:
    """How many whole replies these are; ValueError if one of them is a refusal, or none at all."""
    count = 0
    for line in replies.split(b"\n")[:-1]:
        if line[:1] not in b"23" or not line:
            raise ValueError(line.decode("ascii", "replace").strip())
        count += line[3:4] != b"-"
    return count


class Connection:
    """One session over one socket."""

    def __init__(self, port: int, script: Generator[Step, bytes, None]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.script = script
        self.replies = b""
        self.wanted = next(script)[1]

    def read(self) -> bool:
        """Something came. False: that was the end of the session."""
        received = self.socket.recv(65536)
        if not received:
            raise ValueError("the server hung up")
        self.replies += received
        if complete(self.replies) < self.wanted:
            return True
        try:
            text, self.wanted = self.script.send(self.replies)
        except StopIteration:
            self.socket.close()
            return False
        self.replies = b""
        self.socket.sendall(text)
        return True


def inject(port: int, count: int, size: int, domains: int, connections: int) -> None:
    """Return when all are accepted; ValueError or OSError if one is not."""
    mail = message(size).encode() + b".\r\n"
    numbers = iter(range(count))
    poll = select.epoll()
    opened = {}
    for _ in range(connections):
        connection = Connection(port, talk(numbers, mail, domains))
        opened[connection.socket.fileno()] = connection
        poll.register(connection.socket, select.EPOLLIN)
    while opened:
        for number, _ in poll.poll():
            if not opened[number].read():  # a closed socket leaves the poll by itself
                del opened[number]


if __name__ == "__main__":
    try:
        inject(*map(int, sys.argv[1:6]))
    except (ValueError, OSError) as error:
        sys.exit(f"injector: {error}")
