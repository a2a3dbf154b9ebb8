"""Bodies in a PostgreSQL table, through psycopg 3. Several engines may share it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from mailerq.interfaces import IMessageStore
from mailerq.stores.calls import Call, Calls
from mailerq.stores.down import StoreDown
from mailerq.stores.keys import text_key
from mailerq.stores.remote import PostgresAddress

T = TypeVar("T")
CONNECTIONS = 4
TIMEOUT = 20.0  # seconds for each request
CONNECT = 5  # and for a connection
MOST = 1000  # bytes of a key: an index takes some 2,700
LARGE = 4 << 20  # bytes of a body after which a connection is closed: it keeps buffers of several times that size
FAR = 253_370_764_800.0  # the year 9999
_log = Logger()


@implementer(IMessageStore)
class PostgresStore(Service):
    """See ``IMessageStore``. The table is made where it is missing: ``key`` text, ``body`` bytea, ``expires``
    timestamptz or null."""

    def __init__(self, reactor: Any, address: PostgresAddress, timeout: float = TIMEOUT) -> None:
        self._reactor = reactor
        self._address = address
        self._timeout = timeout
        self._pool: Any = None
        self._calls: Calls | None = None
        self.batch = 1000  # most that one sweep removes
        self._made = False  # whether the table is there
        self._making = Lock()

    def startService(self) -> None:
        """Make the table, in time; it is tried again at each request."""
        from twisted.enterprise.adbapi import ConnectionPool

        super().startService()  # type: ignore[no-untyped-call]
        bound = min(CONNECT, max(2, round(self._timeout)))
        self._pool = ConnectionPool(
            "psycopg",
            self._address.url,
            autocommit=True,
            prepare_threshold=None,  # poolers such as pgbouncer know no prepared statements
            cp_min=0,
            cp_max=CONNECTIONS,
            cp_noisy=False,
            cp_reactor=self._reactor,
            **({} if "connect_timeout=" in self._address.url else {"connect_timeout": bound}),
        )
        threads: ThreadPool = self._pool.threadpool
        self._calls = Calls(self._reactor, threads, self._address.where, self._timeout, _why)
        self._run(lambda cursor: None).addErrback(self._not_yet)

    def _not_yet(self, failure: Any) -> None:
        if self.running:
            _log.warn("the message store cannot be used yet: {why}", why=failure.value)

    def stopService(self) -> Deferred[None]:
        """Once all requests have ended."""
        super().stopService()  # type: ignore[no-untyped-call]
        calls, self._calls = self._calls, None
        if calls is None:
            return succeed(None)
        return calls.wait().addCallback(lambda _: self._pool.close())

    def get(self, key: str) -> Deferred[bytes | None]:
        """The body."""
        now = _moment(self._reactor.seconds())
        sql = f"SELECT body FROM {self._table} WHERE key = %s AND (expires IS NULL OR expires > to_timestamp(%s))"
        return self._run(lambda cursor: _first(cursor.execute(sql, (_key(key), now)).fetchone()))

    def put(self, key: str, body: bytes, expires: float | None) -> Deferred[None]:
        """Keep it."""
        sql = (
            f"INSERT INTO {self._table} (key, body, expires) VALUES (%s, %s, to_timestamp(%s))"
            " ON CONFLICT (key) DO UPDATE SET body = excluded.body, expires = excluded.expires"
        )
        row = (_key(key), body, None if expires is None else _moment(expires))
        return self._run(lambda cursor: _nothing(cursor.execute(sql, row)), len(body))

    def remove(self, key: str) -> Deferred[None]:
        """Forget it."""
        sql = f"DELETE FROM {self._table} WHERE key = %s"
        return self._run(lambda cursor: _nothing(cursor.execute(sql, (_key(key),))))

    def sweep(self, now: float) -> Deferred[int]:
        """Those whose time is over; what another engine is removing is left to it."""
        sql = (
            f"DELETE FROM {self._table} WHERE key IN (SELECT key FROM {self._table} WHERE expires <= to_timestamp(%s)"
            " ORDER BY expires LIMIT %s FOR UPDATE SKIP LOCKED)"
        )
        return self._run(lambda cursor: _count(cursor.execute(sql, (_moment(now), self.batch))))

    @property
    def _table(self) -> str:
        return ".".join(f'"{name}"' for name in self._address.table.split("."))

    def _run(self, action: Callable[[Any], T], size: int = 0) -> Deferred[T]:
        if self._calls is None:
            return fail(StoreDown(self._address.where, "it is not open"))
        return self._calls.run(lambda call: self._work(call, action, size))

    # -- in a thread --------------------------------------------------------------------------------------------------

    def _work(self, call: Call, action: Callable[[Any], T], size: int) -> T:
        """A connection that a thread had before may be dead, after a restart of the server: then with another one. Each
        request may be made twice."""
        import psycopg

        had = self._pool.threadID() in self._pool.connections
        try:
            return self._once(call, action, size)
        except psycopg.errors.UndefinedTable:
            self._made = False  # somebody has dropped it
        except psycopg.OperationalError:
            if not had:
                raise
        call.check()
        return self._once(call, action, size)

    def _once(self, call: Call, action: Callable[[Any], T], size: int) -> T:
        connection = self._pool.connect()
        try:
            call.begin(lambda: _shut(connection))
            try:
                with connection.cursor(binary=True) as cursor:
                    if not self._made:
                        self._make(cursor)
                    answer = action(cursor)
            finally:
                call.ended()
        except BaseException:  # whatever it is: the next request gets a connection that is known to be good
            self._pool.disconnect(connection)
            raise
        if size > LARGE or (isinstance(answer, bytes) and len(answer) > LARGE):
            self._pool.disconnect(connection)
        return answer

    def _make(self, cursor: Any) -> None:
        with self._making:
            if self._made:
                return
            if cursor.execute("SELECT to_regclass(%s)::text", (self._table,)).fetchone()[0] is None:
                with cursor.connection.transaction():
                    cursor.execute("SELECT pg_advisory_xact_lock(%s)", (0x6D61696C,))  # engines that start together
                    cursor.execute(
                        f"CREATE TABLE IF NOT EXISTS {self._table}"
                        " (key text PRIMARY KEY, body bytea NOT NULL, expires timestamptz)"
                    )
                    name = self._address.table.rpartition(".")[2][:50]
                    cursor.execute(f'CREATE INDEX IF NOT EXISTS "{name}_expires" ON {self._table} (expires)')
            self._made = True


def _why(error: BaseException) -> Any:
    import psycopg

    return error if isinstance(error, psycopg.Error) else None


def _shut(connection: Any) -> None:
    """Ends the wait of the thread that uses it: to close it here would pull it from under that thread."""
    try:
        with socket.socket(fileno=os.dup(connection.fileno())) as twin:
            twin.shutdown(socket.SHUT_RDWR)
    except Exception:  # it is closed
        pass


def _key(key: str) -> str:
    return text_key(key, MOST)


def _moment(at: float) -> float:
    return min(max(at, 0.0), FAR)


def _first(row: Any) -> bytes | None:
    return None if row is None else row[0]


def _nothing(_: Any) -> None:
    return None


def _count(cursor: Any) -> int:
    return int(cursor.rowcount)
