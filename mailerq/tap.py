"""Where all parts are built and joined: the engine that ``twistd mailerq`` or one of its workers runs."""

from __future__ import annotations

import itertools
import os
import random
import secrets
import socket
from collections.abc import Callable, Coroutine
from functools import cache
from typing import TYPE_CHECKING, Any

from twisted.application.service import IService, MultiService
from twisted.internet import ssl
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from mailerq import __version__
from mailerq.admin.answers import Answers
from mailerq.admin.control import control_service
from mailerq.commons import Commons
from mailerq.content.service import ContentService
from mailerq.delivery import Deliveries
from mailerq.dns_query import AT_ONCE
from mailerq.events import Events
from mailerq.fellows import Fellows, open_journal
from mailerq.files import allow
from mailerq.interfaces import BrokerRefused
from mailerq.journal import Journal, JournalInUse
from mailerq.lane import Link
from mailerq.local import LocalAddresses
from mailerq.log import open_log
from mailerq.notes import AnyNotes, Notes
from mailerq.paces_file import PacesFile
from mailerq.process import each, end_in_failure, on_hangup
from mailerq.queues import make_broker
from mailerq.resolver import Resolver
from mailerq.scheduler import Connect, Scheduler
from mailerq.settings import Settings, SettingsError, load, parse, running, without_password
from mailerq.shared_limits import SharedLimits
from mailerq.shared_memory import open_shared
from mailerq.smtp.factory import ConnectOptions, HostFactory
from mailerq.worker import ALONE, Worker
from mailerq.workers.link import Link as ParentLink
from mailerq.workers.link import Served

if TYPE_CHECKING:
    from mailerq.limits_store.client import LimitsStore

_log = Logger()

SLOW = 60.0  # seconds beyond smtp.timeouts.end, and a worker that says nothing of a message is taken for stuck
OWN_FILES = 100  # the broker, the journal, logs, the manhole, what Python reads


@cache
def our_name() -> str:
    """The name of this host. Asked once: it may take a DNS lookup."""
    return socket.getfqdn()


def smtp_connector(reactor: Any, settings: Callable[[], Settings]) -> Connect:
    """What makes the connections of a scheduler."""
    trust: dict[str, Any] = {}
    name = our_name()

    def connect(owner: Any, link: Link, security: str) -> Any:
        smtp = settings().smtp
        key = link.lane.key
        if smtp.ca and smtp.ca not in trust:
            trust[smtp.ca] = _trust_root(smtp.ca)
        options = ConnectOptions(
            address=link.host.address,
            port=link.host.port,
            mx=link.host.mx,
            source=link.source,
            hostname=smtp.hostname or name,
            security=security,
            username=key.account[0] if key.account else None,
            password=key.account[1] if key.account else None,
            auth_in_clear=smtp.auth_in_clear,
            timeouts=link.lane.site.budget(link.source).timeouts(smtp.timeouts),
            trust=trust.get(smtp.ca) if smtp.ca else None,
        )
        return HostFactory(reactor, owner, link.host, options).connect()

    return connect


