"""The connections to MongoDB: those of txmongo, which request takes which, and what their errors mean."""

from __future__ import annotations

import struct
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError
from pymongo.errors import AutoReconnect, DuplicateKeyError, OperationFailure, PyMongoError
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as LateError
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.python.failure import Failure
from txmongo.connection import ConnectionPool
from txmongo.filter import ASCENDING, sort
from txmongo.protocol import MongoAuthenticationError, MongoProtocol, Msg

from mailerq.stores.remote import MongoAddress

_CODEC: Any = CodecOptions(tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME_AUTO)
_REFUSED = (PyMongoError, BSONError, MongoAuthenticationError, ConnectError, ConnectionClosed, ConnectionError)


class Line:
    """One connection, made and made again until ``close``. Through the reactor that is installed, as txmongo does."""

    def __init__(self, address: MongoAddress, tls: Any, retry: float) -> None:
        self.reason = ""  # why it could not be made
        concern: dict[str, Any] = {} if "journal=" in address.url else {"j": True}
        if not any(f"{mark}w=" in address.url for mark in "?&"):
            concern["w"] = "majority"
        self._pool: Any = ConnectionPool(
            address.url,
            pool_size=1,
            ssl_context_factory=tls,
            ping_interval=5,
            ping_timeout=10,
            retry_delay=retry,
            max_delay=retry,
            codec_options=_CODEC,
            **concern,
        )
        (self._factory,) = self._pool.getprotocols()
        self._factory.noisy = False
        self._factory.protocol = _Protocol
        self._go_on = self._factory.clientConnectionFailed
        self._factory.clientConnectionFailed = self._not_made
        self._database = self._pool[address.database]
        self._collection = self._database[address.collection]

    def _not_made(self, connector: Any, reason: Failure) -> None:
        self.reason = reason.getErrorMessage()
        self._go_on(connector, reason)

    @property
    def load(self) -> float:
        """How many commands wait for their answer; infinite: there is no connection."""
        there = self._factory.instance
        return float("inf") if there is None else there.inflight()

    def ready(self) -> Deferred[Any]:
        """Fires once there is a connection."""
        made: Deferred[Any] = self._pool.getprotocol()
        return made

    def refused(self) -> str:
        """Why we were not let in; then it is tried again, on another connection. Empty: we were."""
        there = self._factory.instance
        why: str = "" if there is None else there.refused
        if why:
            self.abort()
        return why

    def abort(self) -> None:
        """Another connection is made."""
        if self._factory.instance is not None:
            self._factory.instance.transport.abortConnection()

    async def find(self, which: dict[str, Any], most: int, fields: Any = None) -> list[dict[str, Any]]:
        """Documents, ``most`` at most."""
        command = {"find": self._collection.name, "filter": which, "limit": most, "singleBatch": True}
        if fields is not None:
            command["projection"] = fields
        reply = await self._database.command(command)
        found: list[dict[str, Any]] = reply["cursor"]["firstBatch"]
        return found

    async def replace(self, document: dict[str, Any], fields: Any) -> dict[str, Any] | None:
        """Put it in place of what has its ``_id``; these fields of what was there."""
        return await self._change(document["_id"], fields, update=document, upsert=True, new=False)

    async def take(self, name: Any, fields: Any) -> dict[str, Any] | None:
        """Remove what has that ``_id``; these fields of it."""
        return await self._change(name, fields, remove=True)

    async def _change(self, name: Any, fields: Any, **what: Any) -> dict[str, Any] | None:
        concern = self._pool.write_concern.document
        command = {"findAndModify": self._collection.name, "query": {"_id": name}, "fields": fields, **what}
        before: dict[str, Any] | None = (await self._database.command({**command, "writeConcern": concern})).get(
            "value"
        )
        return before

    async def delete(self, which: dict[str, Any]) -> int:
        """Remove documents; how many there were."""
        return int((await self._collection.delete_many(which)).deleted_count)

    async def index(self, field: str) -> None:
        """Where we may: without it all works, slowly."""
        with suppress(OperationFailure):
            await self._collection.create_index(sort(ASCENDING(field)))

    async def close(self) -> None:
        """It is not made again."""
        await self._pool.disconnect()


