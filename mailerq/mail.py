"""A mail in our hands: the job, the Taken that holds it at the broker, and where it stands on its way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailerq.attempt import Outcome, Peer
from mailerq.job import Job

if TYPE_CHECKING:
    from mailerq.dsn.asked import Asked
    from mailerq.limits import Manner
    from mailerq.responses import Reaction
    from mailerq.verdict import Verdict

NOBODY = Peer()


class Mail:
    """What connections carry (IMail) and the scheduler lets wait.

    Times are seconds of the clock: ``came`` when the broker gave it, ``since`` when this try began, ``routed`` when its
    hosts were known, ``given`` when a connection took it. ``tried`` are the hosts of this try that failed before the
    talk, ``last`` what the last of them came to, with ``peer``. ``verdict`` is set once its fate is decided.
    ``priority``, ``flow`` and ``limited`` say how it takes its turn (``waiting.py``), ``turn`` when it was promised one
    (``parking.py``), ``reaction`` what the outcome ``reacted_to`` leads to, ``manner`` what of the limits is its
    domain's own.

    ``plain``: its body is in the job, and goes as it is. ``sender`` is MAIL FROM without brackets. ``dsn``: what the
    sender wants to be told, by the job or the configuration; None: nothing was said.
    """

    __slots__ = (
        "_body",
        "blocked_by",
        "came",
        "deadline",
        "digest",
        "dsn",
        "flow",
        "given",
        "identity",
        "job",
        "lane",
        "last",
        "limited",
        "link",
        "manner",
        "peer",
        "plain",
        "priority",
        "reacted_to",
        "reaction",
        "routed",
        "seen",
        "sender",
        "since",
        "size",
        "sure",
        "taken",
        "tried",
        "turn",
        "verdict",
    )

    def __init__(self, job: Job, taken: Any, digest: bytes, identity: str, now: float) -> None:
        self.job = job
        self.taken = taken
        self.digest = digest
        self.identity = identity
        self.seen = now if job.seen is None else job.seen
        self.deadline = 0.0
        self.since = self.routed = self.came = now
        self.given: float | None = None
        self.tried: tuple[str, ...] = ()
        self.last: Outcome | None = None
        self.peer = NOBODY
        self.lane: Any = None
        self.link: Any = None
        self.blocked_by = ""
        self.verdict: Verdict | None = None
        self.sure = False
        self.size = memoryview(job.known.mime).nbytes  # as it stands in the job, which limits count
        self.priority = job.priority
        self.flow = ""
        self.turn = job.turn
        self.limited: tuple[str, ...] = ()
        self.reaction: Reaction | None = None
        self.reacted_to: Outcome | None = None
        self.manner: Manner | None = None
        self.plain = job.plain
        self.dsn: Asked | None = None
        self.sender = job.known.envelope or ""
        self._body: bytes | None = None

    @property
    def recipient(self) -> str:
        """RCPT TO."""
        return self.job.known.recipient or ""

    @property
    def tags(self) -> tuple[str, ...]:
        """The labels that the job carries."""
        return self.job.tags

    @property
    def body(self) -> bytes:
        """The message: what was ``made`` of it, else as the job has it; until ``forget_body``."""
        body = self._body
        if body is None:
            body = self._body = self.job.message() or b""
        return body

    @property
    def has_body(self) -> bool:
        """Whether the message is in the job itself."""
        return self.size > 0

    def forget_body(self) -> None:
        """Let go of the message; the job, or the store, still has it."""
        self._body = None

    def made(self, body: bytes) -> None:
        """This is the message, until ``forget_body``."""
        self._body = body

    def begin_again(self, now: float) -> None:
        """A new try begins."""
        self.since = self.routed = now
        self.given = None
        self.tried = ()
        self.last = None
        self.reaction = self.reacted_to = None
        self.blocked_by = ""

    def __repr__(self) -> str:
        if self.verdict is not None:
            where = f"decided: {type(self.verdict).__name__.lower()}, "
            where += "waits for the broker to give it again" if self.taken.stale else "being settled"
        elif self.link is not None:
            where = f"on {self.link!r}"
        elif self.lane is not None or self.blocked_by:
            where = f"waits for {self.blocked_by or 'its turn'}"
        else:
            where = "is being routed"
        return f"<Mail {self.identity} to {self.recipient}, attempt {self.job.attempts + 1}: {where}>"
