"""The store in PostgreSQL, against the server of the distribution: the contract, and what happens when it goes away."""

from __future__ import annotations

import atexit
from typing import Any
from unittest import SkipTest

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from mailerq.stores import postgres
from mailerq.stores.down import StoreDown
from mailerq.stores.postgres import CONNECTIONS, LARGE, PostgresStore
from mailerq.stores.remote import parse_postgres
from tests.postgresql import USER, PostgreSQL, postgres_programs
from tests.rabbit import free_ports
from tests.store_contract import PASSWORD, StoreHooks, WholeStoreContract

LONG_AGO = 1_000_000_000.0
_server: PostgreSQL | None = None


def the_server() -> PostgreSQL:
    """One for all tests; it runs."""
    global _server
    if _server is None:
        if postgres_programs() is None:
            raise SkipTest("PostgreSQL is not installed")
        _server = PostgreSQL()
        atexit.register(_server.remove)
    if _server.process is None:
        _server.start()
    return _server


class Hooks(StoreHooks):
    """One server, an empty database without a table."""

    timeout = 60

    def setUp(self) -> None:
        """The server runs."""
        self.stores: list[PostgresStore] = []
        self.server = the_server()
        self.server.sql("DROP TABLE IF EXISTS mailerq_messages")

    async def tearDown(self) -> None:
        """All are stopped."""
        for store in self.stores:
            if store.running:
                await self.stop(store)

    def make(self, address: str, timeout: float = 10.0) -> PostgresStore:
        """One that is stopped at the end."""
        store = PostgresStore(reactor, parse_postgres(address), timeout)
        self.stores.append(store)
        return store

    async def make_store(self) -> Any:
        """An empty one."""
        return self.make(self.server.url)

    async def again(self, store: Any) -> Any:
        """On the same table."""
        return self.make(self.server.url)

    async def make_broken(self) -> tuple[Any, str]:
        """Nobody listens there."""
        port = free_ports(1)[0]
        return self.make(f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{port}/postgres"), f"127.0.0.1:{port}"


class PostgresContract(Hooks, WholeStoreContract, TestCase):
    """The contract."""


class PostgresTest(Hooks, TestCase):
    """What goes wrong, and what others do to the table."""

    async def refused(self, request: Deferred[Any]) -> str:
        """What a request says that cannot be made."""
        error = await self.assertFailure(request, StoreDown)
        self.assertNotIn(PASSWORD, str(error))
        return str(error)

    async def until_frozen_ends(self, store: PostgresStore) -> None:
        """All threads wait for a server that is silent; then it goes on."""
        self.server.freeze(True)
        try:
            waiting = [store.get(f"key-{number}") for number in range(CONNECTIONS + 3)]
            for request in waiting:
                self.assertIn("no answer within 1 seconds", await self.refused(request))
        finally:
            self.server.freeze(False)

    async def test_restart(self) -> None:
        """After a restart of the server the first request works: connections that died are made anew."""
        store = await self.started()
        await gatherResults([store.put(f"key-{number}", b"body", None) for number in range(20)])
        self.server.stop()
        self.server.start()
        found = await gatherResults([store.get(f"key-{number}") for number in range(20)])
        self.assertEqual(found, [b"body"] * 20)

    async def test_killed(self) -> None:
        """So it is after a server that was killed; while it is away, requests say so at once."""
        store = await self.started()
        await store.put("key", b"body", None)
        self.server.kill9()
        for request in (store.get("key"), store.put("key", b"other", None), store.remove("key"), store.sweep(0)):
            self.assertIn("refused", await self.refused(request))
        self.server.start()
        self.assertEqual(await store.get("key"), b"body")

    async def test_in_mid_use(self) -> None:
        """While the server is restarted again and again, each request is made or says that it was not; what was made
        is there."""
        store = await self.started()
        made: list[str] = []
        going = True

        async def put(name: str) -> None:
            number = 0
            while going:
                number += 1
                try:
                    await store.put(f"{name}-{number}", b"body", None)
                    made.append(f"{name}-{number}")
                except StoreDown:
                    await deferLater(reactor, 0.01)

        putting = [Deferred.fromCoroutine(put(name)) for name in "abcdef"]
        for _ in range(2):
            before = len(made)
            while len(made) < before + 200:
                await deferLater(reactor, 0.01)
            self.server.stop()
            self.server.start()
        going = False
        await gatherResults(putting)
        there = {key for (key,) in self.server.sql("SELECT key FROM mailerq_messages")}
        self.assertEqual(set(made) - there, set())

    async def test_silent(self) -> None:
        """A server that no longer answers, connections open, fails each request in time, those that wait for a thread
        included; once it answers, all works."""
        store = self.make(self.server.url, timeout=1.0)
        await self.start(store)
        await store.put("key", b"body", None)
        await self.until_frozen_ends(store)
        self.assertEqual(await store.get("key"), b"body")

    async def test_stop_while_silent(self) -> None:
        """A stop in that state ends within the time-out."""
        store = self.make(self.server.url, timeout=1.0)
        await self.start(store)
        await store.put("key", b"body", None)
        self.server.freeze(True)
        try:
            waiting = self.refused(store.get("key"))
            await self.stop(store)
            self.assertIn("no answer", await waiting)
        finally:
            self.server.freeze(False)

    async def test_started_without_server(self) -> None:
        """A store that was started while there was no server works once there is one, the table made."""
        self.server.stop()
        store = await self.started()
        await self.refused(store.get("key"))
        self.server.start()
        await store.put("key", b"body", None)
        self.assertEqual(await store.get("key"), b"body")

    async def test_wrong_password(self) -> None:
        """A wrong password is said, and not shown."""
        store = self.make(self.server.url.replace(PASSWORD, "mistaken"))
        await self.start(store)
        said = await self.refused(store.get("key"))
        self.assertIn("password authentication failed", said)
        self.assertNotIn("mistaken", said)

    async def test_dropped(self) -> None:
        """A table that somebody drops is made again."""
        store = await self.started()
        await store.put("key", b"body", None)
        self.server.sql("DROP TABLE mailerq_messages")
        self.assertIsNone(await store.get("key"))
        await store.put("key", b"body", None)
        self.assertEqual(await store.get("key"), b"body")

    async def test_started_together(self) -> None:
        """Engines that start at the same time make one table."""
        stores = [self.make(self.server.url) for _ in range(6)]
        for store in stores:
            await self.start(store)
        await gatherResults([store.put(f"key-{number}", b"body", None) for number, store in enumerate(stores)])
        self.assertEqual(self.server.sql("SELECT count(*) FROM mailerq_messages"), [(6,)])

    async def test_sweep_together(self) -> None:
        """Engines that sweep at the same time wait for nobody, and remove each body once."""
        stores = [self.make(self.server.url) for _ in range(3)]
        for store in stores:
            store.batch = 40
            await self.start(store)
        await gatherResults([stores[0].put(f"key-{number}", b"body", LONG_AGO) for number in range(100)])
        counts = [await gatherResults([store.sweep(self.now()) for store in stores]) for _ in range(3)]
        self.assertEqual(sum(map(sum, counts)), 100)

    async def test_by_others(self) -> None:
        """A body that another program inserts by SQL, under a plain key, is found; ours have plain keys, too."""
        store = await self.started()
        await store.put("ours", b"body", LONG_AGO)
        self.server.sql("INSERT INTO mailerq_messages (key, body) VALUES ('theirs', '\\x0001ff')")
        self.assertEqual(await store.get("theirs"), b"\x00\x01\xff")
        row = self.server.sql(
            "SELECT key, body, extract(epoch from expires)::float FROM mailerq_messages WHERE key='ours'"
        )
        self.assertEqual(row, [("ours", b"body", LONG_AGO)])

    async def test_own_table(self) -> None:
        """A user who may not create tables uses one that is there, in a schema of its own."""
        self.server.sql("DROP SCHEMA IF EXISTS mail CASCADE")
        self.server.sql("CREATE SCHEMA mail")
        self.server.sql("CREATE TABLE mail.bodies (key text PRIMARY KEY, body bytea NOT NULL, expires timestamptz)")
        self.server.sql("DROP ROLE IF EXISTS little")
        self.server.sql("CREATE ROLE little LOGIN PASSWORD 'tiny'")
        self.server.sql("GRANT USAGE ON SCHEMA mail TO little")
        self.server.sql("GRANT SELECT, INSERT, UPDATE, DELETE ON mail.bodies TO little")
        store = self.make(f"postgresql://little:tiny@127.0.0.1:{self.server.port}/postgres?table=mail.bodies")
        await self.start(store)
        await store.put("key", b"body", LONG_AGO)
        self.assertEqual(self.server.sql("SELECT key FROM mail.bodies"), [("key",)])
        self.assertEqual(await store.sweep(self.now()), 1)

    async def test_not_permitted(self) -> None:
        """A user who may not is told so; nothing is made."""
        self.server.sql("DROP ROLE IF EXISTS nobody")
        self.server.sql("CREATE ROLE nobody LOGIN PASSWORD 'none'")
        store = self.make(f"postgresql://nobody:none@127.0.0.1:{self.server.port}/postgres")
        await self.start(store)
        self.assertIn("permission denied", await self.refused(store.put("key", b"body", None)))

    async def test_large(self) -> None:
        """After a large body a connection is closed, so that its buffers do not stay."""
        self.patch(postgres, "CONNECTIONS", 1)
        store = await self.started()
        await store.put("small", b"body", None)
        (had,) = store._pool.connections.values()
        await store.put("large", b"x" * (LARGE + 1), None)
        self.assertTrue(had.closed)
        await store.get("large")
        self.assertEqual(store._pool.connections, {})
        self.assertEqual(await store.get("small"), b"body")

    async def test_given_up(self) -> None:
        """Who no longer waits gives up: the request ends, and its connection is not used again."""
        store = await self.started()
        await store.put("key", b"body", None)
        request = store.get("key")
        request.addErrback(lambda failure: None)
        request.cancel()
        self.assertEqual(await store.get("key"), b"body")
