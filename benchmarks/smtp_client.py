"""CPU µs a message of the SMTP client by itself, against Postfix's smtp-sink.

    PYTHONPATH=. python benchmarks/smtp_client.py [--messages 40000] [--connections 4] [--size 2048] [--profile]

Needs ``smtp-sink`` (Debian: postfix). The sink runs for this measurement only. What is counted is user and system time
of this process, its owner calls included, from the first mail to the last.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import resource
import shutil
import subprocess
import sys
import time
from typing import Any

from twisted.internet import reactor

from mailerq.smtp.factory import ConnectOptions, HostFactory


class Mail:
    """One of many."""

    __slots__ = ("body", "recipient", "sender")

    def __init__(self, number: int, body: bytes) -> None:
        self.sender = "sender@example.com"
        self.recipient = f"user{number}@example.org"
        self.body = body


class Owner:
    """Gives mails until all are sent, then stops the reactor."""

    def __init__(self, count: int, size: int) -> None:
        line = b"x" * 70 + b"\r\n"
        self.body = b"From: a@example.com\r\nTo: b@example.org\r\nSubject: test\r\n\r\n" + line * (size // 72)
        self.count = count
        self.begun = self.done = self.failures = 0

    def next_mail(self, connection: Any) -> Any:
        if self.begun >= self.count:
            return None
        self.begun += 1
        return Mail(self.begun, self.body)

    def ready(self, connection: Any) -> None:
        mail = self.next_mail(connection)
        connection.give(mail) if mail else connection.quit()

    def message_due(self, connection: Any, mail: Any) -> None:
        pass

    def finished(self, connection: Any, mail: Any, outcome: Any) -> None:
        self.done += 1
        self.failures += outcome.type != "success"
        if self.done == self.count:
            reactor.stop()  # type: ignore[attr-defined]
        elif connection.mail is None and connection.usable:
            self.ready(connection)

    def failed(self, connection: Any, outcome: Any) -> None:
        sys.exit(f"no connection: {outcome}")

    def unsent(self, connection: Any, mail: Any) -> None:
        self.begun -= 1

    def gone(self, connection: Any, outcome: Any) -> None:
        pass


def measure(messages: int, connections: int, size: int, port: int) -> tuple[float, float, int]:
    """µs of CPU a message, messages a second, failures."""
    owner = Owner(messages, size)
    options = ConnectOptions("127.0.0.1", port, security="none")
    for _ in range(connections):
        HostFactory(reactor, owner, None, options).connect()
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    reactor.run()  # type: ignore[attr-defined]
    after, took = resource.getrusage(resource.RUSAGE_SELF), time.monotonic() - began
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used / messages * 1e6, messages / took, owner.failures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=40000)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--port", type=int, default=2599)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    program = shutil.which("smtp-sink", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if program is None:
        sys.exit("smtp-sink is not installed")
    sink = subprocess.Popen([program, "-u", "nobody", f"127.0.0.1:{arguments.port}", "1000"], stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        profile = cProfile.Profile()
        if arguments.profile:
            profile.enable()
        cpu, rate, failures = measure(arguments.messages, arguments.connections, arguments.size, arguments.port)
        profile.disable()
        print(f"{arguments.messages} messages of {arguments.size} bytes over {arguments.connections} connections:")
        print(f"{cpu:.1f} µs of CPU a message, {rate:,.0f} messages a second, {failures} failed")
        if arguments.profile:
            pstats.Stats(profile).sort_stats("tottime").print_stats(25)
    finally:
        sink.terminate()
        sink.wait()


if __name__ == "__main__":
    main()
