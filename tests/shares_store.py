"""The store of members that share limits, in memory: what ``shares.lua`` does, over a clock that is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mailerq.shares.division import Claim
from mailerq.shares.exchange import Answer, Line, Question, Told


class SharesStore:
    """``seconds`` is the store's own clock."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self.seconds = seconds
        self.clear()

    def clear(self) -> None:
        """It has forgotten all, as one that was killed."""
        self.members: dict[str, tuple[str, int, float]] = {}
        self.limits: dict[str, dict[str, Any]] = {}
        self.born: float | None = None
        self.known_until = 0.0

    def ask(self, question: Question, keys: Sequence[str]) -> Answer:
        """One run of the script."""
        now, me = self.seconds(), question.me
        mine = self.members.get(me)
        if mine is not None and (mine[0], mine[1]) >= (question.life, question.seq):
            return Answer([], [])
        self.members = {
            member: entry for member, entry in self.members.items() if member == me or now - entry[2] <= question.lease
        }
        if question.leave:
            self.members.pop(me, None)
        else:
            self.members[me] = (question.life, question.seq, now)
        if self.born is None or now >= self.known_until:
            self.born = now
        self.known_until = now + question.lease
        gives = now - self.born >= question.grace and not question.leave
        lines = zip(question.lines, keys, strict=True)
        told = [self._line(question, line, self.limits.setdefault(key, {"due": 0.0}), gives) for line, key in lines]
        return Answer(sorted(self.members), told)

    def _line(self, question: Question, line: Line, limit: dict[str, Any], gives: bool) -> Told:
        now, me = self.seconds(), question.me
        others = []
        was, was_wanting, since, taken, smallest = 0, False, now, 0, line.number
        for member in [member for member in limit if member != "due"]:
            life, held, want, number, rate, its_since, pay = limit[member]
            known = self.members.get(member)
            alive = life == question.life if member == me else known is not None and known[0] == life
            if not alive:
                del limit[member]
                if held and pay:
                    limit["due"] = max(limit["due"], now + pay)
            elif member == me:
                was, was_wanting, since = held, want > 0, its_since
            else:
                assert known is not None
                taken += held
                smallest = min(smallest, number)
                others.append(Claim(member, held, want, now - its_since, now - known[2], rate, number))
        if not line.claim and was and line.due > 0:
            limit["due"] = max(limit["due"], now + line.due)
        held = line.claim
        if gives and line.ask > line.claim:
            held += max(0, min(line.ask - line.claim, smallest - taken - line.claim))
        if held:
            since = since if was else max(now, limit["due"])
        elif was or not was_wanting:
            since = now
        if question.leave or (not held and not line.want):
            limit.pop(me, None)
        else:
            limit[me] = (question.life, held, line.want, line.number, line.rate, since, line.pay)
        return Told(held, max(0.0, limit["due"] - now), now - since, others)