def open_state(
    reactor: Any, folder: str, worker: Worker, parent: ParentLink | None, *, by_store: bool = False
) -> tuple[PacesFile | SharedLimits, AnyNotes]:
    """What is remembered of paces (and, of several workers, shared), pauses, slow-downs and warm-ups. ``by_store``:
    limits are shared by other means. Raises OSError where the folder cannot be used."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    memory: PacesFile | SharedLimits
    if worker.alone or by_store:
        memory = PacesFile(worker.own(os.path.join(folder, "paces")), reactor.seconds)
    else:
        memory = open_shared(folder, worker.index, worker.count, reactor.seconds)
    return memory, Notes(os.path.join(folder, "notes.json"), reactor) if parent is None else parent.notes


def _trust_root(path: str) -> Any:
    with open(path, "rb") as file:
        pem = file.read()
    end = b"-----END CERTIFICATE-----"
    return ssl.trustRootFromCertificates(
        [ssl.Certificate.loadPEM(part + end) for part in pem.split(end) if b"BEGIN CERTIFICATE" in part]
    )


class Engine(MultiService):
    """All parts of one process, in the order in which they are started and stopped. ``worker``: which one of several
    it is, if there are several; then ``parent`` is the line to the process that watches over them."""

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        path: str | None,
        worker: Worker = ALONE,
        parent: ParentLink | None = None,
    ) -> None:
        super().__init__()
        self.setName("mailerq")
        self.reactor = reactor
        self.worker = worker
        self.parent_link = parent
        self.settings = settings = worker.share(settings)
        self.path = path
        self.dice = dice = random.Random()
        self.events = Events(reactor.seconds, lambda call: reactor.callLater(0, call))
        self.broker = make_broker(reactor, settings, dice, worker)
        self.resolver = Resolver(reactor, settings.dns, dice, settings.smtp.port)
        self.scheduler: Scheduler | None = None
        self.memory: PacesFile | SharedLimits | None = None
        self.notes: AnyNotes | None = None
        self.journal: Journal | None = None
        self.deliveries: Deliveries | None = None
        self.limits_store: LimitsStore | None = None
        self.content = ContentService(reactor, settings)
        self._stopping = False
        self.log = open_log(settings.log, self.events, worker)

    def startService(self) -> None:
        """Connect, and take jobs as soon as that can be."""
        super().startService()
        try:
            self.journal, fellows = self._open_journal()
        except (JournalInUse, OSError) as error:
            self._refuse(f"journal: {error}")
            return
        try:
            self._open_state()
        except OSError as error:
            self._refuse(f"state: {error}")
            return
        self.content.startService()
        self.scheduler = scheduler = self._make_scheduler()
        local = LocalAddresses(self.reactor.seconds)
        self.deliveries = Deliveries(
            self.reactor,
            self.settings,
            broker=self.broker,
            resolver=self.resolver,
            scheduler=scheduler,
            journal=self.journal,
            events=self.events,
            local=local,
            fellows=fellows,
            keeping=self.content.keeping,
            our_name=our_name(),
        )
        self.deliveries.on_loss = self._await_broker
        if self.settings.queues.by_address:
            self._take_by_address(self.deliveries, local)
        _say_what_is_on(self.settings, self.path)
        _allow_files(self.settings)
        self.broker.consume(self.settings.queues.outbox, self.deliveries, self.settings.queues.window)
        IService(self.broker).startService()
        self._await_broker()
        if self.limits_store is not None:
            self.limits_store.startService()
        self._keep_time(self.journal, scheduler)
        # a parent says by itself when to reload
        on_hangup(self.reactor, self.reload if self.parent_link is None else self.log.reopen)
        self._answer()
        if self.settings.manhole:
            self._open_manhole(self.worker.own(self.settings.manhole))

    def _open_journal(self) -> tuple[Journal, Fellows | None]:
        patience = self.settings.smtp.timeouts.end + SLOW
        return open_journal(self.settings.journal, self.worker, self.reactor.seconds, secrets.token_hex(6), patience)

    def _open_state(self) -> None:
        """Raises OSError."""
        store, folder = self.settings.limits_store, self.settings.state
        self.memory, self.notes = open_state(
            self.reactor, folder, self.worker, self.parent_link, by_store=store is not None
        )
        if store is not None:
            from mailerq.limits_store.engine_store import make_store

            self.limits_store = make_store(self.reactor, store, folder, self.worker, self.dice)

    def _make_scheduler(self) -> Scheduler:
        return Scheduler(
            self.reactor,
            self.settings,
            smtp_connector(self.reactor, lambda: self.settings),
            self.dice,
            memory=self.memory if isinstance(self.memory, PacesFile) else None,
            notes=self.notes,
            commons=self._commons(),
            contents=self.content.contents,
        )

    def _keep_time(self, journal: Journal, scheduler: Scheduler) -> None:
        """What is done again and again."""
        assert self.memory is not None
        reactor = self.reactor
        each(self, reactor, 1.0, lambda: journal.tick(self.broker.connected))
        each(self, reactor, 60.0, lambda: scheduler.hosts.forget_old(reactor.seconds()))
        each(self, reactor, 1.0, lambda: scheduler.reactions.tick(reactor.seconds()))
        each(self, reactor, 1.0, self.memory.tick)

    def _await_broker(self) -> None:
        """At the start, and each time the broker was lost: it may turn out that it can never be used again."""
        self.broker.ready().addCallbacks(self._ready, self._not_ready)

    def _ready(self, _: None) -> None:
        _log.info("taking jobs from {outbox}", outbox=self.settings.queues.outbox)
        if self.parent_link is not None:
            self.parent_link.ready()

    def _not_ready(self, failure: Any) -> None:
        if self._stopping:  # it was not there yet, or not again
            return
        if failure.check(BrokerRefused):
            self._refuse(str(failure.value))
        else:
            _log.failure("the broker could not be started", failure)
            self._refuse("the broker could not be started")

    def _refuse(self, why: str) -> None:
        """There is nothing to be done without a person: say why, and end with status 1."""
        _log.critical("cannot run: {why}", why=why)
        if self.parent_link is not None:
            self.parent_link.refused(why)
        end_in_failure(self.reactor)

    def _take_by_address(self, deliveries: Deliveries, local: LocalAddresses) -> None:
        """Take jobs that only this machine can send, and give those away that only another can."""
        from mailerq.elsewhere import LOOK, Elsewhere

        elsewhere = deliveries.elsewhere = Elsewhere(self.broker, self.settings.queues.outbox, self.reactor.seconds)

        def look() -> None:
            settings = self.settings
            known = dict.fromkeys([*settings.smtp.ips, *itertools.chain(*settings.pools.values())])
            queues = elsewhere.queues([address for address in known if local.has(address)])
            self.broker.consume_beside(queues, settings.queues.window)

        each(self, self.reactor, LOOK, look)

    def _commons(self) -> Commons | None:
        if self.limits_store is not None:
            return self.limits_store.member
        return self.memory if isinstance(self.memory, SharedLimits) else None

    def stopService(self) -> Deferred[None]:
        """Drain, then close."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._stopping = True
        if self.deliveries is not None:
            _log.info("stopping: finishing what is on the wire")
            await self.deliveries.stop()
        if self.limits_store is not None:
            await _maybe(self.limits_store.stopService())
        await _maybe(IService(self.broker).stopService())
        await self.content.close()
        await _maybe(super().stopService())
        if self.notes is not None:
            self.notes.close()
        if self.memory is not None:
            self.memory.close()
        self.log.close()

    def reload(self) -> None:
        """Read the configuration again; what is wrong with it is said, and nothing changes then. The log is opened anew
        in any case."""
        self._reload(lambda: load(self.path))

    def _reload(self, read: Callable[[], Settings]) -> None:
        self.log.reopen()
        try:
            settings = self.worker.share(read())
        except SettingsError as error:
            _log.error("not reloaded, the configuration cannot be used:\n{errors}", errors=str(error))
            return
        self.settings, fixed = running(settings, self.settings)
        _allow_files(self.settings)
        if self.scheduler is not None and self.deliveries is not None:
            self.scheduler.reload(self.settings)
            self.deliveries.reload(self.settings)
            self.content.reload(self.settings)
        self.resolver.clear(self.settings.dns)
        _log.info("reloaded{but}", but=f"; needs a restart: {', '.join(fixed)}" if fixed else "")

    def _answer(self) -> None:
        """Let people ask why, over the control socket and in the manhole."""
        self.answers = Answers(
            lambda: self.settings,
            scheduler=self.scheduler,
            deliveries=self.deliveries,
            resolver=self.resolver,
            broker=self.broker,
            events=self.events,
        )
        if self.parent_link is not None:
            self._serve(self.parent_link)
        elif self.settings.control:
            control_service(self.reactor, self.settings.control, self.answers).setServiceParent(self)

    def _serve(self, parent: ParentLink) -> None:
        """Do what the parent says, and tell it what the other workers must know."""
        scheduler, source = self.scheduler, self.settings.source
        assert scheduler is not None
        parent.serve(
            Served(
                self.answers,
                lambda change: scheduler.reactions.hear(change, scheduler.sites.get),
                lambda text: self._reload(lambda: parse(text, source, os.environ)),
                self.log.reopen,
            )
        )
        scheduler.reactions.share(parent.tell)

    def _open_manhole(self, path: str) -> None:
        from mailerq.admin.manhole import manhole_service

        assert self.deliveries is not None and self.scheduler is not None
        names = {
            "engine": self,
            "broker": self.broker,
            "deliveries": self.deliveries,
            "mails": self.deliveries.in_hand,
            "scheduler": self.scheduler,
            "sites": self.scheduler.sites,
            "hosts": self.scheduler.hosts,
            "pauses": self.scheduler.reactions.pauses,
            "answers": self.answers,
            "explain": self.answers.explain,
            "resolver": self.resolver,
            "journal": self.journal,
            "limits_store": self.limits_store,
            "events": self.events,
        }
        manhole_service(self.reactor, path, names).setServiceParent(self)


def _say_what_is_on(settings: Settings, path: str | None) -> None:
    broker = settings.broker
    where = broker.path if broker.kind == "sqlite" else ", ".join(without_password(one) for one in broker.addresses)
    _log.info(
        "mailerq {version}, configuration {path}, queues in {kind} {where}",
        version=__version__,
        path=path or "(defaults)",
        kind=broker.kind,
        where=where,
    )
    if settings.queues.invalid is None:
        _log.warn("queues.invalid is off: what is no job is logged and dropped")


def _allow_files(settings: Settings) -> None:
    """A connection for which no file is left would look as if the remote host could not be reached."""
    wanted = settings.smtp.max_connections + AT_ONCE + OWN_FILES
    allowed = allow(wanted)
    if allowed < wanted:
        _log.warn(
            "the system lets us open {allowed} files, and smtp.max-connections {most} may need {wanted}: raise "
            "the limit (LimitNOFILE, ulimit -n), or connections will fail",
            allowed=allowed,
            most=settings.smtp.max_connections,
            wanted=wanted,
        )


async def _maybe(result: Any) -> None:
    if isinstance(result, Deferred | Coroutine):
        await result
