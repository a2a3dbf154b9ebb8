"""What a body costs the engine in each message store: put, get, remove, through the store that the configuration makes.

    python benchmarks/stores.py [--kind postgresql …] [--count 5000] [--size 2000] [--at-once 20] [--compress gzip]

One line for each kind: µs of CPU of this process (all threads) for each request, and how many there were a second.
PostgreSQL is a real server, with fsync. MongoDB and S3 are the played ones of the tests, in processes of their own:
their lines say what our side costs, and nothing of how fast the real ones answer.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import cooperate

sys.path.insert(0, str(Path(__file__).parent.parent))

from mailerq.stores.address import Store
from mailerq.stores.opening import make_store
from tests.rabbit import free_ports

KINDS = ("memory", "directory", "sqlite", "postgresql", "mongodb", "s3")


def cpu() -> float:
    """Seconds of CPU that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@contextmanager
def place(kind: str) -> Iterator[str]:
    """The address of an empty store of this kind; its server runs meanwhile."""
    folder = tempfile.mkdtemp()
    try:
        if kind in ("directory", "sqlite"):
            yield f"{kind}:{folder}/bodies"
        elif kind == "postgresql":
            with postgres() as address:
                yield address
        elif kind in ("mongodb", "s3"):
            with played(kind) as address:
                yield address
        else:
            yield f"{kind}:"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def postgres() -> Iterator[str]:
    """A server of our own."""
    from tests.postgresql import PostgreSQL

    server = PostgreSQL(fsync=True)
    try:
        server.start()
        yield server.url
    finally:
        server.remove()


@contextmanager
def played(kind: str) -> Iterator[str]:
    """A played server, in a process of its own."""
    (port,) = free_ports(1)
    server = subprocess.Popen([sys.executable, __file__, "--serve", kind, "--port", str(port)])
    try:
        end = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if time.monotonic() > end or server.poll() is not None:
                    raise
                time.sleep(0.05)
        if kind == "s3":
            yield f"s3://key:secret@mails/bodies?endpoint=http://127.0.0.1:{port}"
        else:
            yield f"mongodb://127.0.0.1:{port}/mail/bodies"
    finally:
        server.terminate()
        server.wait(10)


def serve(kind: str, port: int) -> None:
    """Be a played server until we are killed."""
    if kind == "mongodb":
        from tests.mongo_server import PlayedMongo

        mongo = PlayedMongo()
        mongo.port = port
        mongo.listen()
        reactor.run()
    else:
        from tests.object_server import ObjectServer

        objects = ObjectServer()
        objects.port = port
        objects.clear()
        objects.start()
        while True:
            time.sleep(60)


async def measure(count: int, at_once: int, ask: Callable[[int], Deferred[Any]]) -> str:
    """So many requests, so many of them at once."""
    work = (ask(number) for number in range(count))
    began, used = time.perf_counter(), cpu()
    for line in [cooperate(work) for _ in range(at_once)]:
        await line.whenDone()
    used, wall = cpu() - used, time.perf_counter() - began
    return f"{used / count * 1e6:6.0f} µs {count / wall:7,.0f}/s"


async def rounds(kind: str, arguments: argparse.Namespace) -> None:
    """Print the line of one kind."""
    body = (b"Subject: Mail\r\n\r\n" + os.urandom(arguments.size // 2).hex().encode())[: arguments.size]
    count = arguments.count if kind != "s3" else min(arguments.count, 1000)
    with place(kind) as address:
        store: Any = make_store(reactor, Store(address, compress=arguments.compress))
        store.startService()
        expires = time.time() + 86400
        await store.put("first", body, expires)
        found = [
            await measure(count, arguments.at_once, ask)
            for ask in (
                lambda number: store.put(f"key-{number}", body, expires),
                lambda number: store.get(f"key-{number}"),
                lambda number: store.remove(f"key-{number}"),
            )
        ]
        await store.stopService()
    print(f"{kind:11} put {found[0]}   get {found[1]}   remove {found[2]}", flush=True)


async def run(arguments: argparse.Namespace) -> None:
    """One kind after the other."""
    for kind in arguments.kind or KINDS:
        await rounds(kind, arguments)


def main() -> None:
    """Read what is asked for, measure, end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", nargs="+", choices=KINDS)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--size", type=int, default=2000)
    parser.add_argument("--at-once", type=int, default=20)
    parser.add_argument("--compress", choices=("none", "gzip"), default="none")
    parser.add_argument("--serve", choices=("mongodb", "s3"), help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve, arguments.port)
        return

    def begin() -> None:
        made = ensureDeferred(run(arguments))
        made.addErrback(lambda failure: failure.printTraceback())
        made.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run()


if __name__ == "__main__":
    main()
