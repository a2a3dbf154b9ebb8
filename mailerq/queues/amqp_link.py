"""One connection to an AMQP broker, from the first byte to the last: txAMQP with the frames and waits made ours.

The only module that imports txamqp. Connection start and tune, and every method with an answer, go through txAMQP's
generated methods and its delegate; frames in and out, heartbeats and deadlines are ours (see ``frames``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IPushProducer, ITCPTransport
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure
from txamqp import spec as txamqp_spec
from txamqp.client import TwistedDelegate, TwistedEvent
from txamqp.message import Message
from txamqp.protocol import AMQChannel, AMQClient, FrameReceiver
from zope.interface import implementer

from mailerq.queues import frame_reader, frames, methods

RPC_DEADLINE = 30.0
CLOSE_DEADLINE = 5.0
FLUSH_AT = 1 << 17  # bytes that are not kept until the end of the turn
LARGEST_FRAME = 1 << 17
CHANNELS = 2047
MAIN = 1  # the channel for consuming, publishing and settling

CAPABILITIES = {
    "publisher_confirms": True,
    "basic.nack": True,
    "consumer_cancel_notify": True,
    "connection.blocked": True,
    "authentication_failure_close": True,
    "exchange_exchange_bindings": True,
}

log = Logger()


class LinkLost(Exception):
    """The connection ended, or one of its waits."""


class Refusal(Exception):
    """The broker closed a channel or the connection: ``code`` and ``text`` of its close method."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code} {text}")
        self.code = code
        self.text = text


class LinkUser:
    """Who is told what comes over a link. Hooks, all of them; none may raise. Nothing is told after ``link_lost``."""

    def delivered(self, tag: int, redelivered: int, properties: bytes, body: bytes) -> None:
        """basic.deliver."""

    def confirmed(self, tag: int, multiple: int) -> None:
        """basic.ack of what we published."""

    def refused(self, tag: int, multiple: int) -> None:
        """basic.nack of what we published."""

    def returned(self, queue: str, text: str, properties: bytes, body: bytes) -> None:
        """basic.return."""

    def cancelled(self, tag: str) -> None:
        """basic.cancel: the queue that this consumer of ours takes from is gone."""

    def blocked(self, reason: str | None) -> None:
        """connection.blocked, or None: unblocked."""

    def flow(self, free: bool) -> None:
        """Whether the transport wants more bytes."""

    def before_flush(self) -> None:
        """What is collected now still goes out with this turn's write."""

    def link_lost(self, reason: str) -> None:
        """The connection has ended. Called once, if the login was begun."""


@cache
def specification() -> Any:
    """AMQP 0-9-1 as txAMQP wants it, read once."""
    return txamqp_spec.load(str(Path(__file__).with_name("amqp091.xml")))


class _Waiting:
    """A method that awaits its answer."""

    __slots__ = ("deferred", "methods", "timer")

    def __init__(self, methods: list[Any], deferred: Deferred[Any]) -> None:
        self.methods = methods
        self.deferred: Deferred[Any] | None = deferred
        self.timer: Any = None

    def end(self, result: Any) -> bool:
        """Tell the caller, unless the deadline did so before or the caller has gone; whether it was told."""
        if self.timer is not None and self.timer.active():
            self.timer.cancel()
        deferred, self.deferred = self.deferred, None
        if deferred is None or deferred.called:
            return False
        if isinstance(result, Exception):
            deferred.errback(result)
        else:
            deferred.callback(result)
        return True


