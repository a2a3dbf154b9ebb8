"""What hosts' answers lead to at their sites, and what of it outlives the process."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailerq.attempt import Outcome, State, Type
from mailerq.job import Job, read
from mailerq.lane import LaneKey, Link
from mailerq.mail import Mail
from mailerq.notes import Notes
from mailerq.reactions import Reactions
from mailerq.route import Host, Route
from mailerq.settings import parse
from mailerq.site import Site
from mailerq.terms import Terms

NOW = 1_700_000_000.0
SETTINGS = """
limits: [{domain: "*", messages-per-minute: 600, max-connections: 10, initial-connections: 10}]
responses:
  - {text: too fast, class: rate-limited, slow: {messages-per-minute: 60}, for: 1h, scope: site}
  - {text: go away, class: blocklist, pause: 10m, scope: address}
  - {text: too many, class: too-many-connections, connections: fewer}
"""


class ReactionsTests(SynchronousTestCase):
    """One site."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.rightNow = NOW
        self.path = Path(self.mktemp())
        self.changed: list[Site | None] = []
        self.live()

    def live(self) -> None:
        """A new life, with what the one before has noted."""
        self.notes = Notes(str(self.path), self.clock)
        self.settings = parse(SETTINGS, "c.yaml", {})
        self.reactions = Reactions(self.settings, self.notes, self.changed.append)
        terms = Terms(self.settings.limits, {}, self.reactions.pauses, self.reactions.warmup)
        self.site = Site(Route(("mx",), (Host("192.0.2.1", 25, "mx.there.test"),)), terms)
        self.site.know_domain("there.test")
        self.site.allowance.refresh(self.clock.seconds())
        self.reactions.remember(self.site, self.clock.seconds())

    def said(self, text: str, source: str | None = None) -> None:
        """The host says that to a mail."""
        job = read(b'{"recipient":"a@there.test","mime":"x"}')
        assert isinstance(job, Job)
        mail = Mail(job, None, b"", "1", NOW)
        link = Link(self.site.lane(LaneKey()), self.site.route.hosts[0], source, mail, NOW)
        outcome = Outcome(Type.ERROR, State.RCPT, 450, "4.7.0", text)
        self.reactions.to(self.site, link, outcome, "there.test", self.clock.seconds())

    def rate(self) -> float:
        """How many messages a minute the site may get."""
        self.site.allowance.refresh(self.clock.seconds())
        return self.site.budget(None).number("messages_per_minute")

    def test_slow(self) -> None:
        """Reduced limits hold at once, over a restart too, and the way back is step by step."""
        self.said("you are too fast")
        self.assertEqual((self.rate(), self.changed), (60, [self.site]))
        self.clock.advance(600)
        self.live()
        self.assertEqual(self.rate(), 60)
        self.clock.advance(3600)
        self.assertTrue(60 < self.rate() < 600)
        self.clock.advance(7200)
        self.assertEqual(self.rate(), 600)
        self.reactions.tick(self.clock.seconds())
        self.live()
        self.assertEqual(self.site.allowance.slowdowns, {})

    def test_slow_once(self) -> None:
        """The answers of many connections to the same thing are one."""
        for _ in range(50):
            self.said("you are too fast")
        self.assertEqual(self.rate(), 60)

    def test_pause(self) -> None:
        """A pair of local address and site is paused, over a restart too, for its time."""
        self.said("go away", "127.0.0.1")
        self.clock.advance(60)
        self.live()
        (pause,) = self.reactions.pauses
        self.assertEqual((pause.ip, pause.site, pause.until, pause.by), ("127.0.0.1", ("mx",), NOW + 600, "reply"))
        self.clock.advance(541)
        self.reactions.tick(self.clock.seconds())
        self.assertEqual(list(self.reactions.pauses), [])

    def test_fewer(self) -> None:
        """A site that says that there are too many connections gets fewer."""
        self.said("too many of you")
        self.assertLess(self.site.allowance.window(None).allowed(10), 10)

    def test_broken_notes(self) -> None:
        """Notes that make no sense are passed over; the rest holds."""
        self.said("go away", "127.0.0.1")
        for nonsense in (7, "x", {"site": 1}, [{"site": ["mx"], "source": None, "slowdown": {"values": 1}}], [None]):
            self.notes.put("slow-downs", nonsense, at_once=True)
            self.notes.put("warm-up", nonsense, at_once=True)
            self.live()
            self.assertEqual((len(self.reactions.pauses), self.site.allowance.slowdowns), (1, {}))
