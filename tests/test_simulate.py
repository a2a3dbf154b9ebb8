"""The simulator: scripted providers and the engine's own parts over a simulated clock."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailerq.settings import SettingsError, parse
from mailerq.simulate.ledger import NotConserved
from mailerq.simulate.mix import Mix, parse_mix
from mailerq.simulate.simulation import Simulation
from mailerq.slowdown import SlowDown

ROOT = Path(__file__).resolve().parent.parent
MIX = """
providers:
  big: {domains: [big.example, also.example], mx: {mx1.big.example: [192.0.2.1, 192.0.2.2]}, max-connections: 5}
  small: {count: 100, greylist: 5m, greylisted: 20%, unknown: 2%, deferred: 1%, drops: 1%,
          outages: [{after: 2m, lasts: 3m, kind: silent}, {after: 10m, lasts: 1m},
                    {after: 12m, lasts: 1m, kind: "421"}]}
weights: {big: 1, small: 3}
streams:
  news: {jobs: 400, over: 15m, tags: [a, b]}
  alerts: {jobs: 40, after: 1m, priority: 5, to: {big: 1}}
"""


def mix_of(text: str) -> Mix:
    """A mix from YAML."""
    return parse_mix(text, "mix.yaml", {})


def simulation(mix: str = MIX, settings: str = "", seed: int = 1, **named: Any) -> Simulation:
    """A simulation of the default settings, or of those in ``settings``."""
    return Simulation(parse(settings, "config", {}), mix_of(mix), seed, **named)


def messages(done: Simulation, **fields: Any) -> list[float]:
    """The times at which messages went out whose observation has these ``fields``."""
    return [
        one.time
        for one in done.observations
        if one.kind == "message" and all(getattr(one, name) == value for name, value in fields.items())
    ]


class Conservation(SynchronousTestCase):
    """Each job ends in exactly one place."""

    def test_each_job_ends_once(self) -> None:
        """Whatever hosts do, each job has one final result in the end, and is in one place until then."""
        running = simulation()
        for count in range(10**6):
            if running.drained or not running.step():
                break
            running.check(thoroughly=count % 50 == 0)
        self.assertTrue(running.drained)
        self.assertEqual(sum(one.ended for one in running.recorder.minutes), 440)

    def test_a_lost_job_is_seen(self) -> None:
        """A job that is nowhere is found missing."""
        running = simulation().run(until=60)
        running.queues._queues["outbox"].waiting.clear()
        running.ledger.arrived += 1
        self.assertRaises(NotConserved, running.check)

    def test_a_job_that_ends_twice_is_seen(self) -> None:
        """The second result of a job is one too many."""
        done = simulation("streams: {}")
        number = done.publish("a@x.example")
        done.run()
        self.assertRaises(NotConserved, done.ledger.end, number)

    def test_killed_and_started_again(self) -> None:
        """A kill in the middle loses no job and makes none end twice."""
        running = simulation()
        for time in (30, 90.5, 400, 700):
            running.run(until=time)
            running.kill()
            running.check(thoroughly=True)
            running.run(until=time + 5)
            running.restart()
        running.run()
        running.check(thoroughly=True)
        self.assertEqual(running.ledger.ended, 440)


class Replay(SynchronousTestCase):
    """The same seed is the same simulation."""

    def test_same_seed(self) -> None:
        """All that goes out is the same to the last digit."""
        self.assertEqual(simulation().run().observations, simulation().run().observations)

    def test_another_seed(self) -> None:
        """Another seed is another day."""
        self.assertNotEqual(simulation().run().observations, simulation(seed=2).run().observations)

    def test_another_process(self) -> None:
        """Nothing depends on the order in which Python happens to keep what has none."""
        program = (
            "from tests.test_simulate import simulation\n"
            "import hashlib\n"
            "settings = 'smtp: {ips: [192.0.2.7, 192.0.2.8, 192.0.2.9]}\\n"
            "limits: [{ip: 192.0.2.8, messages-per-minute: 20}, {tag: a, messages-per-minute: 60}]'\n"
            "done = simulation(settings=settings).run()\n"
            "print(hashlib.sha256(repr(done.observations).encode()).hexdigest())"
        )
        said = set()
        for seed in ("1", "2"):
            environment = {**os.environ, "PYTHONHASHSEED": seed}
            run = subprocess.run(
                [sys.executable, "-c", program], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
            )
            self.assertEqual(run.returncode, 0, run.stderr)
            said.add(run.stdout)
        self.assertEqual(len(said), 1)


class Providers(SynchronousTestCase):
    """What scripted hosts do."""

    def one(self, provider: str, settings: str = "", jobs: int = 1) -> Simulation:
        """A simulation in which ``jobs`` jobs go to x.example, whose provider is as it is said."""
        running = simulation(f"providers: {{x: {{domains: [x.example], {provider}}}}}", settings)
        for number in range(jobs):
            running.publish(f"u{number}@x.example")
        return running

    def test_accepted(self) -> None:
        """A job is accepted, and took as long as the host's latency says."""
        done = self.one("latency: {connect: 1s, talk: 1s, jitter: 0%}, tls: false").run()
        self.assertEqual(done.recorder.minutes[0].results, {"success": 1})
        self.assertAlmostEqual(done.now, 1 + 2 + 2, 2)
        self.assertAlmostEqual(messages(done)[0], 3.0, 5)

    def test_too_many_connections(self) -> None:
        """Connections above what the host bears are turned away at the greeting."""
        done = self.one("max-connections: 2", jobs=300).run()
        seen = done.recorder.minutes[0]
        self.assertGreater(sum(seen.turned_away), 0)
        self.assertEqual(max(seen.connections), 2)
        self.assertEqual(seen.results, {"success": 300})

    def test_too_many_messages(self) -> None:
        """Messages above the host's rate are refused for now, with its own words."""
        running = self.one("messages-per-minute: 10, too-fast: 451 4.7.0 Slow down", "", 30)
        running.run(until=59)
        seen = running.recorder.minutes[0]
        self.assertEqual(list(seen.accepted), [10])
        self.assertEqual(list(seen.deferred), [20])

    def test_greylisting(self) -> None:
        """The first attempt is refused for now, one after the wait is taken."""
        done = self.one("greylist: 5m").run()
        self.assertEqual(done.recorder.minutes[0].attempts, {"error": 1, "success": 1})
        self.assertGreater(done.now, 300)

    def test_unknown_users(self) -> None:
        """Unknown users are unknown for good."""
        done = self.one("unknown: 100%").run()
        self.assertEqual(done.recorder.minutes[0].results, {"error": 1})
        self.assertEqual(list(done.recorder.minutes[0].refused), [1])

    def test_outages(self) -> None:
        """A host that is away refuses, is silent or says 421, and is there again afterwards."""
        for kind, result in (("refused", "refused"), ("silent", "connect"), ('"421"', "noaccess")):
            done = self.one(f"outages: [{{after: 0s, lasts: 1m, kind: {kind}}}]").run()
            attempts = done.recorder.minutes[0].attempts
            self.assertEqual((attempts[result], attempts["success"]), (1, 1), kind)

    def test_outage_in_the_middle(self) -> None:
        """A host that goes away breaks the talks that are under way."""
        for kind, result in (("refused", "lost"), ("silent", "timeout"), ('"421"', "error")):
            provider = f"latency: {{talk: 3s}}, outages: [{{after: 16s, lasts: 1m, kind: {kind}}}]"
            done = self.one(provider, "smtp: {tls: none}", 50).run()
            self.assertGreater(done.recorder.minutes[0].attempts[result], 0, kind)
            self.assertEqual(done.recorder.minutes[0].results, {"success": 50})

    def test_closes_idle(self) -> None:
        """A host may close what is idle."""
        done = self.one("closes-idle: 100ms", "limits: [{domain: x.example, messages-per-minute: 60}]", 5).run()
        self.assertEqual(done.recorder.minutes[0].results, {"success": 5})

    def test_generated_sites(self) -> None:
        """Made up domains share as many sites as is said."""
        running = simulation("providers: {x: {count: 50, sites: 7}}\nstreams: {s: {jobs: 200}}").run()
        self.assertEqual(len({one.remote for one in running.observations}), 7)
        self.assertEqual({one.provider for one in running.observations}, {"x"})

    def test_unknown_domains(self) -> None:
        """Domains that no provider has are those of ``other``, each on its own."""
        running = simulation("streams: {}")
        for domain in ("a.example", "b.example", "a.example"):
            running.publish(f"u@{domain}")
        running.run()
        self.assertEqual(len({one.remote for one in running.observations}), 2)
        self.assertEqual({one.provider for one in running.observations}, {"other"})


