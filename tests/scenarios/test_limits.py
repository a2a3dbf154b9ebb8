"""Limits through the real engine and real sockets: hosts note when mail came, and the tests judge what they noted.

Nothing here is about how fast the machine is. ``JITTER`` is for the system, which may hand a host its bytes late. The
plays (``plays.py``) of a class run side by side from its first test on; ``MAILERQ_FULL=1`` plays more.
"""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
from bisect import bisect_left, bisect_right
from collections import defaultdict
from itertools import pairwise
from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from mailerq.parking import SOONEST
from tests.scenarios.harness import ROOT, rabbit
from tests.scenarios.plays import APART, FULL, OTHERS

JITTER = 0.08  # seconds by which two notes may be nearer than their mails were: many engines share two processors
PATIENCE = 150.0  # seconds for a play


class Player:
    """A play in a process of its own, which begins at once."""

    def __init__(self, name: str, broker: str = "sqlite", workers: int = 1) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.scenarios.plays", name, broker, str(workers)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._seen: dict[str, Any] | None = None

    def seen(self) -> dict[str, Any]:
        """What was seen, when the play is over; AssertionError, with the engine's log, where it broke."""
        if self._seen is None:
            out, errors = self.process.communicate(timeout=PATIENCE * (2 if FULL else 1))
            if self.process.returncode:
                raise AssertionError(f"{self.name}: {errors.decode()}")
            self._seen = json.loads(out)
        if "error" in self._seen:
            raise AssertionError(f"{self.name}: {self._seen['error']}\n--- the engine's log:\n{self._seen['log']}")
        return self._seen

    def end(self) -> None:
        """Nobody asks for it any more."""
        if self.process.poll() is None:
            self.process.terminate()
        self.process.communicate(timeout=20)


def times(seen: dict[str, Any], domain: str) -> list[float]:
    """When mails for ``domain`` came."""
    return [came[0] for came in seen["came"][domain]]


def too_near(times: list[float], apart: float) -> list[str]:
    """Windows, of whatever length, with more in them than one in ``apart`` seconds."""
    found = []
    latest, since = float("-inf"), 0.0  # of a run that keeps the pace exactly: when the next may come
    for number, time in enumerate(times):
        if time < latest - JITTER:
            found.append(f"number {number} came {latest - time:.3f} s early, {time - since:.3f} s after the first")
        if time >= latest:
            since = time
        latest = max(latest, time) + apart
    return found


class Judged(SynchronousTestCase):
    """Tests that judge plays. All plays of a class begin with its first test."""

    plays: tuple[str, ...] = ()
    workers = 1
    players: ClassVar[dict[tuple[str, int], Player]] = {}

    def setUp(self) -> None:
        for play in self.plays:
            if (play, self.workers) not in self.players:
                name, _, broker = play.partition(" over ")
                player = Player(name, rabbit().url() if broker else "sqlite", self.workers)
                self.players[play, self.workers] = player
                atexit.register(player.end)

    def seen(self, play: str) -> dict[str, Any]:
        """What was seen of a play."""
        return self.players[play, self.workers].seen()

    def keeps_pace(self, times: list[float], apart: float) -> None:
        """No window has more in it than one in ``apart`` seconds."""
        self.assertEqual(too_near(times, apart), [], [round(time - times[0], 3) for time in times])

    def judge_change(self, seen: dict[str, Any]) -> None:
        """It acts at once, both ways; what was used up is not forgotten."""
        came = times(seen, "slow.test")
        faster, slower = seen["faster"], seen["slower"]
        before, after = bisect_left(came, faster), bisect_right(came, slower + 0.1)
        self.keeps_pace(came[:before], 1.0)
        self.keeps_pace(came[before - 1 : after], 0.1)
        self.keeps_pace(came[after:], 1.0)
        self.assertLess(came[before] - faster, 0.5)  # not a second after the one before
        self.assertGreaterEqual(after - before, 25, "not ten a second")
        self.assertGreaterEqual(came[after] - came[after - 1], 0.1 - JITTER)
        self.assertGreaterEqual(len(came) - after, 4)


