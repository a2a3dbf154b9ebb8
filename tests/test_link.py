"""A worker's end of the line to its parent; what others have learned comes to its sites."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from mailerq.attempt import Outcome, State, Type
from mailerq.job import Job, read
from mailerq.lane import LaneKey, Link
from mailerq.mail import Mail
from mailerq.pauses import Pause, Pauses, Scope
from mailerq.reactions import Reactions
from mailerq.route import Host, Route
from mailerq.settings import parse
from mailerq.site import Site
from mailerq.slowdown import SlowDown
from mailerq.terms import Terms
from mailerq.warmup import Warmup
from mailerq.workers.changes import Change, Crowded, Paused, Resumed, Slowed, Warmed
from mailerq.workers.link import Link as ParentLink
from mailerq.workers.link import Orphaned, Served, await_start
from mailerq.workers.memory import Memory
from mailerq.workers.messages import Ask, Begin, Ready, Refused, Reload, Reopen, ToWorker, to_parent, written

NOW = 1_700_000_000.0
SLOW = SlowDown({"messages_per_minute": 60.0}, NOW + 3600, NOW, "450 too fast", 3)
KNOWN: list[Change] = [
    Paused(Pause(3, NOW, None, "why", domain="a.example")),
    Slowed(("mx.example",), None, SLOW),
    Crowded(("mx.example",), None, NOW),
    Warmed("rule from 192.0.2.1", 3, "2023-11-14"),
]
BEGIN = Begin("workers: 2", "workers: 2", "c.yaml")


def started(*messages: ToWorker | bytes) -> Any:
    """What is read at the start where that is said, and the parent is gone then."""
    to_read, to_write = os.pipe()
    for message in messages:
        os.write(to_write, message if isinstance(message, bytes) else written(message))
    os.close(to_write)
    try:
        return await_start(to_read, NOW)
    finally:
        os.close(to_read)


class Starts(SynchronousTestCase):
    """Before it takes jobs."""

    def test_start(self) -> None:
        """All that is known is there, as notes are; what comes after it is kept; nonsense is left out."""
        start = started(*KNOWN, b"nonsense\n", Warmed("a", -1, ""), BEGIN, Reopen())
        self.assertEqual((start.begin, start.rest), (BEGIN, [written(Reopen()).strip()]))
        notes = ParentLink(Clock(), start).notes
        self.assertEqual(notes.get("pauses")[0]["id"], 3)
        self.assertEqual(notes.get("slow-downs")[0]["site"], ("mx.example",))
        self.assertEqual(notes.get("warm-up"), {"rule from 192.0.2.1": {"day": 3, "date": "2023-11-14"}})
        self.assertIsNone(notes.get("else"))

    def test_orphaned(self) -> None:
        """A parent that is gone before it has said all is no parent."""
        self.assertRaises(Orphaned, started, *KNOWN)
        self.assertRaises(Orphaned, started)

    def test_same(self) -> None:
        """What is told from a memory makes the same memory."""
        memory = Memory()
        for change in KNOWN:
            memory.learn(change, NOW)
        again = started(*memory.all(), BEGIN).memory
        self.assertEqual(list(again.all()), list(memory.all()))
        noted = Memory(lambda section: memory.sections()[section]())
        self.assertEqual((list(noted.all()), noted.problems), (list(memory.all()), []))

    def test_notes_of_anything(self) -> None:
        """Notes that cannot be used are problems, told one by one."""
        for note in ("x", [1], [{"slowdown": {}}], {"a": 1}, [{"site": 1, "source": None, "slowdown": SLOW}]):
            self.assertTrue(Memory(lambda section, note=note: note).problems)  # type: ignore[misc]


class Later(SynchronousTestCase):
    """Afterwards."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.link = ParentLink(self.clock, started(BEGIN, Reload("one")))
        self.transport = StringTransport()
        self.done: list[Any] = []
        self.served = Served(
            answers=None,
            hear=self.done.append,
            reload=lambda text: self.done.append(f"reload {text}"),
            reopen=lambda: self.done.append("reopen"),
        )

    def said(self) -> list[Any]:
        """What the parent has heard."""
        return [to_parent(line) for line in self.transport.value().splitlines()]

    def test_waits(self) -> None:
        """What is said before the engine is there waits for it, both ways."""
        self.link.refused("why")
        self.link.makeConnection(self.transport)
        self.link.ready()
        self.assertEqual(self.said(), [Refused("why"), Ready()])
        self.link.dataReceived(written(Reopen()))
        self.assertEqual(self.done, [])
        self.link.serve(self.served)
        self.link.dataReceived(written(KNOWN[0]))
        self.assertEqual(self.done, ["reload one", "reopen", KNOWN[0]])

    def test_orphaned(self) -> None:
        """The end of the line is the end of the parent."""
        self.link.orphaned = lambda: self.done.append("gone")
        self.link.makeConnection(self.transport)
        self.link.connectionLost()
        self.assertEqual(self.done, ["gone"])

    def test_broken(self) -> None:
        """What cannot be done is logged, and the rest is done."""
        self.link.makeConnection(self.transport)
        self.link.serve(Served(None, lambda change: 1 / 0, self.served.reload, self.served.reopen))  # type: ignore[arg-type, return-value]
        self.link.dataReceived(written(KNOWN[0]) + b"nonsense\n" + written(Ask(1, "{}")) + written(Reopen()))
        self.assertEqual(self.done, ["reload one", "reopen"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    @given(st.lists(st.binary(max_size=60), max_size=8))
    def test_whatever_comes(self, pieces: list[bytes]) -> None:
        """Whatever the parent says, the worker goes on."""
        link = ParentLink(Clock(), started(BEGIN))
        link.makeConnection(StringTransport())
        link.serve(self.served)
        for piece in pieces:
            link.dataReceived(piece)
        link.dataReceived(b"\n" + written(Reopen()))
        self.assertEqual(self.done.pop(), "reopen")


class Learns(SynchronousTestCase):
    """Two workers with a site each, of the same hosts; what one tells the other hears."""

    def setUp(self) -> None:
        self.told: list[Change] = []
        self.one, self.other = self.reactions(), self.reactions()
        self.one.share(self.told.append)
        self.sites = [self.site(one) for one in (self.one, self.other)]

    def reactions(self) -> Reactions:
        """Those of a worker."""
        text = """
limits: [{domain: "*", messages-per-minute: 600}]
responses:
  - {text: too fast, class: rate-limited, slow: {messages-per-minute: 60}, for: 1h, scope: site}
  - {text: go away, class: blocklist, pause: 10m, scope: site}
  - {text: too many, class: too-many-connections, connections: fewer}
schedules: [{ip: 192.0.2.1, domain: "*", days: [50/d, 100/d, unlimited]}]
"""
        self.settings = parse(text, "c.yaml", {})
        self.changed: list[Site | None] = []
        return Reactions(self.settings, None, self.changed.append)

    def site(self, reactions: Reactions) -> Site:
        """A site of it."""
        terms = Terms(self.settings.limits, {}, reactions.pauses, reactions.warmup)
        site = Site(Route(("mx.example",), (Host("192.0.2.9", 25, "mx.example"),)), terms)
        site.know_domain("a.example")
        site.allowance.refresh(NOW)
        return site

    def said(self, text: str) -> None:
        """The host says that to a mail of the first worker."""
        job = read(b'{"recipient":"a@a.example","mime":"x"}')
        assert isinstance(job, Job)
        site = self.sites[0]
        link = Link(site.lane(LaneKey()), site.route.hosts[0], None, Mail(job, None, b"", "1", NOW), NOW)
        self.one.to(site, link, Outcome(Type.ERROR, State.RCPT, 450, "4.7.0", text), "a.example", NOW)

    def hear(self) -> None:
        """The other hears all."""
        for change in self.told:
            self.other.hear(change, {self.sites[1].key: self.sites[1]}.get)

    def test_slow(self) -> None:
        """Reduced limits hold at the other's site, and at one that is made later."""
        self.said("you are too fast")
        self.hear()
        self.assertEqual(self.changed, [self.sites[1]])
        late = self.site(self.other)
        self.other.remember(late, NOW)
        for site in (self.sites[1], late):
            site.allowance.refresh(NOW)
            self.assertEqual(site.budget(None).number("messages_per_minute"), 60)

    def test_crowded(self) -> None:
        """That a host bears no more connections the other knows, too, without having to be refused; once."""
        for site in self.sites:
            site.allowance.window(None).size = 8.0
        self.said("too many")
        self.said("too many")
        self.hear()
        self.assertEqual(len(self.told), 1)
        self.assertEqual([site.allowance.window(None).size for site in self.sites], [4.0, 8.0])
        self.assertEqual(self.sites[1].allowance.window(None).ceiling, 8)
        self.assertEqual(self.changed, [self.sites[1]])

    def test_pause(self) -> None:
        """A pause, too; heard again it changes nothing."""
        self.said("go away")
        self.hear()
        self.assertEqual(list(self.other.pauses), list(self.one.pauses))
        self.hear()
        self.assertEqual(self.changed, [None])

    def test_user(self) -> None:
        """What is paused and resumed in a worker, by its prompt, all hear; what it has heard it does not tell again."""
        pause = self.one.pauses.add(NOW, None, "why", domain="b.example")
        self.one.pauses_changed()
        self.one.hear(KNOWN[0], lambda key: None)
        self.one.pauses.remove(pause.id)
        self.one.pauses_changed()
        self.assertEqual(self.told, [Paused(pause), Resumed(Scope(domain="b.example"))])

    def test_number(self) -> None:
        """The number that the parent gives holds."""
        self.said("go away")
        (told,) = self.told
        assert isinstance(told, Paused)
        self.one.hear(Paused(Pause(9, told.pause.since, told.pause.until, site=told.pause.site)), lambda key: None)
        self.assertEqual([pause.id for pause in self.one.pauses], [9])
        self.assertEqual(self.one.pauses.add(NOW, domain="c.example").id, 10)

    def test_warm(self) -> None:
        """A day that one worker has begun is begun in the other, and counted once."""
        self.one.sent(self.sites[0], "192.0.2.1", NOW)
        self.other.sent(self.sites[1], "192.0.2.1", NOW)
        self.hear()
        self.other.sent(self.sites[1], "192.0.2.1", NOW)
        self.assertEqual([count["day"] for count in self.other.warmup.counts.values()], [1])


class Day(SynchronousTestCase):
    """Warmup.learn."""

    @given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 28)), max_size=6), st.randoms())
    def test_any_order(self, days: list[tuple[int, int]], dice: Any) -> None:
        """Days never go back, and what was heard last in time holds whatever the order."""
        one, other = Warmup(()), Warmup(())
        for day, date in days:
            one.learn("a", day, f"2023-11-{date:02}")
        dice.shuffle(days)
        for day, date in days:
            other.learn("a", day, f"2023-11-{date:02}")
        if days:
            self.assertEqual(one.counts["a"]["date"], other.counts["a"]["date"])

    def test_nonsense(self) -> None:
        """What is no day is a ValueError."""
        for day, date in ((0, "2023-11-14"), (1, "x"), (2**31, "2023-11-14"), (1, "1900-01-01")):
            self.assertRaises(ValueError, Warmup(()).learn, "a", day, date)


class Scopes(SynchronousTestCase):
    """Pauses that come from elsewhere."""

    def test_put(self) -> None:
        """One replaces that of its scope; the same changes nothing."""
        pauses = Pauses()
        pause = Pause(4, NOW, None, domain="a.example")
        self.assertTrue(pauses.put(pause))
        version = pauses.version
        self.assertFalse(pauses.put(pause))
        self.assertEqual(pauses.version, version)
        self.assertTrue(pauses.drop(Scope(domain="a.example")))
        self.assertFalse(pauses.drop(Scope(domain="a.example")))
