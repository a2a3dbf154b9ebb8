"""The thread that owns the embedded queue's connection: it collects what is asked, writes it in one transaction, and
tells the reactor once per transaction.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from time import monotonic, sleep
from typing import Protocol

from mailerq.interfaces import Publication
from mailerq.queues.sqlite_file import Claimed, Lying, QueueFile, Row, Unusable, is_damage, is_passing, row
from mailerq.queues.sqlite_lock import Group

MOURN = 30.0  # how often what dead owners held is freed
MOURN_FELLOWS = 1.0  # and where other workers may be among them
POLL = 0.05  # how often another process' writing is looked for, seconds;
POLL_SOON = 0.01  # while one writes, that is for
BRISK = 2.0  # seconds after it was last seen to: a look costs some microseconds, and a mail may wait for it
LINGER = 0.005  # under load, commits are at least this far apart
TRICKLE = 0.02  # how often single free places are filled
BATCH = 1000  # messages claimed at once
SHARE = 200  # and by one of several workers
TURN = 0.01  # by which its claims are apart, so that the others have theirs
LONG_TURN = 0.1  # and where it has much already, and few are left, so that all others have looked
MUCH = 50  # messages in hand
MOST_BYTES = 64 << 20  # bytes of bodies in hand, above which nothing more is taken
LONGEST_REST = 10.0  # between tries while nothing can be written
UNFIT = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    TypeError,
    ValueError,
    AttributeError,
)  # what a publication that no queue can hold raises


class Request:
    """Something to be written. ``publications`` None: give ``id`` back; ``id`` None: only publish.

    ``made``: what came of it. ``done`` is called in the reactor's thread.
    """

    __slots__ = ("done", "id", "made", "publications")

    def __init__(
        self, id: int | None, publications: Sequence[Publication] | None, done: Callable[[bool], None] | None
    ) -> None:
        self.id = id
        self.publications = publications
        self.done = done
        self.made = True


class _NotOurs(Exception):
    """A message that was to be settled is no longer in our hands."""


Call = Callable[["Clerk"], Callable[[], None]]  # is run in the thread; what it returns, in the reactor


class Listener(Protocol):
    """What the clerk tells; every method is called in the reactor's thread."""

    def opened(self) -> None:
        """The file can be used."""

    def refused(self, why: str) -> None:
        """The file cannot be used; the thread has ended."""

    def told(self, requests: list[Request], claimed: list[Claimed]) -> None:
        """A transaction is over: what was asked, and what was claimed for the consumer."""

    def lost(self, why: str) -> None:
        """The file cannot be used at the moment; claims are void."""

    def trouble(self, why: str | None) -> None:
        """Nothing can be written at the moment, for that reason; None: it works again."""

    def closed(self) -> None:
        """The thread has ended as it was asked to."""