class Link:
    """Several lines: a request takes the one with the least to do."""

    def __init__(self, reactor: Any, address: MongoAddress, connections: int, retry: float) -> None:
        self._reactor = reactor
        tls = _tls(address) if address.tls else None
        self._lines = [Line(address, tls, retry) for _ in range(connections)]

    async def request(self, request: Callable[[Line], Coroutine[Any, Any, Any]], wait: float) -> Any:
        """Once there is a connection; ConnectionError where there is none within ``wait`` seconds. A connection that is
        lost meanwhile is made anew, and the request with it, once; so it is after a race for one key."""
        line = min(self._lines, key=lambda one: one.load)
        await self._connected(line, wait)
        try:
            return await request(line)
        except (AutoReconnect, DuplicateKeyError):
            await self._connected(line, wait)
            return await request(line)

    async def _connected(self, line: Line, wait: float) -> None:
        try:
            await line.ready().addTimeout(wait, self._reactor)
        except LateError:
            raise ConnectionError(line.reason or f"no connection within {wait:g} seconds") from None
        if refused := line.refused():
            raise ConnectionError(refused)

    def unusable(self, error: BaseException) -> Any:
        """Why the store cannot be used, of an error that says so; else None."""
        if isinstance(error, OperationFailure) and error.details is not None:
            return error.details.get("errmsg") or error
        return error if isinstance(error, _REFUSED) else None

    def abort(self) -> None:
        """No answer came, and none may ever come on these connections."""
        for line in self._lines:
            line.abort()

    async def close(self) -> None:
        """Close all."""
        for line in self._lines:
            await line.close()


class _Protocol(MongoProtocol):  # type: ignore[misc]
    """Hands over whole messages: what txmongo does with the pieces of a large one costs the square of its size. Says
    who we are in the form that servers take, and whether we were let in."""

    def __init__(self) -> None:
        super().__init__()
        self.refused = ""  # why we were not let in
        self._pieces: list[bytes] = []
        self._length = 0
        self._wanted = 4

    def dataReceived(self, data: bytes) -> None:
        """Called by Twisted."""
        self._pieces.append(data)
        self._length += len(data)
        if self._length < self._wanted:
            return
        data = b"".join(self._pieces)
        self._pieces, self._length = [data], len(data)
        end = self._end_of_last(data)
        if end:
            self._pieces, self._length = [data[end:]], len(data) - end
            super().dataReceived(data[:end])

    def send_op_query_command(self, database: Any, query: Any) -> Deferred[Any]:
        """Only the greeting goes as txmongo sends all of these: servers from 5.1 on take nothing else in that form."""
        if next(iter(query)) == "ismaster":
            greeting: Deferred[Any] = super().send_op_query_command(database, query)
            return greeting
        command = {name: value for name, value in query.items() if name != "autoAuthorize"}
        sent: Deferred[Any] = self._send_raw_msg(Msg.create({**command, "$db": str(database)}))
        return sent.addCallback(_reply)

    def authenticate(self, *who: Any) -> Deferred[None]:
        """txmongo says nothing of it if we are refused."""
        done: Deferred[Any] = super().authenticate(*who)
        return done.addErrback(self._not_let_in)

    def _not_let_in(self, failure: Failure) -> None:
        self.refused = failure.getErrorMessage() or "authentication failed"

    def _end_of_last(self, data: bytes) -> int:
        """Where the last whole message ends; it sets how much must have come before there is another."""
        end = 0
        while True:
            self._wanted = 4
            if len(data) - end < 4:
                return end
            size = max(struct.unpack_from("<i", data, end)[0], 16)
            if len(data) - end < size:
                self._wanted = size
                return end
            end += size


def _reply(message: Any) -> dict[str, Any]:
    reply: dict[str, Any] = message.to_dict()
    if not reply.get("ok"):
        raise MongoAuthenticationError(reply.get("errmsg") or "authentication failed")
    return reply


def _tls(address: MongoAddress) -> Any:
    """The host's certificate is verified, against the system's authorities or those of ``tlsCAFile``."""
    from pathlib import Path

    from pymongo.uri_parser import parse_uri
    from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates

    parsed = parse_uri(address.url)
    given = {name.lower(): value for name, value in parsed["options"].items()}.get("tlscafile")
    trust = None
    if given:
        blocks = Path(given).read_bytes().split(b"-----BEGIN CERTIFICATE-----")[1:]
        trust = trustRootFromCertificates(
            [Certificate.loadPEM(b"-----BEGIN CERTIFICATE-----" + block) for block in blocks]
        )
    return optionsForClientTLS(parsed["nodelist"][0][0], trustRoot=trust)