class LinkChannel(AMQChannel):  # type: ignore[misc]
    """A channel whose calls have a deadline and fail when it is closed. Answers come in the order of the calls."""

    def __init__(self, id: int, outgoing: object, client: Link) -> None:
        # Not AMQChannel's: its queues would install the global reactor.
        self.id = id
        self.client = client
        self.closed = False
        self.reason: Exception | None = None
        self.waiting: deque[_Waiting] = deque()

    def invoke(self, method: Any, args: tuple[Any, ...], content: object = None) -> Deferred[Any]:
        """Send a method; its answer as a txAMQP message. The generated methods come here."""
        if self.closed:
            return fail(self.reason or LinkLost("the channel is closed"))
        try:
            frame = methods.encode_method(
                self.id, (method.klass.id, method.id), [field.type for field in method.fields], args
            )
        except ValueError as problem:
            return fail(problem)
        deferred: Deferred[Any] = Deferred()
        names = [field.name for field in method.fields]
        if method.responses and not ("no-wait" in names and args[names.index("no-wait")]):
            waiting = _Waiting(method.responses, deferred)
            waiting.timer = self.client.clock.callLater(RPC_DEADLINE, self._overdue, waiting, method)
            self.waiting.append(waiting)
        else:
            deferred.callback(None)
        self.client.send(frame)
        return deferred

    def answered(self, message: Any) -> bool:
        """The answer to the oldest call; whether anybody still wants it."""
        if not self.waiting or message.method not in self.waiting[0].methods:
            raise frames.FrameError(
                f"an answer that nobody asked for: {message.method.klass.name}.{message.method.name}"
            )
        return self.waiting.popleft().end(message)

    def do_close(self, reason: Any) -> None:
        """The channel has ended: its calls fail."""
        if self.closed:
            return
        self.closed = True
        self.reason = reason if isinstance(reason, Exception) else LinkLost(str(reason))
        self.client.channels.pop(self.id, None)
        while self.waiting:
            self.waiting.popleft().end(self.reason)

    def _overdue(self, waiting: _Waiting, method: Any) -> None:
        """No answer. While the broker blocks us (it reads nothing then) only the call fails, its answer may come."""
        text = f"the broker did not answer {method.klass.name}.{method.name} within {RPC_DEADLINE:.0f} seconds"
        waiting.end(LinkLost(text))
        if not self.client.is_blocked:
            self.client.abort(text)


class LinkDelegate(TwistedDelegate):  # type: ignore[misc]
    """What the broker asks of us by itself."""

    def connection_start(self, channel: Any, message: Any) -> None:
        """Who we are and what we can."""
        if b"PLAIN" not in message.mechanisms.split():
            self.client.abort("the broker does not offer the PLAIN mechanism")
            return
        channel.connection_start_ok(
            client_properties={"product": "mailerq", "platform": "Twisted", "capabilities": CAPABILITIES},
            mechanism="PLAIN",
            response=self.client.response,
            locale="en_US",
        )
        self.client.response = ""

    def connection_tune(self, channel: Any, message: Any) -> None:
        """The smaller of both wishes, 0 being none."""
        link = self.client
        link.frame_max = min(message.frame_max or LARGEST_FRAME, LARGEST_FRAME)
        link.channel_max = min(message.channel_max or CHANNELS, CHANNELS)
        wishes = [wish for wish in (message.heartbeat, link.wanted_heartbeat) if wish]
        link.heartbeatInterval = min(wishes) if wishes else 0
        channel.connection_tune_ok(link.channel_max, link.frame_max, link.heartbeatInterval)
        link.tuned()

    def connection_close(self, channel: Any, message: Any) -> None:
        """The broker ends the connection and says why."""
        channel.connection_close_ok()
        self.client.flush()
        self.client.do_close(Refusal(message.reply_code, message.reply_text))

    def channel_close(self, channel: Any, message: Any) -> None:
        """The broker ends a channel and says why. Without the main one the link is of no use."""
        channel.channel_close_ok()
        reason = Refusal(message.reply_code, message.reply_text)
        channel.do_close(reason)
        if channel.id == MAIN:
            self.client.do_close(reason)

    def basic_cancel(self, channel: Any, message: Any) -> None:
        """The queue is gone."""
        self.client.user.cancelled(message.consumer_tag)

    def basic_nack(self, channel: Any, message: Any) -> None:
        """What we published was not taken."""
        self.client.user.refused(message.delivery_tag, message.multiple)

    def connection_blocked(self, channel: Any, message: Any) -> None:
        """The broker is short of memory or disk and reads nothing from us."""
        self.client.is_blocked = True
        self.client.user.blocked(message.reason or "no reason given")

    def connection_unblocked(self, channel: Any, message: Any) -> None:
        """It reads again."""
        self.client.is_blocked = False
        self.client.user.blocked(None)

    def close(self, reason: Any) -> None:
        """The transport goes too."""
        self.client.ended(reason)