class Clerk:
    """Runs ``run`` in a thread of its own. All other public methods are for the reactor's thread.

    ``seconds`` tells the time (epoch), ``tell`` runs a function in the reactor's thread (``callFromThread``).
    ``queues`` are declared at the start. ``max_priority`` None: priorities are ignored. ``group``: with whom we share
    the file, if we are one of several workers.
    """

    def __init__(
        self,
        path: str,
        open_file: Callable[[], QueueFile],
        listener: Listener,
        *,
        seconds: Callable[[], float],
        tell: Callable[..., None],
        queues: Sequence[str],
        max_priority: int | None,
        group: Group | None = None,
    ) -> None:
        self._path = path
        self._open_file = open_file
        self._listener = listener
        self._seconds = seconds
        self._tell = tell
        self._queues = queues
        self._max_priority = max_priority
        self._group = group
        self._mourn, self._batch = (MOURN, BATCH) if group is None else (MOURN_FELLOWS, SHARE)
        self._apart = 0.0 if group is None else TURN
        self._few = False
        self._inbox: SimpleQueue[tuple[list[Request], list[Call]] | None] = SimpleQueue()
        self.paused = False
        self._consumed: tuple[str, int] | None = None
        self._thread = threading.Thread(target=self.run, name="queue", daemon=True)
        # From here on, the thread's own.
        self._stopping = False
        self._requests: list[Request] = []
        self._calls: list[Call] = []
        self.file: QueueFile | None = None
        self._engine = False
        self._owner = 0
        self._held: dict[int, int] = {}
        self._bytes = 0
        self._more = True
        self._next_due: float | None = None
        self._version = -1
        self._mourned = monotonic()
        self._polled = self._others_wrote = self._claimed_at = self._committed_at = self._rest_until = 0.0
        self._rest = 0.0
        self._busy = False

    # -- for the reactor's thread

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def ask(self, requests: list[Request], calls: list[Call]) -> None:
        """Hand over what one turn of the reactor has collected."""
        self._inbox.put((requests, calls))

    def stop(self) -> None:
        """Write what was asked, give back what is in hand, close, end."""
        self._inbox.put(None)

    def consume(self, queue: str, window: int) -> None:
        """From now on claim for the consumer, as the engine."""
        self._consumed = (queue, window)
        self._inbox.put(([], []))

    # -- the thread

    def run(self) -> None:
        """Open, serve, and open again after a loss, until stopped or refused."""
        rest = 0.1
        while True:
            opened = monotonic()
            try:
                self._open()
                self._serve()
                self._close()
                self._tell(self._listener.closed)
                return
            except Exception as error:
                self._close()
                in_vain = isinstance(error, Unusable) or is_damage(error)
                self._tell(self._listener.refused if in_vain else self._listener.lost, self._why(error))
                self._fail_all()
                if in_vain:
                    return
            rest = 0.1 if monotonic() - opened > 60 else min(rest * 2, LONGEST_REST)
            if self._pause_after_loss(rest):
                self._tell(self._listener.closed)
                return

    def _why(self, error: Exception) -> str:
        if isinstance(error, Unusable):
            return str(error)
        return f"{self._path}: {'damaged: ' if is_damage(error) else ''}{error or type(error).__name__}"

    def _open(self) -> None:
        self.file = self._open_file()
        with self.file.transaction():
            self.file.declare(self._queues)
            if self._owner:
                self.file.dismiss(self._owner)  # lost before
        self._held, self._bytes, self._more, self._engine, self._owner = {}, 0, True, False, 0
        self._version, self._rest = -1, 0.0
        self._engage()
        self._tell(self._listener.opened)

    def _engage(self) -> None:
        """Become the engine, once somebody consumes."""
        if self._consumed and not self._engine and self.file:
            self.file.lock(self._group)
            self._owner = self.file.register(self._owner)
            with self.file.transaction():
                self.file.declare([self._consumed[0]])
            self._engine = True

    def _close(self) -> None:
        if self.file is None:
            return
        try:
            if self._owner:
                with self.file.transaction():
                    self.file.dismiss(self._owner)
        except sqlite3.Error:
            pass  # whoever comes next finds that this owner is dead
        self.file.close()
        self.file = None

    def _fail_all(self) -> None:
        """Answer what cannot be done any more."""
        requests, self._requests = self._requests, []
        for request in requests:
            request.made = False
        if requests:
            self._tell(self._listener.told, requests, [])
        self._run_calls()

    def _pause_after_loss(self, rest: float) -> bool:
        """Wait, answering all with no; whether to end."""
        until = monotonic() + rest
        while not self._stopping and (left := until - monotonic()) > 0:
            self._receive(left)
            self._fail_all()
        return self._stopping

    def _serve(self) -> None:
        while True:
            self._receive(self._patience())
            if self._busy and not self._stopping:
                self._linger()
            self._engage()
            self._look_for_others()
            self._write()
            self._run_calls()
            if self._stopping:
                self._fail_all()
                return

    def _patience(self) -> float:
        """How long to sleep if nothing is asked."""
        now = monotonic()
        until = self._polled + self._poll(now)
        if self._rest:
            until = min(until, self._rest_until)
        elif room := self._room():
            until = min(until, max(now, self._next_claim(room)))
        if self._next_due is not None and not self._rest:
            until = min(until, now + self._next_due - self._seconds())
        return max(until - now, 0.0)

    def _receive(self, patience: float) -> None:
        """Collect what was asked, after waiting for the first of it."""
        try:
            asked = self._inbox.get(timeout=patience) if patience > 0 else self._inbox.get_nowait()
            while True:
                if asked is None:
                    self._stopping = True
                else:
                    self._requests += asked[0]
                    self._calls += asked[1]
                asked = self._inbox.get_nowait()
        except Empty:
            pass

    def _linger(self) -> None:
        """Let more come before the next commit."""
        left = self._committed_at + LINGER - monotonic()
        if left > 0:
            sleep(left)
            self._receive(0)

    def _poll(self, now: float) -> float:
        return POLL_SOON if now - self._others_wrote < BRISK else POLL

    def _look_for_others(self) -> None:
        """See whether another process has written."""
        now = monotonic()
        if self.file is not None and now - self._polled >= self._poll(now):
            self._polled = now
            version = self.file.data_version()
            if version != self._version:
                self._version = version
                self._others_wrote = now
                self._more = True
                self._next_due = self.file.next_due()
        if self.file is not None and now - self._mourned >= self._mourn:
            self._mourned = now
            if self.file.dead(self._owner):
                self._bury(self.file)

    def _bury(self, file: QueueFile) -> None:
        try:
            with file.transaction():
                self._more = file.bury(self._owner) or self._more
        except sqlite3.Error as error:  # then the next time
            if not is_passing(error):
                raise

    # -- the thread: taking

    def _room(self, freed: int = 0) -> int:
        """How many the consumer may be given now, where there may be more; ``freed``: settled, but held still."""
        if not (self._more and self._engine and self._consumed) or self.paused or self._stopping:
            return 0
        if self._bytes >= MOST_BYTES:
            return freed
        return max(self._consumed[1] - len(self._held) + freed, 0)

    def _is_early(self, room: int) -> bool:
        """Whether it is better to wait for a moment."""
        return monotonic() < self._next_claim(room)

    def _next_claim(self, room: int) -> float:
        """When to claim: with little room more may come of it, and other workers have their turn."""
        little = self._consumed is not None and room * 2 < self._consumed[1]
        if self._few and len(self._held) >= MUCH:
            return self._claimed_at + LONG_TURN
        return self._claimed_at + (TRICKLE if little else self._apart)

    def _claim(self, requests: Sequence[Request]) -> list[Claimed] | None:
        """What the consumer gets once ``requests`` are made; None if it was not looked for. Within a transaction."""
        room = self._room(sum(one.id in self._held for one in requests))
        if not room or self._is_early(room):
            return None
        assert self._consumed is not None
        file, queue = self._usable(), self._consumed[0]
        if self._group is not None:
            room = min(room, self._part(file, queue, self._group.size))
        return file.claim(queue, self._owner, min(room, self._batch))

    def _part(self, file: QueueFile, queue: str, size: int) -> int:
        """How many of those that are ready are for one of ``size`` workers."""
        most = self._batch * size
        ready = file.ready(queue, most)
        self._few = ready < most
        return -(-ready // size) or 1

    def get(self, queue: str, count: int) -> list[Claimed]:
        """Claim for somebody who asks once. Raises what hinders it."""
        file = self._usable()
        if not self._owner:
            self._owner = file.register()
        with file.transaction():
            file.promote(self._seconds())
            return file.claim(queue, self._owner, count)

    def states(self, names: Sequence[str]) -> list[Lying]:
        """What lies in the queues that there are. Raises what hinders it."""
        file, now = self._usable(), self._seconds()
        return [state for name in names if (state := file.state(name, now))]

    def _usable(self) -> QueueFile:
        if self.file is None:
            raise ConnectionError("the queue file cannot be used at the moment")
        return self.file

    def _run_calls(self) -> None:
        calls, self._calls = self._calls, []
        for call in calls:
            self._tell(call(self))

    # -- the thread: writing

    def _write(self) -> None:
        """One transaction: all that was asked, what is due, what the consumer gets."""
        if self._rest and monotonic() < self._rest_until and not self._stopping:
            return
        due = self._next_due is not None and self._next_due <= self._seconds()
        room = self._room()
        if not (self._requests or due or (room and not self._is_early(room))):
            return
        try:
            self._try_to_write(due)
        except sqlite3.Error as error:
            if not is_passing(error):
                raise
            self._have_trouble(error)

    def _try_to_write(self, due: bool) -> None:
        try:
            self._commit(due)
        except _NotOurs:
            self._forget_lost()
            self._commit(due)
        except UNFIT:
            self._write_singly()

    def _commit(self, due: bool) -> None:
        file, now = self._usable(), self._seconds()
        requests = self._requests
        with file.transaction():
            rows = self._apply(requests, now)
            if due and file.promote(now):
                self._more = True
            claimed = self._claim(requests)
        self._requests = []
        self._busy = len(requests) >= 8
        self._committed_at = monotonic()
        if claimed is not None:
            self._keep(claimed)
        self._account(requests, rows)
        if due:
            self._next_due = file.next_due()
        if self._rest:
            self._rest = 0.0
            self._tell(self._listener.trouble, None)
        if requests or claimed:
            self._tell(self._listener.told, requests, claimed or [])

    def _apply(self, requests: Sequence[Request], now: float) -> list[Row]:
        """Do what was asked. Within a transaction."""
        file = self._usable()
        settled = [one.id for one in requests if one.publications is not None and one.id is not None]
        if settled and not file.delete(settled, self._owner):
            raise _NotOurs
        rows = [self._row(publication, now) for one in requests for publication in one.publications or ()]
        file.insert(rows)
        back = [one.id for one in requests if one.publications is None and one.id is not None]
        if back:
            file.give_back(back, self._owner)
            self._more = True
        return rows

    def _row(self, publication: Publication, now: float) -> Row:
        due, highest, priority, headers = publication.due, self._max_priority, 0, publication.headers
        if highest is not None and publication.priority is not None:
            priority = min(max(publication.priority, 0), highest)
        if due is None and headers is None:  # most are like this
            return (publication.queue, priority, now, None, publication.encoding, None, publication.body)
        encoding = publication.encoding
        return row(
            publication.queue, publication.body, now, due=due, priority=priority, encoding=encoding, headers=headers
        )

    def _account(self, requests: Sequence[Request], rows: Sequence[Row]) -> None:
        """Keep in mind what a transaction has changed."""
        for one in requests:
            if one.id is not None:
                self._bytes -= self._held.pop(one.id, 0)
        consumed = self._consumed[0] if self._consumed else None
        for queue, _, _, due, *_ in rows:
            if due is not None:
                self._next_due = due if self._next_due is None else min(due, self._next_due)
            elif queue == consumed:
                self._more = True

    def _keep(self, claimed: Sequence[Claimed]) -> None:
        self._claimed_at = monotonic()
        self._more = bool(claimed)
        sizes = {number: len(body) for number, _, _, body in claimed}
        self._held.update(sizes)
        self._bytes += sum(sizes.values())

    def _forget_lost(self) -> None:
        """Answer the requests whose message is not in our hands any more; the others are written next."""
        ids = [one.id for one in self._requests if one.id is not None]
        ours = self._usable().owned(ids, self._owner)
        for one in self._requests:
            one.made = one.id is None or one.id in ours
        self._answer([one for one in self._requests if not one.made])
        self._requests = [one for one in self._requests if one.made]

    def _write_singly(self) -> None:
        """Some publication does not fit into any queue: find which, refuse it, and let its message come again."""
        while self._requests:
            one, rows = self._requests[0], []
            try:
                with self._usable().transaction():
                    rows = self._apply([one], self._seconds())
            except (*UNFIT, _NotOurs):
                one.made = False
                if one.id is not None:
                    with self._usable().transaction():
                        self._usable().give_back([one.id], self._owner)
                    self._more = True
            self._requests = self._requests[1:]
            self._account([one], rows)
            self._answer([one])

    def _answer(self, requests: list[Request]) -> None:
        if requests:
            self._tell(self._listener.told, requests, [])

    def _have_trouble(self, error: sqlite3.Error) -> None:
        """Nothing can be written now: keep what was asked, try again later, say it once."""
        if not self._rest:
            self._tell(self._listener.trouble, str(error))
        self._rest = min(max(self._rest * 2, 0.1), LONGEST_REST)
        self._rest_until = monotonic() + self._rest