class Limits(Judged):
    """What an engine does in half a minute."""

    plays = (
        "even",
        "even over rabbit",
        "crowd",
        "changed",
        "hurried",
        "lives",
        "crowded",
        "paused",
        "explained",
        "grey",
    )

    def judge_even(self, seen: dict[str, Any]) -> None:
        """Thirty in thirty seconds."""
        came = times(seen, "slow.test")
        self.keeps_pace(came, 1.0)
        self.assertIn(bisect_left(came, came[0] + 30.0 - JITTER), (29, 30, 31))
        self.assertLess(abs(came[29] - came[0] - 29.0), 0.3)
        self.assertLess(max(later - earlier for earlier, later in pairwise(came)), 1.3)

    def test_a_minute_of_sixty(self) -> None:
        """60 a minute are, after 30 s, 30 mails: one a second, none early, none left out, no drift."""
        self.judge_even(self.seen("even"))

    def test_a_minute_of_sixty_over_rabbit(self) -> None:
        """The same where those that wait are parked in delay queues."""
        self.judge_even(self.seen("even over rabbit"))

    def test_a_slow_domain_holds_nobody_up(self) -> None:
        """3,000 jobs for a domain with 30 a minute, published before 300 for ten others: these have their results
        before the slow one has had six mails, though the engine holds 500 jobs at most."""
        seen = self.seen("crowd")
        self.assertLess(seen["slow"], 6)
        self.assertEqual(sorted(len(times(seen, domain)) for domain in OTHERS), [30] * 10)
        self.keeps_pace(times(seen, "slow.test"), 2.0)

    def test_a_limit_is_changed_in_full_flow(self) -> None:
        """SIGHUP from 60 to 600 a minute and back acts at once, both ways; what was used up is not forgotten."""
        self.judge_change(self.seen("changed"))

    def test_lives(self) -> None:
        """Killed again and again, stopped and started: over all lives no limit is exceeded in any window, and mail goes
        on at that pace."""
        self.judge_lives(self.seen("lives"))

    def judge_lives(self, seen: dict[str, Any]) -> None:
        """No limit is exceeded in any window."""
        self.assertGreater(seen["lives"], 4 // self.workers)  # to begin takes as many processes longer
        for domain in seen["came"]:
            if domain == "connects.test":
                connected = [connected[0] for connected in seen["connected"][domain]]
                self.keeps_pace(connected, APART)
            else:
                self.keeps_pace(times(seen, domain), APART)
            came = times(seen, domain)
            self.assertGreater(len(came) * APART, (came[-1] - came[0]) * 0.6, domain)

    def test_too_many_connections(self) -> None:
        """A host that bears three connections, and refuses more with 421, is met with no more than three from then on.
        All mail arrives, and few connections are refused."""
        seen = self.seen("crowded")
        begun, wider = seen["came"]["narrow.test"][0][0], seen["wider"]
        self.assertEqual({job["results"][-1]["type"] for job in seen["results"]}, {"success"})
        refused = [time for time, _ in seen["refused"]["narrow.test"]]
        later = [time - begun for time in refused if time > begun + 1.0]
        self.assertTrue(1 <= len(refused) - len(later) <= 4, refused)  # under way with the first that was refused
        # A worker that came when others had all three asks again each time the host is taken for online, after 2 s.
        self.assertLessEqual(len(later), 4 * (self.workers - 1), later)
        self.assertLessEqual(sum(len(job["results"]) - 1 for job in seen["results"]), len(refused))
        busy = [time for time in times(seen, "narrow.test") if begun + 3.0 < time < wider]
        self.assertGreater(len(busy), 0.6 * 3 * (wider - begun - 3.0) / 0.2, "three connections could carry more")

    if FULL:

        def test_more_connections_again(self) -> None:
            """When such a host bears more, it gets more, one after the other."""
            seen = self.seen("crowded")
            grown: dict[int, float] = {}
            for time, _, open in seen["connected"]["narrow.test"]:
                if time > seen["wider"]:
                    grown.setdefault(open, time)
            self.assertGreaterEqual(max(grown), 5)
            self.assertGreater(grown[5] - grown[4], 30.0, "all at once")

    def test_explained(self) -> None:
        """``mailerq explain`` names the limit that binds with its line of the configuration; ``mailerq sites`` has the
        site."""
        seen = self.seen("explained")
        self.assertIn("messages-per-minute", seen["explain"])
        self.assertTrue(any(place in seen["explain"] for place in seen["places"]), seen["explain"])
        self.assertIn("30", seen["explain"])
        self.assertIn("slow.test", seen["sites"])
        self.assertIn("messages-per-minute", seen["sites"])

    def test_paused(self) -> None:
        """Of a paused domain nothing leaves and nothing fails, over a stop and a kill, while others go on; resumed, its
        mail leaves at its pace, as soon as what was parked looks again whether it may."""
        seen = self.seen("paused")
        came, paused, resumed = times(seen, "paused.test"), seen["paused"], seen["resumed"]
        self.assertEqual([time - paused for time in came if paused < time < resumed], [])
        self.assertEqual(seen["ended while paused"], bisect_left(came, paused))
        others = times(seen, "other.test")
        self.assertGreater(bisect_left(others, resumed) - bisect_left(others, paused), 6)
        self.assertEqual(len(came), 20)
        self.assertLess(came[bisect_left(came, resumed)] - resumed, SOONEST + 3.0)
        self.keeps_pace(came, 0.25)
        ended = [job for job in seen["results"] if job["domain"] == "paused.test"]
        self.assertEqual({job["results"][-1]["type"] for job in ended}, {"success"})

    def test_a_faster_limit_reaches_parked_mail(self) -> None:
        """A limit that is raised acts at once on those, too, that were parked under the lower one."""
        self.judge_change(self.seen("hurried"))

    def test_greylisted(self) -> None:
        """The second try leaves from the address of the first, of three that may be used, and so it is taken."""
        seen = self.seen("grey")
        sources = defaultdict(list)
        for _, source, sender in seen["came"]["grey.test"]:
            sources[sender].append(source)
        self.assertEqual(len(sources), 30)
        self.assertEqual({sender: found for sender, found in sources.items() if len(set(found)) > 1}, {})
        self.assertEqual({len(job["results"]) for job in seen["results"]}, {2})
        self.assertEqual(len({found[0] for found in sources.values()}), 3)


class LimitsOfTwo(Limits):
    """What a parent and two workers do: for all of them together the same holds."""

    workers = 2
    plays = (*Limits.plays, "killed_workers")

    def test_killed_workers(self) -> None:
        """Workers are killed one by one, and others go on meanwhile: no limit is exceeded in any window."""
        self.judge_lives(self.seen("killed_workers"))
