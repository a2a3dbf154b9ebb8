"""What may not be sent for a time."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq.pauses import Pause, Pauses, Scope, SitePauses

NOW = 1_800_000_000.0
KEY = ("mx1.mail.example", "mx2.mail.example")
POOLS = {"fresh": ("192.0.2.7", "192.0.2.8")}
SOME = st.sampled_from
PARTS = st.fixed_dictionaries(
    {
        "domain": SOME([None, "a.example", "*.example", "b.test"]),
        "mx": SOME([None, "*.mail.example", "mx.elsewhere.example"]),
        "site": SOME([None, KEY, ("other",)]),
        "ip": SOME([None, "192.0.2.7", "192.0.2.*"]),
        "pool": SOME([None, "fresh", "unknown"]),
        "tag": SOME([None, "news", "n*"]),
    }
)
UNTIL = SOME([None, NOW + 10, NOW + 100, NOW + 1000])


def paused(until: float | None = None, **parts: Any) -> SitePauses:
    """The pauses of a site, where one was added."""
    pauses = Pauses()
    pauses.add(NOW, until, **parts)
    return pauses.of_site({"a.example", "c.test"}, KEY, KEY)


class Scopes(SynchronousTestCase):
    """What a pause holds for."""

    def holds(self, pauses: SitePauses, domain: str = "a.example", tags: tuple[str, ...] = ()) -> bool:
        return pauses.for_mail(domain, tags) is not None

    def test_everything(self) -> None:
        """Nothing given: all mail."""
        self.assertTrue(self.holds(paused()))

    def test_domain(self) -> None:
        """A pattern of domains, whatever the case: that domain's mail, not all of its site."""
        pauses = paused(domain="*.Example")
        self.assertTrue(self.holds(pauses))
        self.assertFalse(self.holds(pauses, "c.test"))

    def test_mx(self) -> None:
        """A provider: all mail that goes there."""
        self.assertTrue(self.holds(paused(mx="*.mail.example"), "c.test"))
        self.assertFalse(paused(mx="*.elsewhere.example"))

    def test_site(self) -> None:
        """A site by its key."""
        self.assertTrue(self.holds(paused(site=KEY)))
        self.assertFalse(paused(site=("mx1.mail.example",)))

    def test_tag(self) -> None:
        """Mail with a tag that fits."""
        pauses = paused(tag="news*")
        self.assertTrue(self.holds(pauses, tags=("x", "newsletter")))
        self.assertFalse(self.holds(pauses, tags=("x",)))
        self.assertFalse(self.holds(pauses))

    def test_source(self) -> None:
        """A local address: mail may leave from the others."""
        pauses = paused(ip="192.0.2.7")
        self.assertFalse(self.holds(pauses))
        self.assertIsNotNone(pauses.for_source("192.0.2.7", POOLS))
        self.assertIsNone(pauses.for_source("192.0.2.9", POOLS))
        self.assertIsNone(pauses.for_source(None, POOLS))

    def test_pool(self) -> None:
        """So a pool."""
        pauses = paused(pool="fresh")
        self.assertIsNotNone(pauses.for_source("192.0.2.8", POOLS))
        self.assertIsNone(pauses.for_source("192.0.2.9", POOLS))
        self.assertIsNone(pauses.for_source("192.0.2.8", {}))

    def test_pair(self) -> None:
        """An address and a domain: that pair only."""
        pauses = paused(ip="192.0.2.7", domain="a.example")
        self.assertIsNotNone(pauses.for_source("192.0.2.7", POOLS, "a.example"))
        self.assertIsNone(pauses.for_source("192.0.2.7", POOLS, "c.test"))
        self.assertIsNone(pauses.for_source("192.0.2.8", POOLS, "a.example"))

    def test_longest(self) -> None:
        """Of several the longest is named."""
        pauses = Pauses()
        pauses.add(NOW, NOW + 60, domain="a.example")
        longest = pauses.add(NOW, None, mx="*.mail.example")
        pauses.add(NOW, NOW + 90)
        self.assertEqual(pauses.of_site({"a.example"}, KEY, KEY).for_mail("a.example", ()), longest)

    def test_over(self) -> None:
        """Asked with the time, one that is over is none."""
        pauses = paused(NOW + 60)
        self.assertIsNotNone(pauses.for_mail("a.example", (), NOW + 59))
        self.assertIsNone(pauses.for_mail("a.example", (), NOW + 60))

    @given(PARTS, SOME(["a.example", "c.test"]), SOME([(), ("news",), ("x", "n")]), SOME([None, "192.0.2.7", "::1"]))
    def test_all_parts(self, parts: dict[str, Any], domain: str, tags: tuple[str, ...], source: str | None) -> None:
        """A pause of several parts holds exactly where a pause of each part would."""
        pauses = paused(**parts)
        together = pauses.for_mail(domain, tags) or pauses.for_source(source, POOLS, domain, tags)
        alone = []
        for name, part in parts.items():
            if part is not None:
                one = paused(**{name: part})
                alone.append(one.for_mail(domain, tags) or one.for_source(source, POOLS, domain, tags))
        self.assertEqual(together is not None, all(pause is not None for pause in alone))


