"""The store in S3, over HTTP against a played one (moto's server): none of Amazon's can be had for the tests."""

from __future__ import annotations

import atexit
import socket
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from mailerq.stores import s3
from mailerq.stores.down import StoreDown
from mailerq.stores.remote import parse_s3
from mailerq.stores.s3 import S3Store
from tests.object_server import BUCKET, ObjectServer
from tests.rabbit import free_ports
from tests.store_contract import PASSWORD, StoreHooks, WholeStoreContract

_server: ObjectServer | None = None


def the_server() -> ObjectServer:
    """One for all tests; it runs, and has an empty bucket."""
    global _server
    if _server is None:
        _server = ObjectServer()
        atexit.register(_server.stop)
    _server.start()
    _server.clear()
    return _server


class Hooks(StoreHooks):
    """A played server."""

    timeout = 60

    def setUp(self: Any) -> None:
        """It runs."""
        self.stores: list[S3Store] = []
        self.server = the_server()

    async def tearDown(self) -> None:
        """All are stopped."""
        for store in self.stores:
            if store.running:
                await self.stop(store)

    def make(self, endpoint: str, timeout: float = 10.0, place: str = f"{BUCKET}/bodies") -> S3Store:
        """One that is stopped at the end."""
        address = f"s3://AKIAEXAMPLE:{PASSWORD}@{place}?region=eu-central-1&endpoint={endpoint}"
        store = S3Store(reactor, parse_s3(address), timeout)
        self.stores.append(store)
        return store

    async def make_store(self) -> Any:
        """An empty one."""
        return self.make(self.server.endpoint)

    async def again(self, store: Any) -> Any:
        """On the same prefix."""
        return self.make(self.server.endpoint)

    async def make_broken(self) -> tuple[Any, str]:
        """Nobody listens there."""
        port = free_ports(1)[0]
        return self.make(f"http://127.0.0.1:{port}"), f"127.0.0.1:{port}"


class S3Contract(Hooks, WholeStoreContract, TestCase):
    """The contract."""