class Limits(SynchronousTestCase):
    """Limits as the hosts see them."""

    def test_pace(self) -> None:
        """60 a minute is one a second."""
        done = simulation(
            "providers: {x: {domains: [x.example]}}\nstreams: {s: {jobs: 100}}",
            "limits: [{domain: x.example, messages-per-minute: 60}]",
        ).run()
        times = messages(done)
        self.assertEqual(len(times), 100)
        gaps = [after - before for before, after in pairwise(times)]
        self.assertGreater(min(gaps), 0.999)
        self.assertLess(times[-1] - times[0], 101)

    def test_reload(self) -> None:
        """Another limit holds from the moment it is loaded."""
        running = simulation(
            "providers: {x: {domains: [x.example]}}\nstreams: {s: {jobs: 400, over: 200s}}",
            "limits: [{domain: x.example, messages-per-minute: 60}]",
        )
        faster = parse("limits: [{domain: x.example, messages-per-minute: 600}]", "config", {})
        running.at(30, running.reload, faster)
        times = messages(running.run())
        self.assertLess(sum(time < 30 for time in times), 32)
        self.assertGreater(sum(30 <= time < 50 for time in times), 35)

    def test_what_binds(self) -> None:
        """The limit that binds is seen, with its line."""
        done = simulation(
            "providers: {x: {domains: [x.example]}}\nstreams: {s: {jobs: 300}}",
            "limits:\n- {domain: x.example, messages-per-minute: 60}",
        ).run()
        self.assertIn(("messages-per-minute", 2), done.recorder.minutes[0].all_limits())

    def test_what_binds_for_a_tag(self) -> None:
        """The limit of a tag is told with its own line."""
        done = simulation(
            "providers: {x: {domains: [x.example]}}\nstreams: {s: {jobs: 300, tags: [news]}}",
            "limits:\n- {domain: x.example, messages-per-minute: 6000}\n- {tag: news, messages-per-minute: 60}",
        ).run()
        self.assertEqual(set(done.recorder.minutes[0].all_limits()), {("messages-per-minute (tag news)", 3)})

    def test_what_binds_when_slowed(self) -> None:
        """Limits that are lowered for a while are told as one, whatever lowered them."""
        running = simulation("providers: {x: {domains: [x.example]}}\nstreams: {s: {jobs: 200, over: 5m}}")
        running.run(until=10)
        assert running.parts is not None
        for site in running.parts.scheduler.sites.values():
            values = {"messages_per_minute": 20.0}
            slowdown = SlowDown(values, running.start + 900, running.start + 10, "451 4.7.0 Slow down", 7, False)
            site.allowance.slow(None, slowdown)
        running.run(until=900)
        self.assertIn(("messages-per-minute (slowed)", 7), running.recorder.minutes[0].all_limits())

    def test_paused(self) -> None:
        """A pause by a person stops what it names, as long as it lasts."""
        running = simulation("providers: {x: {domains: [x.example]}}\nstreams: {s: {jobs: 100, over: 100s}}")
        running.at(20, running.parts.scheduler.pause, running.start + 60, "for a test")  # type: ignore[union-attr]
        times = messages(running.run())
        self.assertEqual(len(times), 100)
        self.assertEqual([time for time in times if 21 < time < 60], [])