@implementer(IPushProducer)
class _Brake:
    """Told by the transport when it has too much to write. (AMQClient's own pauseProducing would stop reading.)"""

    def __init__(self, link: Link) -> None:
        self._link = link

    def pauseProducing(self) -> None:
        self._link.user.flow(False)

    def resumeProducing(self) -> None:
        self._link.user.flow(True)

    def stopProducing(self) -> None:
        """``connectionLost`` follows."""


class Link(AMQClient):  # type: ignore[misc]
    """A connection. ``login`` first; then ``channels[MAIN]`` and those of ``open_channel`` can be used."""

    channelClass = LinkChannel

    def __init__(self, reactor: Any, heartbeat: float, user: LinkUser) -> None:
        # Not AMQClient's: its queues would install the global reactor, its timers start before there is a connection.
        FrameReceiver.__init__(self, specification())
        self.delegate = LinkDelegate()
        self.delegate.client = self
        self.channelFactory = type("Channel", (LinkChannel, self.spec.klass), {})
        self.channels: dict[int, Any] = {}
        self.clock = reactor
        self.user = user
        self.wanted_heartbeat = min(int(heartbeat) or (1 if heartbeat else 0), 65535)
        self.heartbeatInterval = 0
        self.frame_max = LARGEST_FRAME
        self.channel_max = CHANNELS
        self.started = TwistedEvent()
        self.closed = False
        self.is_blocked = False
        self.response = ""
        self._reader = frame_reader.Reader(user.delivered, user.confirmed, self._content, self._method)
        self._out: list[bytes] = []
        self._size = 0
        self._flush_call: Any = None
        self._reading = False
        self._beat: Any = None
        self._last: Any = None
        self._heard = self._spoke = True
        self._silent = 0
        self._gone: Deferred[None] = Deferred()

    # -- bytes

    def connectionMade(self) -> None:
        self.transport.registerProducer(_Brake(self), True)
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)  # we write once a turn; nothing to wait for
            self.transport.setTcpKeepAlive(True)
        self._channel(0)
        self.send_init_string()

    def send_init_string(self) -> None:
        """The header of 0-9-1."""
        self.transport.write(frames.PROTOCOL_HEADER)

    def dataReceived(self, data: bytes) -> None:
        self._heard = True
        self._reading = True
        try:
            self._reader.feed(data)
        except ValueError as problem:
            self.abort(str(problem))
        except Exception as problem:
            log.failure("what the broker sent could not be used")
            self.abort(f"what the broker sent could not be used ({type(problem).__name__})")
        self._reading = False
        self.flush()

    def send(self, frame: bytes) -> None:
        """One frame, with this turn's write."""
        self.send_all((frame,), len(frame))

    def send_all(self, frames: Sequence[bytes], size: int) -> None:
        """Several pieces, ``size`` bytes together."""
        self._out += frames
        self._size += size
        if self._size > FLUSH_AT:
            self.flush()
        elif not self._reading and self._flush_call is None:
            self._flush_call = self.clock.callLater(0, self._turn_ends)

    def _turn_ends(self) -> None:
        self._flush_call = None
        self.flush()

    def flush(self) -> None:
        """Write what is collected."""
        if self.closed:
            self._out.clear()
            return
        self.user.before_flush()
        if self._out and not self.closed:
            out, self._out = self._out, []
            self._size = 0
            self._spoke = True
            self.transport.write(b"".join(out))

    def flush_soon(self) -> None:
        """``before_flush`` is called within this turn."""
        if not self._reading and self._flush_call is None and not self.closed:
            self._flush_call = self.clock.callLater(0, self._turn_ends)

    # -- methods

    def _channel(self, number: int) -> Any:
        channel = self.channels[number] = self.channelFactory(number, None, self)
        return channel

    def _method(self, number: int, payload: bytes) -> None:
        channel = self.channels.get(number)
        if channel is None:
            return  # late, of a channel that is closed
        message = self._message(payload)
        if message.method.response:
            channel.answered(message)
        else:
            self.delegate.dispatch(channel, message)

    def _message(self, payload: bytes) -> Any:
        try:
            method = self.spec.classes.byid[int.from_bytes(payload[:2], "big")].methods.byid[
                int.from_bytes(payload[2:4], "big")
            ]
        except KeyError:
            raise frames.FrameError(f"a method that is not known: {payload[:4].hex()}") from None
        return Message(method, methods.decode_arguments([field.type for field in method.fields], payload))

    def _content(self, number: int, payload: bytes, properties: bytes, body: bytes) -> None:
        message = self._message(payload)
        if message.method.name == "return":
            self.user.returned(message.routing_key, message.reply_text, properties, body)
            return
        channel = self.channels.get(number)
        if channel is not None:
            message.content = (properties, body)
            if not channel.answered(message):
                self.send(frames.reject_frame(number, message.delivery_tag))

    # -- life

    async def login(self, user: str, password: str, vhost: str) -> None:
        """Raises Refusal (403 wrong password, 530 wrong vhost) or LinkLost. Opens the main channel."""
        self.response = f"\0{user}\0{password}"
        if self.closed:
            raise LinkLost("the connection was closed")
        await self.started.wait()
        await self.channels[0].connection_open(vhost)
        main = self._channel(MAIN)
        await main.channel_open()
        await main.confirm_select()

    def tuned(self) -> None:
        """What both sides want is known."""
        self._reader.largest = self.frame_max + 8
        if self.heartbeatInterval:
            self._beat = self.clock.callLater(self.heartbeatInterval / 2, self._heartbeat)
        self.started.fire()

    async def open_channel(self) -> Any:
        """A channel beside the main one; close it with ``close_channel``."""
        number = next((n for n in range(MAIN + 1, self.channel_max + 1) if n not in self.channels), None)
        if number is None:
            raise LinkLost("no channel is free")
        channel = self._channel(number)
        await channel.channel_open()
        return channel

    async def close_channel(self, channel: Any) -> None:
        """Close one of ``open_channel``; closed already is fine."""
        if not channel.closed:
            await channel.channel_close(200, "done")
            channel.do_close(LinkLost("closed"))

    def _heartbeat(self) -> None:
        """Twice an interval: speak if we said nothing since the last time; give up after two intervals of silence."""
        self._silent = 0 if self._heard else self._silent + 1
        self._heard = False
        if self._silent >= 4:
            self._beat = None
            self.abort(f"nothing came from the broker for {2 * self.heartbeatInterval} seconds")
            return
        self._beat = self.clock.callLater(self.heartbeatInterval / 2, self._heartbeat)
        if not self._spoke:
            self.transport.write(frames.HEARTBEAT_FRAME)
        self._spoke = False

    def abort(self, reason: str) -> None:
        """Give the connection up at once."""
        if not self.closed:
            self.do_close(LinkLost(reason))
        self.transport.abortConnection()

    def do_close(self, reason: Any) -> None:
        """Everything ends: channels, calls, the transport."""
        if not self.closed:
            self.ended(reason)

    def ended(self, reason: Any) -> None:
        """Tell all who wait, once."""
        self.closed = True
        self._reader.stopped = True
        for timer in (self._beat, self._flush_call):
            if timer is not None and timer.active():
                timer.cancel()
        self._beat = self._flush_call = None
        problem = reason if isinstance(reason, Exception) else LinkLost(str(reason))
        self.started.fail_if_not_fired(problem)
        for channel in list(self.channels.values()):
            channel.do_close(problem)
        self.transport.unregisterProducer()  # a transport with a producer would wait for it
        self.transport.loseConnection()
        self._last = self.clock.callLater(CLOSE_DEADLINE, self.transport.abortConnection)
        self.user.link_lost(str(problem))

    def connectionLost(self, reason: Failure) -> None:
        self.do_close(LinkLost(reason.getErrorMessage()))
        if self._last.active():
            self._last.cancel()
        self._gone.callback(None)

    async def quit(self, within: float) -> None:
        """connection.close and its answer, then the end of the connection; by force after ``within`` seconds."""
        timer = self.clock.callLater(within, self.abort, "the broker did not close in time")
        try:
            if not self.closed:
                await self.channels[0].connection_close(200, "bye")
                self.flush()
                self.do_close(LinkLost("closed by us"))
        except (LinkLost, Refusal):
            pass
        await self._gone
        if timer.active():
            timer.cancel()


class LinkFactory(Factory):
    """Makes links."""

    noisy = False

    def __init__(self, make: Callable[[], Link]) -> None:
        self._make = make

    def buildProtocol(self, addr: object) -> Link:
        return self._make()
