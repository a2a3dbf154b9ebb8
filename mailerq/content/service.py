"""All that makes messages, as one service: the chain, threads for its slow steps, the message store and its sweeper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.internet import TimerService
from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from mailerq.content import inline_css
from mailerq.content.contents import Contents
from mailerq.content.downloads import Downloads
from mailerq.content.host_names import HostNames
from mailerq.content.keeping import Keeping, Rules
from mailerq.content.steps import make_chain
from mailerq.interfaces import IMessageStore
from mailerq.settings import Settings
from mailerq.stores.opening import make_store

THREADS = 4
SWEEP = 60.0  # seconds between looks for bodies whose time is over
_log = Logger()


class ContentService(MultiService):
    """``contents`` makes messages; ``keeping`` is None where there is no message store."""

    def __init__(self, reactor: Any, settings: Settings) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._reactor = reactor
        self._threads: ThreadPool | None = None
        self.keeping: Keeping | None = None
        self.downloads = Downloads(reactor, settings.downloads, HostNames(reactor, settings.dns))
        self.contents = Contents(reactor, make_chain(settings, self.downloads), self._run)
        if settings.store is not None:
            self._use(make_store(reactor, settings.store), settings)

    def _use(self, store: IMessageStore, settings: Settings) -> None:
        said = settings.store
        assert said is not None
        self.contents.store, self.contents.store_retry = store, said.retry
        self.keeping = Keeping(self._reactor, store, Rules(said.policy, said.delete, said.ttl))
        IService(store).setServiceParent(self)
        sweeper: Any = TimerService(SWEEP, self._sweep, store)
        sweeper.clock = self._reactor
        sweeper.setServiceParent(self)

    def _sweep(self, store: IMessageStore) -> Deferred[None]:
        """Whatever happens, it is tried again the next time."""
        return Deferred.fromCoroutine(self._sweep_all(store)).addErrback(self._not_swept)

    async def _sweep_all(self, store: IMessageStore) -> None:
        count = 0
        while self.running and (more := await store.sweep(self._reactor.seconds())):
            count += more
        if count:
            _log.info("{count} bodies whose time was over were removed from the store", count=count)

    def _not_swept(self, failure: Any) -> None:
        if not failure.check(ConnectionError):
            _log.failure("the store could not be swept", failure)

    def _run(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        if self._threads is None:
            self._threads = ThreadPool(1, THREADS, "content")
            self._threads.start()
        return deferToThreadPool(self._reactor, self._threads, function, *arguments)

    def reload(self, settings: Settings) -> None:
        """Other steps hold from now on; the store stays."""
        self.downloads.use(settings.downloads, HostNames(self._reactor, settings.dns))
        self.contents.chain = make_chain(settings, self.downloads)

    async def close(self) -> None:
        """Stop all of it."""
        if self.running:
            stopped: Deferred[Any] = self.stopService()  # type: ignore[no-untyped-call]
            await stopped
        if self._threads is not None:
            threads, self._threads = self._threads, None
            threads.stop()
        inline_css.close()
