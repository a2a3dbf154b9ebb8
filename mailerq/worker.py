"""Worker: which of the processes that share this machine's work one is."""

from __future__ import annotations

import re

import attrs

from mailerq.settings import Settings

_WRITTEN = re.compile(r"(0|[1-9][0-9]{0,3})/([1-9][0-9]{0,3})")


@attrs.frozen
class Worker:
    """Number ``index`` (from 0) of ``count`` processes on this machine that take jobs from the same outbox."""

    index: int
    count: int

    @property
    def alone(self) -> bool:
        """Whether there is no other."""
        return self.count == 1

    def own(self, path: str) -> str:
        """The path of a file or socket that each worker has for itself: ``path`` where there is one worker."""
        return path if self.alone else f"{path}.{self.index}"

    def share(self, settings: Settings) -> Settings:
        """The settings of this worker: what is configured for all together and can be divided is divided, jobs in hand
        (``queues.window``) and results without a confirm (``queues.max-unconfirmed``); at least one each."""
        if self.alone:
            return settings
        queues = settings.queues
        return attrs.evolve(
            settings,
            queues=attrs.evolve(
                queues, window=self._part(queues.window), max_unconfirmed=self._part(queues.max_unconfirmed)
            ),
        )

    def _part(self, whole: int) -> int:
        return max(1, whole // self.count + (self.index < whole % self.count))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


ALONE = Worker(0, 1)


def written(text: str) -> Worker:
    """The worker that ``str`` has written. Raises ValueError."""
    found = _WRITTEN.fullmatch(text)
    if found is None or not int(found[1]) < int(found[2]):
        raise ValueError(f"{text!r} is no worker: one is written 0/2, the first of two")
    return Worker(int(found[1]), int(found[2]))
