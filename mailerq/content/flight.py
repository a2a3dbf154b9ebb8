"""One download under way, for all who want it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from msgspec import Struct
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailerq.attempt import Type
from mailerq.content.step import ContentError

WAITS = 120.0
"""Seconds for which a download waits for others to end; then it fails, and is tried later."""
FAILED, FAILED_FOR_GOOD = 30.0, 300.0
"""Seconds for which failures are remembered."""
_log = Logger()


class FetchError(Exception):
    """There is no such download. ``passing``: there may be later."""

    def __init__(self, what: str, passing: bool = True) -> None:
        super().__init__(what)
        self.passing = passing


class Download(Struct, frozen=True):
    """What came. ``type``: its media type in lower case without parameters (``image/png``), '' where the server did not
    say. ``url``: where it was found in the end, after redirects."""

    body: bytes
    type: str
    url: str


class NoDownload(Struct, frozen=True):
    """Why there is none."""

    what: str
    passing: bool

    def error(self) -> ContentError:
        """One for each who asks: exceptions carry where they have been."""
        return ContentError(self.what, type=Type.RESPONSIVE, passing=self.passing)


Answer = Download | NoDownload
Ended = Callable[[Answer | None, float], None]


def told(answer: Answer) -> Deferred[Download]:
    """An answer for one who asks."""
    return succeed(answer) if isinstance(answer, Download) else fail(answer.error())


class Flight:
    """``url``: as it may be shown. ``ended`` is called once: with the answer and the seconds for which it may be
    remembered, or with None where nobody wanted it any longer."""

    def __init__(self, clock: IReactorTime, url: str, ended: Ended) -> None:
        self._url = url
        self._ended = ended
        self._waiting: list[Deferred[Download]] = []
        self._answer: Answer | None = None
        self._begun = False
        self._late = False
        self._given_up = False
        self._task: Deferred[Any] | None = None
        self._end: Any = clock.callLater(WAITS, self._over)

    def begin(self, work: Coroutine[Any, Any, tuple[Download, float]]) -> None:
        """Let ``work`` go. It gives a download and the seconds that it lives, or raises FetchError."""
        self._task = Deferred.fromCoroutine(work)
        self._task.addCallbacks(lambda got: self._tell(*got), self._failed)

    def goes(self, seconds: float) -> None:
        """It is its turn: the work ends in so many seconds. (A second call changes nothing.)"""
        if not self._begun:
            self._begun = True
            self._end.reset(seconds)

    def join(self) -> Deferred[Download]:
        """The answer, for one more who wants it."""
        if self._answer is not None:
            return told(self._answer)
        waiting: Deferred[Download] = Deferred(self._leave)
        self._waiting.append(waiting)
        return waiting

    def _leave(self, waiting: Deferred[Download]) -> None:
        self._waiting.remove(waiting)
        if not self._waiting and self._task is not None:
            self._given_up = True
            self._end.cancel()
            self._ended(None, 0.0)
            self._task.cancel()

    def _over(self) -> None:
        self._late = True
        assert self._task is not None
        self._task.cancel()

    def _failed(self, failure: Failure) -> None:
        if self._given_up:
            return
        if self._late:
            why = "it takes too long" if self._begun else "too many others are under way"
            self._tell(self._none(why, True), FAILED if self._begun else 0.0)
        elif failure.check(FetchError):
            error: Any = failure.value
            self._tell(self._none(str(error), error.passing), FAILED if error.passing else FAILED_FOR_GOOD)
        else:
            _log.failure("a download failed", failure)
            self._tell(self._none("an error in this program (see its log)", True), FAILED)

    def _none(self, why: str, passing: bool) -> NoDownload:
        return NoDownload(f"{self._url} cannot be downloaded: {why}", passing)

    def _tell(self, answer: Answer, lives: float) -> None:
        if self._given_up:
            return
        if self._end.active():
            self._end.cancel()
        self._answer = answer
        self._ended(answer, lives)
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            told(answer).chainDeferred(one)
