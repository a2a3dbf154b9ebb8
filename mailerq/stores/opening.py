"""Makes the store that the configuration names. Its module is imported then, and no other."""

from __future__ import annotations

from typing import Any

from mailerq.interfaces import IMessageStore
from mailerq.stores.address import Store


def make_store(reactor: Any, store: Store) -> IMessageStore:
    """The store that ``store`` names, not started yet."""
    from mailerq.stores.packed import PackedStore

    return PackedStore(reactor, _store(reactor, store), store.compress == "gzip", store.timeout)


def _store(reactor: Any, store: Store) -> IMessageStore:
    path = store.address.partition(":")[2]
    if store.kind == "directory":
        from mailerq.stores.directory import DirectoryStore

        return DirectoryStore(reactor, path, store.timeout)
    if store.kind == "sqlite":
        from mailerq.stores.sqlite import SqliteStore

        return SqliteStore(reactor, path, store.timeout)
    if store.kind == "memory":
        from mailerq.stores.memory import MemoryStore

        return MemoryStore(reactor)
    if store.kind == "postgresql":
        from mailerq.stores.postgres import PostgresStore
        from mailerq.stores.remote import parse_postgres

        return PostgresStore(reactor, parse_postgres(store.address), store.timeout)
    if store.kind == "mongodb":
        from mailerq.stores.mongo import MongoStore
        from mailerq.stores.remote import parse_mongo

        return MongoStore(reactor, parse_mongo(store.address), store.timeout)
    if store.kind == "s3":
        from mailerq.stores.remote import parse_s3
        from mailerq.stores.s3 import S3Store

        return S3Store(reactor, parse_s3(store.address), store.timeout)
    raise ValueError(f"no store of this kind: {store.kind}")