class Changes(SynchronousTestCase):
    """Adding and ending."""

    def setUp(self) -> None:
        self.pauses = Pauses()

    def test_again(self) -> None:
        """The same scope again replaces what was said, under the same number."""
        first = self.pauses.add(NOW, NOW + 60, "one", domain="A.example.")
        second = self.pauses.add(NOW + 1, NOW + 30, "two", domain="a.example")
        self.assertEqual(list(self.pauses), [second])
        self.assertEqual((second.id, second.since, second.until, second.why), (first.id, NOW, NOW + 30, "two"))

    def test_reply_only_lengthens(self) -> None:
        """A host's wish does not shorten what the user has said."""
        mine = self.pauses.add(NOW, None, "mine", domain="a.example")
        version = self.pauses.version
        self.assertEqual(self.pauses.add(NOW, NOW + 60, "421", by="reply", domain="a.example"), mine)
        self.assertEqual(self.pauses.version, version)
        self.pauses.add(NOW, NOW + 60, "421", by="reply", domain="b.example")
        self.assertEqual(self.pauses.add(NOW, NOW + 90, "421", by="reply", domain="b.example").until, NOW + 90)

    def test_remove(self) -> None:
        """By number, once."""
        one, two = (self.pauses.add(NOW, domain=name) for name in ("a", "b"))
        self.assertTrue(self.pauses.remove(one.id))
        self.assertFalse(self.pauses.remove(one.id))
        self.assertEqual(list(self.pauses), [two])

    def test_numbers(self) -> None:
        """A number is not used twice."""
        first = self.pauses.add(NOW, domain="a")
        self.pauses.remove(first.id)
        self.assertGreater(self.pauses.add(NOW, domain="b").id, first.id)

    def test_end(self) -> None:
        """They end by themselves."""
        self.pauses.add(NOW, domain="endless")
        self.pauses.add(NOW, NOW + 60)
        self.assertFalse(self.pauses.forget_old(NOW + 59))
        self.assertTrue(self.pauses.forget_old(NOW + 60))
        self.assertEqual([pause.domain for pause in self.pauses], ["endless"])

    def test_str(self) -> None:
        """What is paused can be read."""
        self.assertEqual(str(self.pauses.add(NOW).scope), "everything")
        pause = self.pauses.add(NOW, ip="192.0.2.7", site=KEY)
        self.assertEqual(str(pause.scope), "site mx1.mail.example mx2.mail.example, ip 192.0.2.7")

    @given(st.lists(st.tuples(PARTS, UNTIL, SOME(["add", "reply", "remove", "old", "matching"])), max_size=20))
    def test_version(self, steps: list[tuple[dict[str, Any], float | None, str]]) -> None:
        """The version changes if and only if the pauses do; no scope and no number is there twice."""
        pauses, now = Pauses(), NOW
        for parts, until, what in steps:
            before, version = list(pauses), pauses.version
            if what in ("add", "reply"):
                pauses.add(now, until, by="user" if what == "add" else "reply", **parts)
            elif what == "remove":
                pauses.remove(len(steps) // 2)
            elif what == "old":
                now += 40
                pauses.forget_old(now)
            else:
                pauses.remove(next((pause.id for pause in pauses if pause.scope == Scope(**parts)), 0))
            if what != "add":
                self.assertEqual(pauses.version != version, list(pauses) != before)
            self.assertEqual(len({pause.scope for pause in pauses}), len(pauses))
            self.assertEqual(len({pause.id for pause in pauses}), len(pauses))


class Notes(SynchronousTestCase):
    """Over a restart."""

    @given(st.lists(st.tuples(PARTS, UNTIL), max_size=10))
    def test_there_and_back(self, some: list[tuple[dict[str, Any], float | None]]) -> None:
        """All come back from JSON as they were."""
        pauses = Pauses()
        for parts, until in some:
            pauses.add(NOW, until, "because", **parts)
        back, problems = Pauses.from_notes(json.loads(json.dumps(pauses.as_notes())))
        self.assertEqual((list(back), problems), (list(pauses), []))

    def test_unreadable(self) -> None:
        """What cannot be read is said, and the rest is kept."""
        pause = Pause(1, NOW, None, domain="a.example")
        notes = ["?", {"id": 2}, *Pauses([pause]).as_notes(), {"id": 3, "since": NOW, "until": "soon"}]
        back, problems = Pauses.from_notes(notes)
        self.assertEqual(list(back), [pause])
        self.assertEqual(len(problems), 3)
        self.assertEqual(Pauses.from_notes({"a": 1})[1], ["the pauses are no list"])

    def test_same_number(self) -> None:
        """Two with one number get two."""
        notes = [{"id": 4, "since": 0, "until": None, "domain": name} for name in "ab"]
        self.assertEqual([pause.id for pause in Pauses.from_notes(notes)[0]], [4, 5])

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text() | SOME(["id", "since", "until", "site"]), inner),
        )
    )
    def test_anything(self, notes: object) -> None:
        """Whatever stands there breaks nothing."""
        for given_notes in (notes, [notes], [{"id": 1, "since": 0, "until": notes, "site": notes}]):
            pauses, _ = Pauses.from_notes(given_notes)
            pauses.of_site({"a.example"}, KEY, KEY).for_mail("a.example", ())
            pauses.forget_old(NOW)
