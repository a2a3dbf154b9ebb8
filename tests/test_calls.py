"""The hot path does not grow: calls and bytecodes a message against ``benchmarks/calls.json``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.lib.baseline import Baseline, Found, version

ROOT = Path(__file__).parent.parent
BASELINE = ROOT / "benchmarks" / "calls.json"
WAYS = {"rabbitmq 2000", "embedded 2000", "rabbitmq 50000", "embedded 50000"}


def made_up(times: float) -> Baseline:
    """A baseline of one way with two rooms, of which ``found`` (below) is so many times."""
    counts = {"all": 100.0 / times, "delivery.py": 60.0 / times, "smtp/": 40.0 / times}
    return Baseline({version(): {"python": "3", "ways": {"rabbitmq 2000": {"calls": counts, "bytecodes": counts}}}})


COUNTS = {"delivery.py": 60.0, "smtp/": 40.0}
FOUND = [Found("rabbitmq 2000", COUNTS, COUNTS)]


class HotPathTests(SynchronousTestCase):
    """A whole engine in memory, counted."""

    def test_has_not_grown(self) -> None:
        """No way costs more than a tenth more calls or bytecodes a message than the baseline says."""
        command = [sys.executable, str(ROOT / "benchmarks" / "calls.py"), "--check"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(done.returncode, 0, f"\n{done.stdout}\n{done.stderr}")

    def test_baseline_is_whole(self) -> None:
        """The baseline has all ways, in calls and bytecodes, and its sums are those of its rooms."""
        versions = Baseline.read(BASELINE).versions
        self.assertTrue(versions)
        for kept in versions.values():
            self.assertEqual(set(kept["ways"]), WAYS)
            for counts in (counts for way in kept["ways"].values() for counts in (way["calls"], way["bytecodes"])):
                self.assertAlmostEqual(counts["all"] * 2, sum(counts.values()), places=0)


class CompareTests(SynchronousTestCase):
    """When growth is refused, and what is said then."""

    def test_growth_is_refused(self) -> None:
        """Fifteen per cent more is too much: how much, where and how to renew the baseline is said, of both counts."""
        calls, bytecodes = made_up(1.15).compare(FOUND)
        self.assertIn("100.0 calls a message, 15.0 % more than the 87.0", calls)
        self.assertIn("delivery.py +7.8", calls)
        self.assertIn("benchmarks/calls.py --renew", calls)
        self.assertIn("bytecodes", bytecodes)

    def test_some_growth_passes(self) -> None:
        """Nine per cent more is let pass, and so is less."""
        self.assertEqual(made_up(1.09).compare(FOUND), [])
        self.assertEqual(made_up(0.5).compare(FOUND), [])

    def test_a_wide_baseline_is_told(self) -> None:
        """Where a way costs less by more than a tenth, it is said that the baseline lets too much pass."""
        self.assertIn("--renew", made_up(0.85).fallen(FOUND)[0])
        self.assertEqual(made_up(0.95).fallen(FOUND), [])

    def test_another_python(self) -> None:
        """Where the baseline is of another Python, calls may differ by a quarter, and bytecodes are not compared."""
        self.assertEqual(made_up(1.2).compare(FOUND, "3.99"), [])
        self.assertEqual(len(made_up(1.3).compare(FOUND, "3.99")), 1)

    def test_nearest_python(self) -> None:
        """Of several versions the nearest is taken, as numbers."""
        baseline = Baseline({"3.9": {}, "3.11": {}, "3.12": {}})
        self.assertEqual(baseline.nearest("3.14"), "3.12")
        self.assertEqual(baseline.nearest("3.11"), "3.11")
        self.assertEqual(baseline.nearest("3.8"), "3.9")

    def test_nothing_to_compare_with(self) -> None:
        """An empty baseline, and a way that it does not have, are told."""
        self.assertIn("no baseline", Baseline({}).compare(FOUND)[0])
        other = [Found("embedded 2000", COUNTS, COUNTS)]
        self.assertIn("does not have it", made_up(1.0).compare(other)[0])

    def test_renewed(self) -> None:
        """What was found is the baseline then; other ways and versions stay."""
        path = Path(self.mktemp())
        before = Baseline({"3.0": {"python": "3.0.1", "ways": {}}})
        before.renewed(FOUND).renewed([Found("embedded 2000", COUNTS, COUNTS)]).write(path)
        after = Baseline.read(path)
        self.assertEqual(after.compare(FOUND), [])
        self.assertEqual(set(after.versions), {"3.0", version()})
        self.assertEqual(set(json.loads(path.read_text())[version()]["ways"]), {"rabbitmq 2000", "embedded 2000"})
