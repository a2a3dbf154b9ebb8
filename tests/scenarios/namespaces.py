"""Machines with addresses of their own, on one machine: network namespaces, each with a cable to us."""

from __future__ import annotations

import itertools
import os
import subprocess
from typing import Any

from twisted.internet import reactor as real_reactor
from twisted.internet.task import deferLater
from twisted.protocols.portforward import ProxyFactory

reactor: Any = real_reactor
_numbers = itertools.count(1)


def _ip(*words: str) -> bool:
    try:
        done = subprocess.run(["ip", *words], capture_output=True, stdin=subprocess.DEVNULL, timeout=10, check=False)
    except OSError:
        return False
    return done.returncode == 0


class Namespace:
    """``address`` is its own; ``ours`` the end of the cable that is here."""

    def __init__(self) -> None:
        number = next(_numbers)
        self.name = f"mailerq-{os.getpid()}-{number}"
        self._cable = f"mq{os.getpid() % 100000}x{number}"
        net = f"10.{200 + os.getpid() % 50}.{number}"
        self.address, self.ours = f"{net}.2", f"{net}.1"
        self.command = ("ip", "netns", "exec", self.name)
        self._ports: list[Any] = []
        self._connections: list[Any] = []

    def begin(self) -> bool:
        """Make it. False where that cannot be; then nothing is left of it."""
        steps = (
            ("netns", "add", self.name),
            ("link", "add", self._cable, "type", "veth", "peer", "name", "out", "netns", self.name),
            ("addr", "add", f"{self.ours}/24", "dev", self._cable),
            ("link", "set", self._cable, "up"),
            ("-n", self.name, "addr", "add", f"{self.address}/24", "dev", "out"),
            ("-n", self.name, "link", "set", "out", "up"),
            ("-n", self.name, "link", "set", "lo", "up"),
            ("-n", self.name, "route", "add", "default", "via", self.ours),
        )
        if all(_ip(*step) for step in steps):
            return True
        _ip("netns", "del", self.name)
        return False

    def forward(self, port: int) -> None:
        """Let it reach a port of our loopback, at ``ours``."""
        factory = ProxyFactory("127.0.0.1", port)
        build = factory.buildProtocol

        def remembered(address: Any) -> Any:
            protocol = build(address)
            self._connections.append(protocol)
            return protocol

        factory.buildProtocol = remembered
        self._ports.append(reactor.listenTCP(port, factory, interface=self.ours))

    async def remove(self) -> None:
        """Nothing stays."""
        for port in self._ports:
            await port.stopListening()
        for one in self._connections:
            for end in (one, one.peer):
                if end is not None and end.transport is not None:
                    end.transport.abortConnection()
        await deferLater(reactor, 0.05, lambda: None)
        _ip("netns", "del", self.name)
