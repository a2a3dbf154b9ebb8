"""Bodies are compressed on their way into a store, and unpacked on their way out.

What is packed is known by its first bytes, which no message and no description has; so a store may hold both, and the
setting may change at any time. A body of such bytes is packed itself, and comes back as it was.
"""

from __future__ import annotations

import io
import zlib
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred
from zope.interface import implementer

from mailerq.content.step import ContentError
from mailerq.interfaces import IMessageStore
from mailerq.stores.threads import Threads

MAGIC = b"\x1f\x8b\x08"
"""What gzip begins with (RFC 1952, section 2.3.1; deflate is the only method there is)."""
MOST = 256 << 20
"""Bytes of a body that is unpacked."""
LEVEL = 5
LONGEST = 120.0  # seconds that it may take: a body of 50 MB takes 5, where it becomes no smaller
SMALL = 512
"""Bytes below which compression is not worth it."""
_PIECE = 1 << 18
_FIRST = 1 << 12  # bytes first read of a member: there may be very many small ones
_GZIP = 31  # zlib's number for this format


@implementer(IMessageStore)
class PackedStore(MultiService):
    """``store`` with bodies that are packed, if ``compress``, and unpacked whether or not; the work is done in threads.
    ``most``: bytes of a body that is unpacked. See ``IMessageStore``."""

    def __init__(self, reactor: Any, store: Any, compress: bool, timeout: float, most: int = MOST) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.store = store
        self._compress = compress
        self._most = most
        self._threads = Threads(reactor, "compression", max(timeout, LONGEST), lambda error: None, size=2)
        IService(store).setServiceParent(self)

    def __repr__(self) -> str:
        return f"<PackedStore {self.store!r}>"

    @property
    def batch(self) -> int:
        """The store's."""
        return int(self.store.batch)

    @batch.setter
    def batch(self, most: int) -> None:
        self.store.batch = most

    def startService(self) -> None:
        """The store, too."""
        self._threads.start()
        super().startService()  # type: ignore[no-untyped-call]

    def stopService(self) -> Any:
        """Once what was to be packed is on its way to the store."""
        return self._threads.stop().addCallback(lambda _: MultiService.stopService(self))

    def get(self, key: str) -> Deferred[bytes | None]:
        """The body. ContentError: it cannot be unpacked, or is too large."""
        found: Deferred[Any] = self.store.get(key)
        return found.addCallback(self._unpacked)

    def _unpacked(self, body: bytes | None) -> Any:
        if body is None or not body.startswith(MAGIC):
            return body
        return self._threads.run(unpack, body, self._most)

    def put(self, key: str, body: bytes, expires: float | None) -> Deferred[None]:
        """Keep it."""
        if not body.startswith(MAGIC) and (not self._compress or len(body) < SMALL):
            stored: Deferred[None] = self.store.put(key, body, expires)
            return stored
        packed: Deferred[Any] = self._threads.run(pack, body)
        return packed.addCallback(lambda shorter: self.store.put(key, shorter, expires))

    def remove(self, key: str) -> Deferred[None]:
        """Forget it."""
        removed: Deferred[None] = self.store.remove(key)
        return removed

    def sweep(self, now: float) -> Deferred[int]:
        """The store's."""
        swept: Deferred[int] = self.store.sweep(now)
        return swept


def pack(body: bytes) -> bytes:
    """As gzip; the body itself where that would be no shorter, and it does not look packed."""
    packer = zlib.compressobj(LEVEL, wbits=_GZIP)
    out = io.BytesIO()
    with memoryview(body) as view:
        for start in range(0, len(body), _PIECE):
            out.write(packer.compress(view[start : start + _PIECE]))
    out.write(packer.flush())
    return out.getvalue() if out.tell() < len(body) or body.startswith(MAGIC) else body


def unpack(body: bytes, most: int = MOST) -> bytes:
    """What ``pack`` was given; of several members, one after the other, as gzip allows. Takes no more memory than
    ``most`` bytes and something over, whatever comes in. ContentError."""
    out = io.BytesIO()
    place = 0
    with memoryview(body) as view:
        while not place or body.startswith(MAGIC, place):
            place = _member(view, place, out, most)
        if any(view[place:]):  # zeros may follow, as on tapes
            raise _damaged("something follows what is compressed")
    return out.getvalue()


def _member(view: memoryview, place: int, out: io.BytesIO, most: int) -> int:
    """Unpack the member that begins at ``place``; where it ends."""
    unpacker = zlib.decompressobj(wbits=_GZIP)
    feed: Any = b""
    length = _FIRST
    while True:
        try:
            piece = unpacker.decompress(feed, _PIECE)
        except zlib.error as error:
            raise _damaged(str(error)) from None
        out.write(piece)
        if out.tell() > most:
            raise ContentError(f"key: the body in the store is too large: over {most} bytes once it is unpacked")
        if unpacker.eof:
            return place - len(unpacker.unused_data)
        feed = unpacker.unconsumed_tail
        if not feed and len(piece) < _PIECE:
            feed = view[place : place + length]
            place += len(feed)
            length = min(length * 2, _PIECE)
            if not feed:
                raise _damaged("what is compressed ends too early")


def _damaged(why: str) -> ContentError:
    return ContentError(f"key: the body in the store is damaged: {why}")