class S3Test(Hooks, TestCase):
    """Names, sweeping, and what goes wrong."""

    async def refused(self, request: Deferred[Any]) -> str:
        """What a request says that cannot be made."""
        error = await self.assertFailure(request, StoreDown)
        self.assertNotIn(PASSWORD, str(error))
        return str(error)

    async def test_names(self) -> None:
        """Objects have plain keys as their names, behind the prefix; other characters are quoted."""
        store = await self.started()
        for key in ("key", "mailerq-1@example.org", "a/b", "../x", "a b%", "ä"):
            await store.put(key, b"", None)
        names = ["%2E%2E/x", "a%20b%25", "a/b", "key", "mailerq-1@example.org", "%C3%A4"]
        self.assertEqual(self.server.names(), sorted(f"bodies/{name}" for name in names))

    async def test_no_prefix(self) -> None:
        """A store may have the whole bucket."""
        store = self.make(self.server.endpoint, place=BUCKET)
        await self.start(store)
        await store.put("key", b"body", self.now() - 1)
        self.assertEqual(self.server.names(), ["key"])
        self.assertEqual(await store.sweep(self.now()), 1)

    async def test_other_prefix(self) -> None:
        """What lies under another prefix is not swept."""
        store = self.make(self.server.endpoint, place=f"{BUCKET}/other")
        await self.start(store)
        await store.put("key", b"body", self.now() - 1)
        mine = await self.started()
        self.assertEqual(await mine.sweep(self.now()), 0)

    async def test_swept_by_another(self) -> None:
        """An engine sweeps what others have put, too, and removes nothing that was prolonged by another."""
        store, other = await self.started(), await self.again(None)
        await self.start(other)
        await store.put("over", b"body", self.now() + 10)
        await store.put("prolonged", b"body", self.now() + 10)
        self.assertEqual(await other.sweep(self.now()), 0)
        await store.put("prolonged", b"body", self.now() + 1000)
        self.assertEqual(await other.sweep(self.now() + 100), 1)
        self.assertEqual(self.server.names(), ["bodies/prolonged"])

    async def test_asked_once(self) -> None:
        """An object whose time is known is not asked for again, nor one that was put by this process."""
        store, other = await self.started(), await self.again(None)
        await self.start(other)
        await gatherResults([store.put(f"key-{number}", b"body", self.now() + 1000) for number in range(5)])
        asked = []
        for one in (store, other):
            look = one._remove_if_over
            self.patch(one, "_remove_if_over", lambda name, now, look=look: asked.append(name) or look(name, now))
        await store.sweep(self.now())
        self.assertEqual(asked, [])
        await other.sweep(self.now())
        await other.sweep(self.now())
        self.assertEqual(len(asked), 5)

    async def test_sweep_goes_on(self) -> None:
        """A sweep that has no more time goes on where it was, the next time; what comes later is found."""
        store = await self.started()
        await gatherResults([store.put(f"key-{number:02}", b"body", self.now() - 1) for number in range(20)])
        now, times = reactor.seconds(), iter([0.0, *[100.0] * 1000])
        self.patch(store, "_reactor", type("Clock", (), {"seconds": lambda self: now + next(times)})())
        self.assertEqual(await store.sweep(self.now()), s3.SWEEPERS)
        times = iter([0.0] * 1000)
        self.assertEqual(await store.sweep(self.now()), 20 - s3.SWEEPERS)
        self.assertEqual(self.server.names(), [])

    async def test_known_bounded(self) -> None:
        """So many objects are remembered and no more."""
        self.patch(s3, "KNOWN", 3)
        store = await self.started()
        for number in range(5):
            await store.put(f"key-{number}", b"body", None)
        self.assertEqual(list(store._times), [f"bodies/key-{number}" for number in (2, 3, 4)])

    async def test_killed(self) -> None:
        """While the server is away requests say so; once it is back all works."""
        store = await self.started()
        await store.put("key", b"body", None)
        self.server.stop()
        for ask in (
            lambda: store.get("key"),
            lambda: store.put("key", b"other", None),
            lambda: store.remove("key"),
            lambda: store.sweep(0),
        ):
            self.assertIn("connect", await self.refused(ask()))
        self.server.start()
        self.assertEqual(await store.get("key"), b"body")

    async def test_silent(self) -> None:
        """A server that takes connections and says nothing fails each request within the time-out."""
        with socket.create_server(("127.0.0.1", 0), backlog=50) as deaf:
            store = self.make(f"http://127.0.0.1:{deaf.getsockname()[1]}", timeout=1.0)
            await self.start(store)
            requests = [store.get("key"), store.put("key", b"", None), store.remove("key"), store.sweep(0)]
            for request in requests:
                self.assertRegex(await self.refused(request), "no answer within|[Tt]imeout|timed out")

    async def test_busy(self) -> None:
        """What the server was too busy for is tried once more."""
        from botocore.exceptions import ClientError

        self.patch(s3, "PAUSE", 0)
        store = await self.started()
        busy = ClientError({"Error": {"Code": "SlowDown"}, "ResponseMetadata": {"HTTPStatusCode": 503}}, "GetObject")
        answers: list[Any] = [busy, b"body", busy, busy]

        def ask(client: Any) -> bytes:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return bytes(answer)

        self.assertEqual(store._ask(ask), b"body")
        self.assertRaises(ClientError, store._ask, ask)

    async def test_no_bucket(self) -> None:
        """A bucket that is not there is no missing body: the store cannot be used, and it says why."""
        store = self.make(self.server.endpoint, place="nowhere/bodies")
        await self.start(store)
        for request in (store.get("key"), store.put("key", b"", None), store.sweep(0)):
            self.assertIn("NoSuchBucket", await self.refused(request))

    async def test_by_others(self) -> None:
        """An object that another program has made, without metadata of ours, is found and never swept."""
        store = await self.started()
        client = store._client()
        client.put_object(Bucket=BUCKET, Key="bodies/theirs", Body=b"body")
        client.put_object(Bucket=BUCKET, Key="bodies/odd", Body=b"body", Metadata={s3.EXPIRES: "soon"})
        self.assertEqual([await store.get("theirs"), await store.get("odd")], [b"body", b"body"])
        self.assertEqual(await store.sweep(self.now() + 1e9), 0)

    async def test_removed_in_sweep(self) -> None:
        """What another engine removes meanwhile is not counted."""
        store = await self.started()
        self.assertEqual(await store._threads.run(store._remove_if_over, "bodies/gone", self.now()), 0)

    async def test_quiet_start(self) -> None:
        """A store that is started and stopped asks nobody."""
        store = self.make("http://127.0.0.1:9")
        await self.start(store)
        await deferLater(reactor, 0)
        await self.stop(store)
        self.assertIsNone(store._made)
