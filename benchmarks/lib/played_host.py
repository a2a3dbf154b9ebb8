"""A mail host for ``loop.Loop`` that accepts everything, with pipelining, as ``smtp-sink`` does."""

from __future__ import annotations

from collections.abc import Callable

GREETING = b"220 sink.example ESMTP\r\n"
EHLO = b"250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE 104857600\r\n"
OK = b"250 2.0.0 Ok\r\n"
GO_ON = b"354 End data with <CR><LF>.<CR><LF>\r\n"
ACCEPTED = b"250 2.0.0 Ok: queued as 1\r\n"
BYE = b"221 2.0.0 Bye\r\n"


class PlayedHost:
    """One connection to it. ``accepted`` counts the messages, over all connections of a counting list."""

    write: Callable[[bytes], None]

    def __init__(self, accepted: list[int]) -> None:
        self.accepted = accepted
        self._rest = b""
        self._in_message = False

    def began(self) -> None:
        self.write(GREETING)

    def heard(self, data: bytes) -> None:
        """All replies of a turn go out together."""
        rest = self._rest + data
        replies: list[bytes] = []
        while rest:
            mark = b"\r\n.\r\n" if self._in_message else b"\r\n"
            end = rest.find(mark)
            if end < 0:
                break
            line, rest = rest[:end], rest[end + len(mark) :]
            replies.append(self._answer(line))
        self._rest = rest
        if replies:
            self.write(b"".join(replies))

    def _answer(self, line: bytes) -> bytes:
        if self._in_message:
            self._in_message = False
            self.accepted[0] += 1
            return ACCEPTED
        word = line[:4].upper()
        if word == b"DATA":
            self._in_message = True
            return GO_ON
        return {b"EHLO": EHLO, b"QUIT": BYE}.get(word, OK)
