"""The store in MongoDB, against a played server over the real wire protocol: no real one can be had for the tests."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailerq.stores import mongo, mongo_documents
from mailerq.stores.down import StoreDown
from mailerq.stores.mongo import MongoStore
from mailerq.stores.packed import PackedStore
from mailerq.stores.remote import parse_mongo
from tests import certificates
from tests.mongo_server import PlayedMongo, Refusal
from tests.rabbit import free_ports
from tests.store_contract import PASSWORD, StoreHooks, WholeStoreContract


class Hooks(StoreHooks):
    """A played server."""

    timeout = 30

    def setUp(self: Any) -> None:
        """It listens; connections are tried again soon."""
        self.stores: list[MongoStore] = []
        self.patch(mongo, "RETRY", 0.2)
        self.patch(mongo, "CONNECT", 1.0)
        self.server = PlayedMongo()
        self.server.password = PASSWORD
        self.server.listen()

    async def tearDown(self) -> None:
        """All are stopped, the server at the end."""
        for store in self.stores:
            if store.running:
                await self.stop(store)
        await self.server.close()
        while self.server.lines:
            await deferLater(reactor, 0.005)

    def make(self, port: int, timeout: float = 10.0, options: str = "") -> MongoStore:
        """One that is stopped at the end."""
        address = f"mongodb://mailerq:{PASSWORD}@127.0.0.1:{port}/mail/bodies{options}"
        store = MongoStore(reactor, parse_mongo(address), timeout)
        self.stores.append(store)
        return store

    async def make_store(self) -> Any:
        """An empty one."""
        return self.make(self.server.port)

    async def again(self, store: Any) -> Any:
        """On the same collection."""
        return self.make(self.server.port)

    async def make_broken(self) -> tuple[Any, str]:
        """Nobody listens there."""
        port = free_ports(1)[0]
        return self.make(port), f"127.0.0.1:{port}"

    @property
    def documents(self) -> dict[Any, Any]:
        """Those of the collection, by ``_id``, or key and number of a part."""
        found = {}
        for one in self.server.documents.get("bodies", {}).values():
            name = one["_id"]
            found[(name["of"], name["part"]) if isinstance(name, dict) else name] = one
        return found


class MongoContract(Hooks, WholeStoreContract, TestCase):
    """The contract."""


_VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.binary(max_size=9) | st.text(max_size=9)
_VALUES |= st.datetimes(timezones=st.just(UTC)) | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)


class AnyDocument(SynchronousTestCase):
    """Documents that other programs have made."""

    @given(st.dictionaries(st.sampled_from(["value", "expire", "encoding", "parts", "token"]), _VALUES), _VALUES)
    def test_any(self, fields: dict[str, Any], name: Any) -> None:
        """Any document is a body, or the head of some parts, or is said to be none."""
        document = {**fields, "_id": name}
        self.assertIn(mongo_documents.is_over(document, 1e9), (True, False))
        if mongo_documents.is_master(document):
            self.assertLessEqual(len(mongo_documents.part_ids(document)), 10_000)
            return
        try:
            self.assertIs(type(mongo_documents.body_of(document)), bytes)
        except mongo_documents.Unreadable as error:
            self.assertLess(len(str(error)), 200)


class MongoTest(Hooks, TestCase):
    """Documents, parts, and what goes wrong."""

    async def refused(self, request: Deferred[Any]) -> str:
        """What a request says that cannot be made."""
        error = await self.assertFailure(request, StoreDown)
        self.assertNotIn(PASSWORD, str(error))
        return str(error)

    async def insert(self, store: Any, document: Any) -> None:
        """A document of another program."""
        (line, *_) = store._link._lines
        await line.ready()
        await line.replace(document, {})

    async def test_document(self) -> None:
        """A body is a document with ``_id``, ``value``, ``expire``, ``modified``, ``encoding``."""
        store = await self.started()
        before = self.now()
        await store.put("key", b"\0body", 2_000_000_000.0)
        document = self.documents["key"]
        modified = document.pop("modified").timestamp()
        self.assertTrue(before - 0.01 <= modified <= self.now())
        expire = datetime.fromtimestamp(2_000_000_000, UTC)
        self.assertEqual(document, {"_id": "key", "value": b"\0body", "expire": expire, "encoding": None})
        await store.put("packed", gzip.compress(b"body"), None)
        self.assertEqual(self.documents["packed"]["encoding"], "gzip")

    async def test_by_others(self) -> None:
        """Bodies that other programs make are found: text or bytes, compressed or not, dates or numbers."""
        store = await self.started()
        packed = PackedStore(reactor, self.make(self.server.port), False, 10.0)
        packed.startService()
        over, later = datetime(2001, 1, 1, tzinfo=UTC), 4_000_000_000
        for key, document in {
            "plain": {"value": b"body"},
            "text": {"value": "bödy", "expire": None},
            "gzip": {"value": gzip.compress(b"body" * 100), "encoding": "gzip", "expire": later},
            "over": {"value": b"body", "expire": over},
            "number": {"value": b"body", "expire": 978_307_200},
        }.items():
            await self.insert(store, {"_id": key, **document})
        found = [await packed.get(key) for key in ("plain", "text", "gzip", "over", "number")]
        await packed.stopService()
        self.assertEqual(found, [b"body", "bödy".encode(), b"body" * 100, None, None])

    async def test_unreadable(self) -> None:
        """What is no body says so, and which it is."""
        store = await self.started()
        for wrong in ({"value": 5}, {}, {"value": b"", "encoding": "br"}):
            await self.insert(store, {"_id": "key", **wrong})
            self.assertIn("'key'", await self.refused(store.get("key")))

    async def test_parts(self) -> None:
        """A body over 16 MB lies in parts behind a master; no document is larger than MongoDB allows."""
        store = await self.started()
        body = b"0123456789abcdef" * (17_000_000 // 16)
        await store.put("key", body, 4_000_000_000.0)
        master = self.documents["key"]
        self.assertEqual([master["parts"], master["size"], "value" in master], [5, len(body), False])
        self.assertEqual(set(self.documents), {"key", *(("key", number) for number in range(5))})
        self.assertTrue(await store.get("key") == body)

    async def test_parts_go(self) -> None:
        """With a body that is put anew, removed or swept its parts go."""
        store = await self.started()
        store.whole = 10
        self.patch(mongo_documents, "PART", 4)
        for last in (
            lambda: store.put("key", b"small", None),
            lambda: store.remove("key"),
            lambda: store.sweep(self.now()),
        ):
            await store.put("key", b"a larger body", None)
            await store.put("key", b"another large body", self.now() - 1)
            self.assertEqual(len(self.documents), 6)
            await last()
            self.assertEqual(set(self.documents) - {"key"}, set())

    async def test_parts_at_once(self) -> None:
        """Of large bodies that are put under one key at once one is there, and no parts of the others."""
        stores = [await self.started(), await self.again(None)]
        await self.start(stores[1])
        self.patch(mongo_documents, "PART", 4)
        for store in stores:
            store.whole = 10
        bodies = [b"%02d" % number * 9 for number in range(10)]
        await gatherResults([stores[n % 2].put("key", body, None) for n, body in enumerate(bodies)])
        self.assertIn(await stores[0].get("key"), bodies)
        self.assertEqual(len(self.server.documents["bodies"]), 6)

    async def test_part_missing(self) -> None:
        """A master whose part is not there is no body."""
        store = await self.started()
        store.whole = 10
        await store.put("key", b"a larger body", None)
        (part,) = [name for name, one in self.server.documents["bodies"].items() if isinstance(one["_id"], dict)]
        del self.server.documents["bodies"][part]
        self.assertIsNone(await store.get("key"))

    async def test_left_parts(self) -> None:
        """Parts that a crash has left without a master are swept a day after their time, and not counted."""
        store = await self.started()
        for part in mongo_documents.parts("key", "token", b"body", self.now() - 10, self.now()):
            await self.insert(store, part)
        self.assertEqual(await store.sweep(self.now()), 0)
        self.assertEqual(set(self.documents), {("key", 0)})
        self.assertEqual(await store.sweep(self.now() + 86400), 0)
        self.assertEqual(self.documents, {})

    async def test_put_during_sweep(self) -> None:
        """A body that is put anew while others are swept stays: a removal asks for its time once more."""
        store = await self.started()
        await store.put("key", b"body", self.now() - 1)
        find = self.server.do_find

        def renewed(documents: Any, command: Any) -> Any:
            found = find(documents, command)
            self.documents["key"]["expire"] = datetime(2040, 1, 1, tzinfo=UTC)
            return found

        self.server.do_find = renewed
        self.assertEqual(await store.sweep(self.now()), 0)
        self.assertEqual(await store.get("key"), b"body")

    async def test_indexed(self) -> None:
        """Sweeping has an index, made once; where that is forbidden it goes without."""
        store = await self.started()
        await store.sweep(self.now())
        await store.sweep(self.now())
        self.assertEqual([index["key"] for index in self.server.indexes], [{"expire": 1}])

    async def test_durable(self) -> None:
        """Each write waits until a majority has it in its journal, unless the address says otherwise."""
        store = await self.started()
        await store.put("key", b"body", None)
        self.assertEqual(self.server.commands[-1]["writeConcern"], {"w": "majority", "j": True})
        store = self.make(self.server.port, options="?w=2&journal=false")
        await self.start(store)
        await store.put("key", b"body", None)
        self.assertEqual(self.server.commands[-1]["writeConcern"], {"w": 2, "j": False})

    async def test_killed(self) -> None:
        """While the server is away requests say so in time; once it is back all works."""
        store = await self.started()
        await store.put("key", b"body", None)
        await self.server.close()
        for request in (store.get("key"), store.put("key", b"other", None), store.remove("key"), store.sweep(0)):
            self.assertIn("refused", await self.refused(request))
        self.server.listen()
        self.assertEqual(await store.get("key"), b"body")

    async def test_short_outage(self) -> None:
        """A request outlives a server that is away for a moment."""
        store = await self.started()
        await store.put("key", b"body", None)
        await self.server.close()
        request = store.get("key")
        await deferLater(reactor, 0.05)
        self.server.listen()
        self.assertEqual(await request, b"body")

    async def test_lost_in_mid_request(self) -> None:
        """A connection that is lost before the answer: the request is made once more, on another."""
        store = await self.started()
        await store.put("key", b"body", None)
        self.server.lose = 1
        self.assertEqual(await store.get("key"), b"body")
        self.server.lose = 1
        await store.put("key", b"other", None)
        self.assertEqual(await store.get("key"), b"other")

    async def test_silent(self) -> None:
        """A server that says nothing fails each request within the time-out; once it speaks all works."""
        store = self.make(self.server.port, timeout=0.5)
        await self.start(store)
        await store.put("key", b"body", None)
        self.server.deaf = True
        requests = [store.get("key"), store.put("key", b"other", None), store.remove("other"), store.sweep(0)]
        for request in requests:
            self.assertIn("no answer within 0.5 seconds", await self.refused(request))
        self.server.deaf = False
        await store.put("key", b"body", None)
        self.assertEqual(await store.get("key"), b"body")

    async def test_refused(self) -> None:
        """What the server refuses is said: a wrong password, a missing permission, a full disk."""
        store = await self.started()
        self.server.refusal = Refusal(13, "command find requires authentication")
        for request in (store.get("key"), store.put("key", b"body", None), store.remove("key"), store.sweep(0)):
            self.assertIn("requires authentication", await self.refused(request))

    async def test_password(self) -> None:
        """The password is said (SCRAM), in the form that servers take; all works then."""
        store = await self.started()
        await store.put("key", b"body", None)
        self.assertEqual(await store.get("key"), b"body")

    async def test_wrong_password(self) -> None:
        """A wrong password is said, and not shown; once it is right all works."""
        self.server.password = "another"
        store = await self.started()
        for request in (store.get("key"), store.put("key", b"body", None), store.sweep(0)):
            said = await self.refused(request)
            self.assertIn("Authentication failed", said)
        self.server.password = PASSWORD
        await deferLater(reactor, 0.3)
        await store.put("key", b"body", None)
        self.assertEqual(await store.get("key"), b"body")

    async def test_tls(self) -> None:
        """With ``tls=true`` the host's certificate is verified, its name included, against ``tlsCAFile``."""
        right, wrong = certificates.make("localhost"), certificates.make("other.example")
        authority = self.mktemp()
        self.server.password = None
        for certificate, fits in ((right, True), (wrong, False)):
            await self.server.close()
            self.server.tls = certificate.context()
            self.server.listen()
            Path(authority).write_bytes(certificate.pem())
            address = (
                f"mongodb://localhost:{self.server.port}/mail/bodies?tls=true&tlsCAFile={Path(authority).resolve()}"
            )
            store = MongoStore(reactor, parse_mongo(address), 5.0)
            self.stores.append(store)
            await self.start(store)
            if fits:
                await store.put("key", b"body", None)
                self.assertEqual(await store.get("key"), b"body")
                await self.stop(store)
            else:
                await self.refused(store.get("key"))

    async def test_race(self) -> None:
        """Two that put one new key at once: the one that comes too late puts it once more."""
        store = await self.started()
        update, lost = self.server.do_update, [True]

        def late(documents: Any, command: Any) -> Any:
            if lost.pop():
                lost.append(False)
                raise Refusal(11000, "E11000 duplicate key error")
            lost.append(False)
            return update(documents, command)

        self.server.do_update = late
        await store.put("key", b"body", None)
        self.assertEqual(await store.get("key"), b"body")

    async def test_started_without_server(self) -> None:
        """A store that was started while there was no server works once there is one."""
        await self.server.close()
        store = await self.started()
        await self.refused(store.get("key"))
        self.server.listen()
        await store.put("key", b"body", None)
        self.assertEqual(await store.get("key"), b"body")

    async def test_many(self) -> None:
        """Hundreds at once do."""
        store = await self.started()
        await gatherResults([store.put(f"key-{number}", b"body", None) for number in range(500)])
        self.assertEqual(len(self.documents), 500)
