"""Jobs that come again: which of them are known, and need not be begun anew.

A broker gives a job again when it was lost while the job was in hand, or when it has lost our acknowledgement. Jobs
have no identity of their own; one is known by its body (the digest of it), and equal ones are counted. Pure; the
caller says what time it is. What an earlier life of the process knew is in ``journal.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from mailerq.lately import Lately
from mailerq.mail import Mail

ADRIFT = 3600.0  # seconds for which a mail whose broker was lost is waited for
ACKNOWLEDGED = 5.0  # seconds after which an acknowledgement is on the broker's disk
COPIES = 60.0  # seconds within which both copies of a job come that went back to the outbox twice
MOST = 20_000  # so many are known of the last seconds


class Doubles:
    """``exact``: the broker's settlements are transactions, so that none can be lost; only mails adrift come again."""

    def __init__(self, exact: bool) -> None:
        self._exact = exact
        self._adrift: dict[bytes, list[Mail]] = {}  # in hand, but the broker was lost: they come again
        self._equal: dict[bytes, int] = {}  # how many of that body are in hand
        self._lately = Lately(ACKNOWLEDGED, MOST)  # settled, and the acknowledgement may yet be lost
        self._unacked = Lately(ADRIFT, MOST)  # those for which it may have been, when the broker was lost
        self._copies = Lately(COPIES, MOST)  # jobs of our own that came back: a second copy of one is dropped

    def __len__(self) -> int:
        """How many mails are adrift."""
        return sum(map(len, self._adrift.values()))

    # -- what comes

    def claim(self, digest: bytes) -> Mail | None:
        """The mail adrift whose job has come again now."""
        found = self._adrift.get(digest)
        if not found:
            return None
        mail = found.pop()
        if not found:
            del self._adrift[digest]
        return mail

    def was_settled(self, digest: bytes) -> bool:
        """Whether it is one that was settled, and whose acknowledgement was lost. Never said of a body of which there
        were several: nobody knows which of them this is, and rather one is sent again than lost."""
        return self._unacked.take(digest)

    def is_copy(self, digest: bytes) -> bool:
        """Whether a job that we put back to the outbox has come already: this is its second copy."""
        return digest in self._copies

    # -- what becomes of it

    def taken(self, mail: Mail) -> bool:
        """It is in hand. True: an equal one was settled a moment ago, and may come again."""
        if self._exact:
            return False
        self._equal[mail.digest] = self._equal.get(mail.digest, 0) + 1
        if mail.job.seen_id:
            self._copies.note(mail.digest, mail.since)
        return mail.digest in self._lately

    def settled(self, digest: bytes, now: float) -> int:
        """It comes again if its acknowledgement is lost. Returns how many equal ones are in hand."""
        self._lately.note(digest, now)
        left = self._equal.pop(digest, 1) - 1
        if left:
            self._equal[digest] = left
        return left

    def over(self, digest: bytes, now: float) -> None:
        """One that was settled before has come, and is acknowledged once more: that may be lost again."""
        self._lately.note(digest, now)
        self._copies.note(digest, now)

    def given_back(self, digest: bytes) -> None:
        """It goes back as it came, and will come again as itself."""
        self._copies.take(digest)

    def taken_away(self, digest: bytes) -> None:
        """One in hand is another worker's, and will come again, if it does, as if it had never been here."""
        self._copies.take(digest)
        left = self._equal.pop(digest, 1) - 1
        if left:
            self._equal[digest] = left

    # -- the broker was lost

    def lost(self, waited: Collection[Mail], in_hand: Collection[Mail], now: float) -> list[Mail]:
        """Those that only ``waited`` come again, so do those that stay ``in_hand``, and perhaps some that were settled
        lately. Returns the mails that are adrift since now."""
        self._lately.forget_old(now)
        settled: Counter[bytes] = Counter()
        for digest, times in self._lately:
            settled[digest] += times
        for digest, times in settled.items():
            if times == 1 and digest not in self._equal:
                self._unacked.note(digest, now)
        for mail in waited:
            self._copies.take(mail.digest)
        self._lately = Lately(ACKNOWLEDGED, MOST)
        self._equal = dict(Counter(mail.digest for mail in in_hand))
        return [mail for mail in in_hand if self.drift(mail)]

    def drift(self, mail: Mail) -> bool:
        """It is in hand, and its job comes again. False: that was known."""
        mails = self._adrift.setdefault(mail.digest, [])
        if any(mail is other for other in mails):
            return False
        mails.append(mail)
        return True

    def give_up(self, mail: Mail) -> None:
        """It never came again."""
        mails = [other for other in self._adrift.pop(mail.digest, ()) if other is not mail]
        if mails:
            self._adrift[mail.digest] = mails
