"""A scripted mail host, in memory or on a real socket, and a network in memory to reach it by.

    net = Net()                                              # a Clock with connectTCP
    mx = net.add("192.0.2.1", Mx(script={"rcpt": {"nobody": "5xx"}, "end": ["accept", "4xx"]}))
    ... HostFactory(net, owner, None, ConnectOptions("192.0.2.1")).connect()
    net.run()                                                # until nothing moves; net.run(60) lets a minute pass
    mx.mails[0].recipients, mx.mails[0].message, mx.talk

On a real socket: ``port = Mx(reactor, …).listen()``; ``port.getHost().port``; ``port.stopListening()`` (a Deferred),
``mx.drop()`` closes what is still open.

A script says what happens at a step: ``greeting ehlo helo starttls auth mail rcpt data end rset idle quit`` (``end`` is
the final dot; ``idle`` happens by itself, ``idle_after`` seconds after a message was answered). Its value is

- a behaviour, every time; or
- a list: the n-th time the n-th, over all connections; after the last of them ``accept``; or
- for ``rcpt``, a dict: by local part of the recipient (``*`` for the others); for ``mail``, of the sender; or
- a function of the command line (bytes) that returns a behaviour.

A behaviour is

- ``accept``: what a well-behaved host does (also where the script says nothing);
- ``4xx``, ``5xx``: a refusal with an enhanced code; ``421``: that reply, then close;
- a string that begins with three digits: that reply (lines separated by ``\\n`` become one reply of several lines);
- bytes: written as they are;
- ``silence``: nothing more on this connection, ever; ``close``; ``reset`` (RST);
- ``endless``: a line that is longer than anybody reads; ``garbage``: a line that is no reply; ``latin1``: a reply
  of 250 (354, 220) with Latin-1 bytes in it; ``twice``: the accepting reply, two times in one write;
- ``drip``: the accepting reply in single bytes, a millisecond apart;
- a tuple of those: one after the other, as in ``("5xx", "close")``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet import error
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IReactorTCP, ITransport
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

EXTENSIONS = ("PIPELINING", "SIZE 10485760", "8BITMIME", "ENHANCEDSTATUSCODES", "SMTPUTF8")
REFUSALS = {
    "4xx": b"450 4.2.0 Not now\r\n",
    "5xx": b"550 5.1.1 Not here\r\n",
    "421": b"421 4.3.2 Closing\r\n",
}
ACCEPTED = {
    "mail": b"250 2.1.0 Sender fine\r\n",
    "rcpt": b"250 2.1.5 Recipient fine\r\n",
    "data": b"354 Go ahead\r\n",
    "rset": b"250 2.0.0 Forgotten\r\n",
    "quit": b"221 2.0.0 Bye\r\n",
    "starttls": b"220 2.0.0 Begin\r\n",
    "auth": b"235 2.7.0 Welcome\r\n",
}


@attrs.define
class Received:
    """A message that was answered with 2xx. ``message`` is without dot-stuffing, ``raw`` as it came, both with the
    last CRLF and without the final dot. ``parameters`` are those of MAIL FROM, ``secure`` whether TLS was on."""

    sender: str
    recipients: list[str]
    parameters: list[str]
    message: bytes
    raw: bytes
    secure: bool


class Mx(Factory):
    """The host: ``mails`` (Received), ``talk`` (lines ``C: …`` and ``S: …``), ``connections`` (all there were),
    ``open`` (how many now). ``certificate`` is what ``tests.certificates.Certificate`` makes: STARTTLS is offered
    then. ``users`` is name → password for AUTH. ``script`` may be changed at any time."""

    noisy = False

    def __init__(
        self,
        clock: Any = None,
        *,
        script: dict[str, Any] | None = None,
        extensions: tuple[str, ...] = EXTENSIONS,
        certificate: Any = None,
        users: dict[str, str] | None = None,
        name: str = "mx.test",
        idle_after: float = 0.0,
    ) -> None:
        self.clock = clock
        self.script = script or {}
        self.extensions = extensions
        self.certificate = certificate
        self.users = users
        self.name = name
        self.idle_after = idle_after
        self.mails: list[Received] = []
        self.talk: list[str] = []
        self.connections: list[Session] = []
        self.counts: dict[str, int] = {}

    @property
    def open(self) -> int:
        return sum(session.connected for session in self.connections)

    def listen(self, port: int = 0, interface: str = "127.0.0.1") -> Any:
        """Listen on a real socket of ``clock``, which must be a reactor."""
        return self.clock.listenTCP(port, self, interface=interface)

    def drop(self) -> None:
        """Abort all open connections."""
        for session in self.connections:
            if session.connected:
                session.transport.abortConnection()

    def buildProtocol(self, addr: Any) -> Session:
        session = Session(self)
        self.connections.append(session)
        return session

    def behaviour(self, step: str, line: bytes, key: str = "") -> Any:
        """What the script says about this step, this time."""
        said = self.script.get(step, "accept")
        nth = self.counts[step] = self.counts.get(step, 0) + 1
        if isinstance(said, dict):
            said = said.get(key, said.get("*", "accept"))
        if isinstance(said, list):
            said = said[nth - 1] if nth <= len(said) else "accept"
        return said(line) if callable(said) else said


class Session(Protocol):
    """One connection to the host."""

    transport: Any

    def __init__(self, mx: Mx) -> None:
        self.mx = mx
        self.buffer = b""
        self.secure = False
        self.mute = False
        self.name = ""
        self.login: list[bytes] | None = None
        self.forget()
        self.slow = bytearray()

    def forget(self) -> None:
        """No transaction is open."""
        self.sender: str | None = None
        self.recipients: list[str] = []
        self.parameters: list[str] = []
        self.in_message = False

    # reading

    def connectionMade(self) -> None:
        self.step("greeting", b"", b"220 %b ESMTP\r\n" % self.mx.name.encode())

    def dataReceived(self, data: bytes) -> None:
        self.buffer += data
        while not self.mute and self.connected:
            if self.in_message:
                if not self.message_ended():
                    return
            else:
                line, found, rest = self.buffer.partition(b"\r\n")
                if not found:
                    return
                self.buffer = rest
                self.mx.talk.append("C: " + line.decode("utf-8", "replace"))
                self.command(line)

    def message_ended(self) -> bool:
        if self.buffer.startswith(b".\r\n"):
            raw, rest = b"", self.buffer[3:]
        else:
            end = self.buffer.find(b"\r\n.\r\n")
            if end < 0:
                return False
            raw, rest = self.buffer[: end + 2], self.buffer[end + 5 :]
        self.buffer = rest
        self.mx.talk.append(f"C: ({len(raw)} bytes)")
        message = raw.replace(b"\r\n.", b"\r\n")
        message = message[1:] if message.startswith(b".") else message
        received = Received(self.sender or "", self.recipients, self.parameters, message, raw, self.secure)
        self.forget()
        number = len(self.mx.mails) + 1
        reply = b"250 2.0.0 Taken as %d\r\n" % number if received.recipients else b"554 5.5.1 No valid recipients\r\n"
        if self.step("end", b"", reply) == "2":
            self.mx.mails.append(received)
            if "idle" in self.mx.script:
                self.mx.clock.callLater(self.mx.idle_after, self.idle)
        return True

    def command(self, line: bytes) -> None:
        if self.login is not None:
            self.more_login(line)
            return
        verb = line.split(b" ", 1)[0].split(b":")[0].upper().decode("ascii", "replace").lower()
        act = getattr(self, f"on_{verb}", None)
        if act is None:
            self.send(b"500 5.5.1 Never heard of it\r\n")
        else:
            act(line)

    # the steps

    def on_ehlo(self, line: bytes) -> None:
        lines = [self.mx.name, *self.mx.extensions]
        if self.mx.certificate is not None and not self.secure:
            lines.append("STARTTLS")
        if self.mx.users:
            lines.append("AUTH PLAIN LOGIN")
        self.step("ehlo", line, reply_of(250, lines))

    def on_helo(self, line: bytes) -> None:
        self.step("helo", line, b"250 %b\r\n" % self.mx.name.encode())

    def on_starttls(self, line: bytes) -> None:
        said = self.mx.behaviour("starttls", line)
        self.perform(said, "starttls", ACCEPTED["starttls"])
        if said == "accept":
            self.forget()
            self.secure = True
            self.transport.startTLS(self.mx.certificate.context())

    def on_auth(self, line: bytes) -> None:
        words = line.split()
        if words[1].upper() == b"LOGIN":
            self.login = []
            self.send(b"334 VXNlcm5hbWU6\r\n")
        else:
            from base64 import b64decode

            _, name, password = b64decode(words[2]).split(b"\0")
            self.check_login(line, name, password)

    def more_login(self, line: bytes) -> None:
        from base64 import b64decode

        assert self.login is not None
        self.login.append(b64decode(line))
        if len(self.login) == 1:
            self.send(b"334 UGFzc3dvcmQ6\r\n")
        else:
            (name, password), self.login = self.login, None
            self.check_login(line, name, password)

    def check_login(self, line: bytes, name: bytes, password: bytes) -> None:
        good = (self.mx.users or {}).get(name.decode()) == password.decode()
        self.step("auth", line, ACCEPTED["auth"] if good else b"535 5.7.8 Wrong name or password\r\n")

    def on_mail(self, line: bytes) -> None:
        sender, parameters = address_of(line)
        if self.sender is not None:
            self.send(b"503 5.5.1 Sender given already\r\n")
        elif self.step("mail", line, ACCEPTED["mail"], local(sender)) == "2":
            self.sender, self.parameters = sender, parameters

    def on_rcpt(self, line: bytes) -> None:
        recipient, _ = address_of(line)
        if self.sender is None:
            self.send(b"503 5.5.1 Sender first\r\n")
        elif self.step("rcpt", line, ACCEPTED["rcpt"], local(recipient)) == "2":
            self.recipients.append(recipient)

    def on_data(self, line: bytes) -> None:
        good = ACCEPTED["data"] if self.recipients else b"554 5.5.1 No valid recipients\r\n"
        self.in_message = self.step("data", line, good) == "3"

    def on_rset(self, line: bytes) -> None:
        self.forget()
        self.step("rset", line, ACCEPTED["rset"])

    def on_quit(self, line: bytes) -> None:
        said = self.mx.behaviour("quit", line)
        self.perform(said, "quit", ACCEPTED["quit"])
        if said == "accept":
            self.mute = True
            self.transport.loseConnection()

    def idle(self) -> None:
        if self.connected:
            self.step("idle", b"", b"")

    # answering

    def step(self, step: str, line: bytes, accepting: bytes, key: str = "") -> str:
        """Do what the script says; the first digit of the last reply that was written, or an empty string."""
        return self.perform(self.mx.behaviour(step, line, key), step, accepting)

    def perform(self, said: Any, step: str, accepting: bytes) -> str:
        if isinstance(said, tuple):
            return [self.perform(one, step, accepting) for one in said][-1]
        if isinstance(said, bytes):
            return self.send(said)
        if said in REFUSALS:
            digit = self.send(REFUSALS[said])
            if said == "421":
                self.mute = True
                self.transport.loseConnection()
            return digit
        if said[:3].isdigit():
            return self.send(reply_of(int(said[:3]), [one.removeprefix(said[:3])[1:] for one in said.split("\n")]))
        return SPECIAL[said](self, accepting)

    def send(self, reply: bytes) -> str:
        self.mx.talk += ["S: " + one for one in reply[:500].decode("latin-1").splitlines()]
        if self.slow:  # behind what is dripping
            self.slow += reply
        elif reply:
            self.transport.write(reply)
        return reply[:1].decode("latin-1")

    def silence(self, accepting: bytes) -> str:
        self.mute = True
        return ""

    def close(self, accepting: bytes) -> str:
        self.mute = True
        self.transport.loseConnection()
        return ""

    def reset(self, accepting: bytes) -> str:
        self.mute = True
        self.transport.abortConnection()
        return ""

    def drip(self, accepting: bytes) -> str:
        self.mx.talk.append("S: " + accepting.decode("latin-1").strip() + " (dripping)")
        if not self.slow:
            self.mx.clock.callLater(0.001, self.drop)
        self.slow += accepting
        return accepting[:1].decode()

    def drop(self) -> None:
        """One more byte of what is dripping."""
        if self.connected:
            self.transport.write(bytes(self.slow[:1]))
            del self.slow[:1]
            if self.slow:
                self.mx.clock.callLater(0.001, self.drop)

    def connectionLost(self, reason: Failure) -> None:
        self.mute = True
        self.connected = 0


SPECIAL: dict[str, Callable[[Session, bytes], str]] = {
    "accept": Session.send,
    "silence": Session.silence,
    "close": Session.close,
    "reset": Session.reset,
    "drip": Session.drip,
    "endless": lambda session, accepting: session.send((accepting[:4] or b"250 ") + b"x" * 100_000),
    "garbage": lambda session, accepting: session.send(b"Hello there, this is no SMTP\r\n"),
    "latin1": lambda session, accepting: session.send((accepting[:4] or b"250 ") + b"Gr\xfc\xdfe aus K\xf6ln\r\n"),
    "twice": lambda session, accepting: session.send((accepting or b"250 And so on\r\n") * 2),
}


def reply_of(code: int, lines: list[str]) -> bytes:
    """One reply of one line or several."""
    return b"".join(
        b"%d%b%b\r\n" % (code, b" " if number == len(lines) else b"-", line.encode())
        for number, line in enumerate(lines, 1)
    )


def address_of(line: bytes) -> tuple[str, list[str]]:
    """The address between the brackets and the parameters behind them."""
    _, _, rest = line.decode("utf-8", "replace").partition("<")
    address, _, parameters = rest.rpartition(">")
    return address, parameters.split()


def local(address: str) -> str:
    return address.rpartition("@")[0]


# A network in memory


@implementer(IReactorTCP)
class Net(Clock):
    """A reactor whose connections stay in memory. Each write arrives as one ``dataReceived``; with ``chop`` in pieces
    of so many bytes. What has an exception instead of a host is failed with it; what has nothing never answers."""

    def __init__(self, chop: int = 0) -> None:
        super().__init__()
        self.chop = chop
        self.hosts: dict[str, Any] = {}
        self.links: list[Link] = []
        self.connects: list[dict[str, Any]] = []

    def add(self, address: str, host: Any) -> Any:
        """From now on ``host`` (an Mx, or an exception) is at ``address``; returns it."""
        self.hosts[address] = host
        if isinstance(host, Mx) and host.clock is None:
            host.clock = self
        return host

    def connectTCP(self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None) -> Any:
        self.connects.append({"host": host, "port": port, "timeout": timeout, "bindAddress": bindAddress})
        connector = Connector(self, host, port, factory, bindAddress)
        factory.doStart()
        connector.timer = self.callLater(timeout, connector.fail, error.TimeoutError())
        self.callLater(0, connector.go)
        return connector

    def listenTCP(self, *arguments: Any, **keywords: Any) -> Any:
        raise NotImplementedError

    def run(self, seconds: float = 0.0) -> None:
        """Let all that moves come to rest, and let so much time pass meanwhile, from timer to timer."""
        end = self.seconds() + seconds
        self._settle()
        while True:
            times = [call.getTime() for call in self.getDelayedCalls()]
            if not times or min(times) > end:
                break
            self.advance(max(0.0, min(times) - self.seconds()))
            self._settle()
        self.advance(max(0.0, end - self.seconds()))
        self._settle()

    def _settle(self) -> None:
        moved = True
        while moved:
            moved = sum(link.move() for link in self.links) > 0
            self.links = [link for link in self.links if not link.over]


class Connector:
    """What ``Net.connectTCP`` returns."""

    def __init__(self, net: Net, host: str, port: int, factory: Any, source: Any) -> None:
        self.net, self.host, self.port, self.factory, self.source = net, host, port, factory, source
        self.done = False
        self.timer: Any = None
        self.link: Link | None = None

    def go(self) -> None:
        there = self.net.hosts.get(self.host)
        if self.done or there is None:
            return
        if isinstance(there, BaseException):
            self.fail(there)
            return
        self.finish()
        kind = IPv6Address if ":" in self.host else IPv4Address
        here = kind("TCP", self.source[0] if self.source else "192.0.2.250", 40000)
        self.link = Link(self.net, here, kind("TCP", self.host, self.port))
        self.net.links.append(self.link)
        self.link.join(self.factory.buildProtocol(self.link.far), there.buildProtocol(here))

    def finish(self) -> None:
        self.done = True
        if self.timer.active():
            self.timer.cancel()

    def fail(self, problem: BaseException) -> None:
        if not self.done:
            self.finish()
            self.factory.clientConnectionFailed(self, Failure(problem))

    def disconnect(self) -> None:
        if self.link is not None:
            self.link.near_end.loseConnection()
        else:
            self.fail(error.UserError())

    stopConnecting = disconnect

    def getDestination(self) -> Any:
        return IPv4Address("TCP", self.host, self.port)


class Link:
    """Two ends of a connection."""

    def __init__(self, net: Net, near: Any, far: Any) -> None:
        self.net, self.near, self.far = net, near, far
        self.over = False
        self.near_end = End(self, near, far)
        self.far_end = End(self, far, near)
        self.near_end.other, self.far_end.other = self.far_end, self.near_end

    def join(self, client: Any, host: Any) -> None:
        self.near_end.protocol, self.far_end.protocol = client, host
        client.makeConnection(self.near_end)
        host.makeConnection(self.far_end)

    def move(self) -> bool:
        """Carry what was written across; whether anything moved."""
        if self.over:
            return False
        moved = self.near_end.carry() or self.far_end.carry()
        for end in (self.near_end, self.far_end):
            if not self.over and (end.aborting or (end.disconnecting and not end.out and end.producer is None)):
                self.over = True
                mine = error.ConnectionAborted() if end.aborting else error.ConnectionDone()
                its = error.ConnectionLost() if end.aborting else error.ConnectionDone()
                end.connected = end.other.connected = False
                end.disconnected = end.other.disconnected = True
                end.protocol.connectionLost(Failure(mine))
                end.other.protocol.connectionLost(Failure(its))
                return True
        return moved


@implementer(ITransport)
class End:
    """The transport of one side. A producer is paused above 64 KiB, as on Twisted's sockets; ``stuck`` carries
    nothing. ``writes`` counts them."""

    bufferSize = 65536

    def __init__(self, link: Link, here: Any, there: Any) -> None:
        self.link, self.here, self.there = link, here, there
        self.other: Any = None
        self.protocol: Any = None
        self.out: list[bytes] = []
        self.writes = 0
        self.connected = True
        self.disconnected = self.disconnecting = self.aborting = self.stuck = False
        self.producer: Any = None
        self.paused = False

    def write(self, data: bytes) -> None:
        if self.connected and not self.disconnecting and data:
            self.writes += 1
            self.out.append(data)
            if self.producer is not None and sum(map(len, self.out)) > self.bufferSize:
                self.paused = True
                self.producer.pauseProducing()

    def writeSequence(self, pieces: Any) -> None:
        self.write(b"".join(pieces))

    def carry(self) -> bool:
        if not self.out or self.stuck:
            return False
        out, self.out = self.out, []
        for data in out:
            chop = self.link.net.chop or len(data)
            for start in range(0, len(data), chop):
                if self.other.connected and not self.other.aborting:
                    self.other.protocol.dataReceived(data[start : start + chop])
        if self.producer is not None and self.paused:
            self.paused = False
            self.producer.resumeProducing()
        return True

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert streaming and self.producer is None
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def loseConnection(self) -> None:
        self.disconnecting = True

    def abortConnection(self) -> None:
        self.aborting = self.disconnecting = True
        self.out.clear()

    def getHost(self) -> Any:
        return self.here

    def getPeer(self) -> Any:
        return self.there
