"""``python -m mailerq.demo.sink [PORT]``: a mail host for trying things out. It takes every mail, and prints it."""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.error import CannotListenError

from mailerq.demo.hosts import Host
from mailerq.demo.script import Script


class Sink(Host):
    """Prints what it takes, keeps nothing."""

    def keep(self, recipient: str, message: bytes) -> None:
        print(f"--- for {recipient}\n{message.decode('utf-8', 'replace')}".replace("\r\n", "\n"), flush=True)


def main(arguments: list[str]) -> int:
    """Listen on loopback until Ctrl-C; the status of the program."""
    from twisted.internet import reactor as the_reactor

    reactor: Any = the_reactor
    port = int(arguments[0]) if arguments else 2525
    try:
        reactor.listenTCP(port, Sink(reactor, Script("sink.example", "", 0, pipelining=True)), interface="127.0.0.1")
    except CannotListenError as error:
        print(f"{error} Name another port.", file=sys.stderr)
        return 1
    print(f"taking mail on 127.0.0.1 port {port}; Ctrl-C ends it", flush=True)
    reactor.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