class Mixes(SynchronousTestCase):
    """Mixes as they are written."""

    def test_errors(self) -> None:
        """All that is wrong is said at once, with its place."""
        with self.assertRaises(SettingsError) as caught:
            mix_of("providers: {a: {count: 3, latencies: 4}, b: {unknown: 120%}}\nstreams: {s: {over: 3}}")
        text = "\n".join(caught.exception.errors)
        for wanted in ("latencies", "unknown", "over", "mix.yaml:2"):
            self.assertIn(wanted, text)

    def test_weights_of_nobody(self) -> None:
        """Weights are those of providers that there are, and that have domains."""
        with self.assertRaises(SettingsError) as caught:
            mix_of("providers: {a: {}, b: {count: 1}}\nweights: {a: 1, bb: 2}")
        self.assertEqual(len(caught.exception.errors), 2)

    def test_streams(self) -> None:
        """A stream has as many jobs as it says, within its time, with what they are to say."""
        done = simulation(
            "providers: {a: {domains: [a.example]}, b: {count: 9}}\n"
            "streams: {s: {jobs: 100, after: 1m, over: 1m, to: {a: 3, b: 1}, tags: [t], bytes: 7KB}}"
        ).run()
        out = [one for one in done.observations if one.kind == "message"]
        self.assertEqual({(one.tags, one.size) for one in out}, {(("t",), 7000)})
        self.assertTrue(all(60 <= one.time < 122 for one in out))
        self.assertTrue(60 < sum(one.provider == "a" for one in out) < 90)
