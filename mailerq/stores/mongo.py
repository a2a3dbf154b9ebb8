"""Bodies in a MongoDB collection, through txmongo: a document each, ``_id``, ``value``, ``expire``, ``modified``,
``encoding``. One that is larger than a document may be lies in parts, see ``mongo_documents``."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from os import urandom
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, fail
from twisted.internet.defer import TimeoutError as LateError
from zope.interface import implementer

from mailerq.interfaces import IMessageStore
from mailerq.stores import mongo_documents as documents
from mailerq.stores.down import StoreDown
from mailerq.stores.keys import text_key
from mailerq.stores.remote import MongoAddress

TIMEOUT = 20.0  # seconds for each request
CONNECT = 5.0  # seconds that a request waits for a connection
RETRY = 2.0  # seconds between tries to connect, and what each may take
CONNECTIONS = 2
MOST = 900  # bytes of a key: an index of older servers takes 1,024


@implementer(IMessageStore)
class MongoStore(Service):
    """See ``IMessageStore``. ``whole``: bytes of the largest body that is one document."""

    def __init__(self, reactor: Any, address: MongoAddress, timeout: float = TIMEOUT) -> None:
        self.batch = 1000  # most that one sweep removes
        self.whole = documents.WHOLE
        self._reactor = reactor
        self._address = address
        self._timeout = timeout
        self._link: Any = None
        self._requests: set[Deferred[Any]] = set()
        self._indexed = False

    def startService(self) -> None:
        """Connect, and go on trying."""
        from mailerq.stores.mongo_link import Link

        super().startService()  # type: ignore[no-untyped-call]
        self._link = Link(self._reactor, self._address, CONNECTIONS, RETRY)

    def stopService(self) -> Deferred[None]:
        """Once all requests have ended."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await DeferredList(list(self._requests))
            await link.close()

    def get(self, key: str) -> Deferred[bytes | None]:
        """The body."""
        return self._run(lambda line: self._get(line, _key(key)))

    def put(self, key: str, body: bytes, expires: float | None) -> Deferred[None]:
        """Keep it."""
        return self._run(lambda line: self._put(line, _key(key), body, expires))

    def remove(self, key: str) -> Deferred[None]:
        """Forget it."""
        return self._run(lambda line: self._remove(line, _key(key)))

    def sweep(self, now: float) -> Deferred[int]:
        """Those whose time is over."""
        return self._run(lambda line: self._sweep(line, now))

    def _run(self, request: Callable[[Any], Coroutine[Any, Any, Any]]) -> Deferred[Any]:
        link = self._link
        if link is None:
            return fail(StoreDown(self._address.where, "it is not open"))
        made: Deferred[Any] = Deferred.fromCoroutine(link.request(request, min(CONNECT, self._timeout)))
        made.addTimeout(self._timeout, self._reactor)
        made.addErrback(self._told, link)
        over: Deferred[None] = Deferred()
        self._requests.add(over)
        return made.addBoth(self._over, over)

    def _told(self, failure: Any, link: Any) -> Any:
        if failure.check(LateError):
            link.abort()
            raise StoreDown(self._address.where, f"no answer within {self._timeout:g} seconds") from None
        why = link.unusable(failure.value)
        if why is None:
            return failure
        raise StoreDown(self._address.where, why) from None

    def _over(self, result: Any, over: Deferred[None]) -> Any:
        self._requests.discard(over)
        over.callback(None)
        return result

    # -- requests; each may be made twice ------------------------------------------------------------------------------

    async def _get(self, line: Any, key: str) -> bytes | None:
        token = ""
        while True:
            found = await line.find({"_id": key}, 1)
            if not found or documents.is_over(found[0], self._reactor.seconds()):
                return None
            if not documents.is_master(found[0]):
                return documents.body_of(found[0])
            if documents.token_of(found[0]) == token:
                return None  # a part is not there, and nobody is putting the body anew
            token = documents.token_of(found[0])
            values = []
            for part in documents.part_ids(found[0]):
                values += [documents.body_of(one) for one in await line.find({"_id": part}, 1)]
            if len(values) == found[0]["parts"]:
                return b"".join(values)

    async def _put(self, line: Any, key: str, body: bytes, expires: float | None) -> None:
        now = self._reactor.seconds()
        if len(body) <= self.whole:
            document = documents.whole(key, body, expires, now)
        else:
            token = urandom(8).hex()
            for part in documents.parts(key, token, body, expires, now):
                await line.replace(part, documents.LEADS)
            document = documents.master(key, token, body, expires, now)
        await self._remove_parts(line, await line.replace(document, documents.LEADS))

    async def _remove(self, line: Any, key: str) -> None:
        """A master goes first: without it nobody looks for its parts."""
        await self._remove_parts(line, await line.take(key, documents.LEADS))

    async def _remove_parts(self, line: Any, document: dict[str, Any] | None) -> None:
        if document is not None and documents.is_master(document):
            await line.delete({"_id": {"$in": documents.part_ids(document)}})

    async def _sweep(self, line: Any, now: float) -> int:
        if not self._indexed:
            await line.index("expire")
            self._indexed = True
        over = {"expire": {"$lte": documents.moment(now)}}
        found = await line.find(over, self.batch, documents.LEADS)
        lost = [one["_id"] for one in found if documents.is_part(one)]
        keys = [one["_id"] for one in found if not documents.is_part(one) and not documents.is_master(one)]
        if lost:
            await line.delete({"_id": {"$in": lost}})
        count: int = await line.delete({"_id": {"$in": keys}, **over}) if keys else 0
        for master in filter(documents.is_master, found):
            mine = {"_id": master["_id"], "token": documents.token_of(master), **over}
            if await line.delete(mine):
                await self._remove_parts(line, master)
                count += 1
        return count


def _key(key: str) -> str:
    return text_key(key, MOST)
