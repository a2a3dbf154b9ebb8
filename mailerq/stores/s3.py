"""Bodies as objects of S3, or of a server that speaks its protocol, through boto3 in threads.

When the time of a body is over stands in its metadata (``mailerq-expires``, epoch seconds), which lists of objects do
not show: the sweeper asks for each object that this process has not put itself, once, and again before it removes one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from time import sleep
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, FirstError, gatherResults
from zope.interface import implementer

from mailerq.interfaces import IMessageStore
from mailerq.stores.keys import path_key
from mailerq.stores.remote import S3Address
from mailerq.stores.threads import Threads

THREADS = 8
SWEEPERS = 4  # of them, for a sweep
TIMEOUT = 20.0
CONNECT = 5.0
MOST = 1000  # bytes of an object's name, the prefix included: 1,024 are allowed
KNOWN = 50_000  # objects whose times are remembered
PAUSE = 0.2  # seconds before what the server was too busy for is tried again
EXPIRES = "mailerq-expires"
_BUSY = {500, 502, 503, 504}


@implementer(IMessageStore)
class S3Store(Service):
    """See ``IMessageStore``."""

    def __init__(self, reactor: Any, address: S3Address, timeout: float = TIMEOUT) -> None:
        self.batch = 1000  # most that one sweep removes
        self._reactor = reactor
        self._address = address
        self._timeout = timeout
        self._threads = Threads(reactor, address.where, timeout, _why, size=THREADS)
        self._lock = Lock()
        self._made: Any = None
        self._times: dict[str, tuple[str, float | None]] = {}  # by name: the ETag, and when its time is over
        self._place = ""  # up to this name all were looked at by the sweeper

    def startService(self) -> None:
        """The connections are made with the first request."""
        super().startService()  # type: ignore[no-untyped-call]
        self._threads.start()

    def stopService(self) -> Deferred[None]:
        """Once all requests have ended."""
        super().stopService()  # type: ignore[no-untyped-call]
        return self._threads.stop()

    def get(self, key: str) -> Deferred[bytes | None]:
        """The body."""
        return self._threads.run(self._get, self._name(key), self._reactor.seconds())

    def put(self, key: str, body: bytes, expires: float | None) -> Deferred[None]:
        """Keep it."""
        return self._threads.run(self._put, self._name(key), body, expires, writes=True)

    def remove(self, key: str) -> Deferred[None]:
        """Forget it."""
        return self._threads.run(self._remove, self._name(key), writes=True)

    def sweep(self, now: float) -> Deferred[int]:
        """Those whose time is over, from where the last sweep has ended; for half the time-out at most."""
        return Deferred.fromCoroutine(self._sweep(now))

    def _name(self, key: str) -> str:
        prefix = self._address.prefix
        return prefix + path_key(key, MOST - len(prefix))

    async def _sweep(self, now: float) -> int:
        removed, end = 0, self._reactor.seconds() + self._timeout / 2
        while True:
            names, more = await self._threads.run(self._list, self._place)
            last = names[-1][0] if names else ""
            perhaps = [name for name, tag in names if self._may_be_over(name, tag, now)]
            while perhaps:
                some = perhaps[: min(SWEEPERS, self.batch - removed)]
                perhaps = perhaps[len(some) :]
                removed += await self._remove_some(some, now)
                self._place = some[-1]
                if removed >= self.batch or self._reactor.seconds() >= end:
                    return removed
            self._place = last if more else ""
            if not more or self._reactor.seconds() >= end:
                return removed

    async def _remove_some(self, names: Sequence[str], now: float) -> int:
        try:
            return sum(
                await gatherResults(
                    [self._threads.run(self._remove_if_over, name, now, writes=True) for name in names],
                    consumeErrors=True,
                )
            )
        except FirstError as error:
            error.subFailure.raiseException()
            raise

    def _may_be_over(self, name: str, tag: str, now: float) -> bool:
        known = self._times.get(name)
        return known is None or known[0] != tag or (known[1] is not None and known[1] <= now)

    # -- in a thread --------------------------------------------------------------------------------------------------

    def _get(self, name: str, now: float) -> bytes | None:
        def read(client: Any) -> bytes | None:
            found = client.get_object(Bucket=self._address.bucket, Key=name)
            with found["Body"] as stream:
                expires = _expires(found)
                return None if expires is not None and expires <= now else bytes(stream.read())

        body: bytes | None = self._found(read)
        return body

    def _put(self, name: str, body: bytes, expires: float | None) -> None:
        metadata = {} if expires is None else {EXPIRES: repr(float(expires))}
        put = self._ask(
            lambda client: client.put_object(Bucket=self._address.bucket, Key=name, Body=body, Metadata=metadata)
        )
        self._remember(name, put.get("ETag", ""), expires)

    def _remove(self, name: str) -> None:
        self._ask(lambda client: client.delete_object(Bucket=self._address.bucket, Key=name))
        self._times.pop(name, None)

    def _list(self, after: str) -> tuple[list[tuple[str, str]], bool]:
        """Some objects in order, each with its ETag; whether there are more."""
        found = self._ask(
            lambda client: client.list_objects_v2(
                Bucket=self._address.bucket, Prefix=self._address.prefix, **({"StartAfter": after} if after else {})
            )
        )
        names = [(one["Key"], one.get("ETag", "")) for one in found.get("Contents", ())]
        return names, bool(found.get("IsTruncated")) and bool(names)

    def _remove_if_over(self, name: str, now: float) -> int:
        head = self._found(lambda client: client.head_object(Bucket=self._address.bucket, Key=name))
        if head is None:
            self._times.pop(name, None)
            return 0
        expires = _expires(head)
        if expires is None or expires > now:
            self._remember(name, head.get("ETag", ""), expires)
            return 0
        self._remove(name)
        return 1

    def _remember(self, name: str, tag: str, expires: float | None) -> None:
        with self._lock:
            self._times.pop(name, None)
            self._times[name] = (tag, expires)
            if len(self._times) > KNOWN:
                del self._times[next(iter(self._times))]

    def _found(self, ask: Callable[[Any], Any]) -> Any:
        """What was asked for; None: there is no such object."""
        from botocore.exceptions import ClientError

        try:
            return self._ask(ask)
        except ClientError as error:
            if _code(error) in ("NoSuchKey", "404", "NotFound"):
                return None
            raise

    def _ask(self, ask: Callable[[Any], Any]) -> Any:
        """Once more, where the server was busy or a connection that was kept open is closed."""
        from botocore.exceptions import ClientError, ConnectionClosedError

        client = self._client()
        try:
            return ask(client)
        except ConnectionClosedError:
            pass
        except ClientError as error:
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") not in _BUSY:
                raise
            sleep(PAUSE)
        return ask(client)

    def _client(self) -> Any:
        with self._lock:
            if self._made is None:
                self._made = _connect(self._address, self._timeout)
            return self._made


def _connect(address: S3Address, timeout: float) -> Any:
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=min(CONNECT, timeout),
        read_timeout=timeout,
        retries={"total_max_attempts": 1},
        max_pool_connections=THREADS,
        request_checksum_calculation="when_required",  # other servers than Amazon's refuse what is not
        response_checksum_validation="when_required",
        s3={"addressing_style": "path" if address.endpoint else "auto"},
        user_agent_appid="mailerq",
    )
    session = boto3.session.Session(
        aws_access_key_id=address.user, aws_secret_access_key=address.password, region_name=address.region
    )
    region = session.region_name or ("us-east-1" if address.endpoint else None)
    return session.client("s3", endpoint_url=address.endpoint, region_name=region, config=config)


def _expires(found: Any) -> float | None:
    try:
        return float(found["Metadata"][EXPIRES])
    except (KeyError, ValueError):
        return None


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _why(error: BaseException) -> Any:
    from botocore.exceptions import BotoCoreError, ClientError

    if isinstance(error, ClientError):
        return f"{_code(error)}: {error.response.get('Error', {}).get('Message', '')}"
    return error if isinstance(error, BotoCoreError | OSError) else None
