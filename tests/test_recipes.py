"""The recipes of docs/limits.md: each can be used as it stands there, and does in a simulation what the page says."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from mailerq.settings import Settings, load, parse
from mailerq.simulate.drawing import draw
from mailerq.simulate.grouped import Grouped, group_report
from mailerq.simulate.mix import Mix, parse_mix
from mailerq.simulate.recorder import Observation
from mailerq.simulate.run import load_mix, simulate
from mailerq.simulate.simulation import START, Simulation

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs/recipes"
PAGE = (ROOT / "docs/limits.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    (mailerq simulate .+)$", PAGE, re.MULTILINE)
DAY = 86400.0


def settings_of(name: str) -> Settings:
    """The configuration of a recipe."""
    return load(str(FOLDER / f"{name}.yaml"))


def mix_of(name: str, **streams: dict[str, Any]) -> Mix:
    """The mix of a recipe; ``streams``: what is different in them."""
    mix = load_mix(str(FOLDER / f"{name}.mix.yaml"))
    named = {name.replace("_", "-"): values for name, values in streams.items()}
    changed = {stream: attrs.evolve(mix.streams[stream], **values) for stream, values in named.items()}
    return attrs.evolve(mix, streams={**mix.streams, **changed})


def run(settings: Settings, mix: Mix, until: float | None = None) -> Simulation:
    """What comes of it; the seed is always the same."""
    return Simulation(settings, mix, 1).run(until)


def sent(done: Simulation, **fields: Any) -> list[Observation]:
    """The messages that went out whose observation has these ``fields``."""
    return [
        one
        for one in done.observations
        if one.kind == "message" and all(getattr(one, name) == value for name, value in fields.items())
    ]


def most_within(times: list[float], seconds: float) -> int:
    """The most of these times that lie within so many seconds."""
    first, most = 0, 0
    for last, time in enumerate(times):
        while times[first] <= time - seconds:
            first += 1
        most = max(most, last + 1 - first)
    return most


def trouble(done: Simulation) -> int:
    """How many mails were put off, and connections turned away."""
    return sum(sum(one.deferred) + sum(one.turned_away) for one in done.recorder.minutes)


class Page(SynchronousTestCase):
    """What the page shows is what is tried."""

    def test_configurations(self) -> None:
        """Each configuration and each mix loads without errors, and each configuration is shown as it is."""
        for path in FOLDER.glob("*.yaml"):
            if path.name.endswith(".mix.yaml"):
                load_mix(str(path))
            else:
                load(str(path))
                shown = path.read_text(encoding="utf-8")
                self.assertTrue(shown in PAGE or f"({path.relative_to(ROOT / 'docs')})" in PAGE, path.name)

    def test_commands(self) -> None:
        """Each command names files that are there, and its picture is shown."""
        self.assertGreater(len(COMMANDS), 8)
        for command in COMMANDS:
            for name in re.findall(r"\S+\.yaml", command):
                self.assertTrue((ROOT / name).exists(), name)
            picture = re.search(r"--draw (\S+)", command)
            assert picture is not None, command
            self.assertIn(f"](recipes/{picture[1]})", PAGE)

    def test_each_is_tried(self) -> None:
        """Each mix is in a command; a pause is nothing that a command could try."""
        for path in set(FOLDER.glob("*.mix.yaml")) - {FOLDER / "pause.mix.yaml"}:
            self.assertTrue(any(path.name in command for command in COMMANDS), path.name)


class Providers(SynchronousTestCase):
    """Gmail, Microsoft, Yahoo, a small host."""

    def test_gmail(self) -> None:
        """One every 200 ms, and nothing is put off; without limits, much is."""
        mix = mix_of("gmail", newsletter={"jobs": 900})
        done = run(settings_of("gmail"), mix)
        times = [one.time for one in sent(done)]
        self.assertEqual(len(times), 900)
        self.assertLessEqual(most_within(times, 60), 300)
        self.assertLessEqual(most_within(times, 1), 5)
        self.assertLess(times[-1], 900 / 5 * 1.05)
        self.assertEqual(trouble(done), 0)
        self.assertGreater(trouble(run(settings_of("defaults"), mix, until=300)), 50)

    def test_outlook(self) -> None:
        """Two a second over at most four connections, and nothing is put off; without limits, much is."""
        mix = mix_of("outlook", newsletter={"jobs": 500})
        done = run(settings_of("outlook"), mix)
        self.assertLessEqual(most_within([one.time for one in sent(done)], 60), 120)
        self.assertLessEqual(max(done.recorder.minutes[0].connections), 4)
        self.assertEqual(trouble(done), 0)
        self.assertGreater(trouble(run(settings_of("defaults"), mix, until=300)), 5)

    def test_hosts_that_customers_share(self) -> None:
        """Customers of Microsoft 365 are sites of their own, and what they share is the connections to a host."""
        text = """
        providers:
          one: {domains: [one.example], mx: {one-example.mail.protection.outlook.com: [198.51.100.1]}}
          two: {domains: [two.example], mx: {two-example.mail.protection.outlook.com: [198.51.100.1]}}
        streams: {letters: {jobs: 600}}
        """
        done = run(settings_of("outlook"), parse_mix(text, "mix", {}))
        there, most = 0, 0
        for one in done.observations:
            there += {"connect": 1, "close": -1}.get(one.kind, 0)
            most = max(most, there)
        self.assertLessEqual(most, 4)
        per_site = Counter(one.provider for one in sent(done) if one.time <= 60)
        self.assertLessEqual(max(per_site.values()), 120)
        self.assertGreater(sum(per_site.values()), 150)

    def test_yahoo(self) -> None:
        """No connection carries more than 20 messages."""
        done = run(settings_of("yahoo"), mix_of("yahoo", newsletter={"jobs": 600}))
        self.assertLessEqual(max(Counter(one.connection for one in sent(done)).values()), 20)
        self.assertLessEqual(most_within([one.time for one in sent(done)], 60), 150)
        self.assertEqual(trouble(done), 0)

    def test_small_host(self) -> None:
        """Two connections, none turned away; without the limit, some are."""
        mix = mix_of("small-host", letters={"jobs": 1000, "over": 1200.0})
        done = run(settings_of("small-host"), mix)
        self.assertEqual(max(done.recorder.minutes[0].connections), 2)
        self.assertEqual(trouble(done), 0)
        self.assertLess(done.recorder.waits().longest, 15)
        without = run(settings_of("defaults"), mix)
        self.assertGreater(trouble(without), 0)
        self.assertLess(trouble(without), 20)


class Complaints(SynchronousTestCase):
    """A host says that it is too much."""

    def test_slow_down(self) -> None:
        """Slow at first, then in ten steps up to what is configured; here for five minutes rather than an hour."""
        shown = (FOLDER / "slow-down.yaml").read_text(encoding="utf-8")
        rule = 'responses: [{text: "*unusual rate*", slow: {messages-per-minute: 60}, for: 5m}]'
        settings = parse(f"{shown}\n{rule}", "slow-down", {})
        done = run(settings, mix_of("slow-down", newsletter={"jobs": 1600}), until=11 * 60.0)
        accepted = list(done.recorder.minutes[0].accepted)
        begun = next(minute for minute, count in enumerate(accepted) if count < 100)
        self.assertIn(begun, (1, 2))
        slow, steps = accepted[begun : begun + 4], accepted[begun + 5 : begun + 9]
        self.assertLessEqual(max(slow), 61)
        self.assertGreater(min(slow), 55)
        self.assertEqual(steps, sorted(set(steps)), "each step is higher than the one before")
        self.assertGreater(steps[-1], 200)
        self.assertLess(sum(done.recorder.minutes[0].deferred), 20)


class Senders(SynchronousTestCase):
    """Who goes first, who has to wait."""

    def longest(self, done: Simulation, groups: Grouped) -> dict[str, float]:
        """The longest time that a job with each tag took, from publication to result."""
        return {group.name: group.minutes.waits.longest for group in groups.of()}

    def by_tag(self, settings: Settings, mix: Mix) -> dict[str, float]:
        """What comes of it: the longest time by tag."""
        running = Simulation(settings, mix, 1)
        groups = Grouped(running, "tag")
        return self.longest(running.run(), groups)

    def test_transactional_before_bulk(self) -> None:
        """Receipts do not wait for a newsletter: they go first, at a pace of their own. Turns alone do it, too."""
        mix = mix_of("priority", newsletter={"jobs": 900}, receipts={"jobs": 100, "over": 300.0})
        self.assertLess(self.by_tag(settings_of("priority"), mix)["receipts"], 3)
        alone = mix_of("priority", newsletter={"jobs": 900, "pool": None}, receipts={"jobs": 100, "over": 300.0})
        same = {name: attrs.evolve(one, pool=None, priority=None) for name, one in alone.streams.items()}
        turns = self.by_tag(settings_of("priority"), attrs.evolve(alone, streams=same))
        self.assertLess(turns["receipts"], 3)

    def test_customer(self) -> None:
        """A customer who sends too much waits; the others do not."""
        mix = mix_of(
            "customer",
            all_at_once={"jobs": 1000},
            second={"jobs": 200, "over": 300.0},
            third={"jobs": 100, "over": 300.0},
        )
        done = run(settings_of("customer"), mix)
        self.assertLessEqual(most_within([one.time for one in sent(done, tags=("customer-a",))], 60), 120)
        waits = self.by_tag(settings_of("customer"), mix)
        self.assertGreater(waits["customer-a"], 400)
        self.assertLess(max(waits["customer-b"], waits["customer-c"]), 5)
        self.assertGreater(self.by_tag(settings_of("first-come"), mix)["customer-b"], 20)

    def test_warm_up(self) -> None:
        """The new address sends what its day allows, evenly; the known one sends the rest, and nothing waits."""
        done = run(settings_of("warm-up"), mix_of("warm-up", letters={"jobs": 6000, "over": 2 * DAY}))
        self.assertLess(done.recorder.waits().longest, 5)
        new = sent(done, local="192.0.2.8")
        days = Counter(int((START + one.time) // DAY) for one in new)
        allowed = [100 * 16 / 24, 200, 500 * 8 / 24]  # it begins at 8:00 and ends at 8:00
        for count, most in zip([days[day] for day in sorted(days)], allowed, strict=True):
            self.assertLessEqual(count, most + 1)
            self.assertGreater(count, most * 0.75)
        first = [one.time for one in new if one.time < 16 * 3600]
        self.assertLessEqual(most_within(first, 14 * 60), 1)
        self.assertEqual(len(new) + len(sent(done, local="192.0.2.7")), 6000)


class Waits(SynchronousTestCase):
    """Pauses, greylisting."""

    def test_pause(self) -> None:
        """While a provider is paused, it gets nothing and others do; nothing fails, and all is sent after it."""
        mix = mix_of("pause", letters={"jobs": 1200, "over": 1200.0})
        running = Simulation(settings_of("pause"), mix, 1)

        def pause() -> None:
            assert running.parts is not None
            running.parts.scheduler.pause(START + 900, "too many bounces", mx="*.google.com")

        running.at(300, pause)
        running.run()
        times = [one.time for one in sent(running, provider="gmail")]
        self.assertEqual([time for time in times if 305 < time < 900], [])
        self.assertGreater(len([one for one in sent(running, provider="others") if 305 < one.time < 900]), 200)
        self.assertEqual(sum(one.results["success"] for one in running.recorder.minutes), 1200)
        self.assertLessEqual(most_within([time for time in times if time >= 900], 60), 90)

    def test_greylisting(self) -> None:
        """The second attempt, five minutes later and from the same address, is taken."""
        done = run(settings_of("greylisting"), mix_of("greylisting", letters={"jobs": 600, "over": 600.0}))
        self.assertGreater(trouble(done), 100)
        self.assertLess(done.recorder.waits().longest, 370)
        again: dict[int, list[str | None]] = {}
        for one in sent(done):
            again.setdefault(one.number, []).append(one.local)
        self.assertEqual([locals for locals in again.values() if len(set(locals)) > 1], [])

    def test_longer_greylisting(self) -> None:
        """The host that asks for 15 minutes has the second attempt after 5 and the third after 20 more."""
        mix = parse_mix(
            "providers: {edu: {domains: [x.edu.example], greylist: 15m}}\nstreams: {l: {jobs: 3}}", "mix", {}
        )
        done = run(settings_of("greylisting"), mix)
        times = sorted(round(one.time / 60) for one in sent(done))
        self.assertEqual(times, [0, 0, 0, 5, 5, 5, 25, 25, 25])


class ByGroup(SynchronousTestCase):
    """A simulation is told by tag or local address."""

    def test_tags(self) -> None:
        """All jobs are in the group of their tag, with what came of them."""
        mix = mix_of("customer", all_at_once={"jobs": 60}, second={"jobs": 20}, third={"jobs": 10})
        done = simulate("x", settings_of("customer"), mix, 1, by="tag")
        counts = {group.name: (group.jobs, sum(group.minutes.accepted)) for group in done.groups}
        self.assertEqual(counts, {"customer-a": (60, 60), "customer-b": (20, 20), "customer-c": (10, 10)})
        self.assertIn("customer-b", group_report([done], "tag"))
        self.assertIn("customer-b", draw([attrs.evolve(done, providers=done.groups)]))

    def test_addresses(self) -> None:
        """All jobs are in the group of the address they left from, put off ones too."""
        mix = mix_of("greylisting", letters={"jobs": 100, "over": 60.0})
        done = simulate("x", settings_of("greylisting"), mix, 1, by="ip")
        self.assertEqual(sum(group.jobs for group in done.groups), 100)
        self.assertEqual(sum(group.deferred for group in done.groups), sum(seen.deferred for seen in done.providers))
        self.assertEqual({group.minutes.waiting[-1] for group in done.groups}, {0})
