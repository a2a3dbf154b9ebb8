"""Put a body into the message store by its key, print it, or remove it. Bodies go in and come out byte for byte."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

from mailerq.commands import Failed
from mailerq.commands.in_reactor import in_reactor


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """put KEY [--ttl T], get KEY, remove KEY."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    put = actions.add_parser("put", help="store what is on standard input, in place of what is there")
    until = "how long it is kept: a time such as 12h or 30d, or never (default: delivery.max-delivery-time + store.ttl)"
    put.add_argument("--ttl", metavar="TIME", type=_ttl, default=0.0, help=until)
    get = actions.add_parser("get", help="print it")
    remove = actions.add_parser("remove", help="forget it; none there is fine")
    for action in (put, get, remove):
        action.add_argument("key", metavar="KEY", type=_key)
        action.add_argument("-c", "--config", default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def _key(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("the key is empty")
    if any("\ud800" <= sign <= "\udfff" for sign in text):
        raise argparse.ArgumentTypeError("the key is no UTF-8")
    return text


def _ttl(text: str) -> float | None:
    from mailerq.units import parse_time

    if text == "never":
        return None
    try:
        seconds = parse_time(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if seconds <= 0:
        raise argparse.ArgumentTypeError("must be more than nothing")
    return seconds


def run(arguments: argparse.Namespace, settings: Any) -> int:
    """Do it."""
    if settings.store is None:
        raise Failed("there is no message store: the configuration has no `store`")
    if settings.store.kind == "memory":
        raise Failed("a store in memory is in the engine alone")
    key = arguments.key
    if arguments.action == "put":
        put(settings, key, arguments.ttl)
    elif arguments.action == "remove":
        with_store(settings, lambda store: store.remove(key))
    else:
        body = with_store(settings, lambda store: store.get(key))
        if body is None:
            raise Failed(f"nothing is found by the key {key!r}")
        sys.stdout.buffer.write(body)
        sys.stdout.buffer.flush()
    return 0


def put(settings: Any, key: str, ttl: float | None) -> None:
    """Standard input into the store."""
    try:
        with open(0, "rb", closefd=False) as source:
            body = source.read()
    except OSError as error:
        raise Failed(f"standard input: {error.strerror or error}") from None
    if ttl == 0.0:
        ttl = settings.delivery.max_delivery_time + settings.store.ttl
    expires = None if ttl is None else time.time() + ttl
    with_store(settings, lambda store: store.put(key, body, expires))


def with_store(settings: Any, work: Callable[[Any], Any]) -> Any:
    """What ``work`` gives with the configured store. Raises what it raises."""
    from mailerq.stores.opening import make_store

    return in_reactor(lambda reactor: _worked(make_store(reactor, settings.store), work))


async def _worked(store: Any, work: Callable[[Any], Any]) -> Any:
    store.startService()
    try:
        return await work(store)
    finally:
        await store.stopService()
