"""``mailerq simulate``: traffic from a file, the report, the drawing."""

from __future__ import annotations

import contextlib
import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from xml.dom import minidom

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq.cli import main
from mailerq.settings import parse
from mailerq.simulate.drawing import draw, nice
from mailerq.simulate.job_file import JobFile, NoJobs
from mailerq.simulate.mix import parse_mix
from mailerq.simulate.report import duration, report
from mailerq.simulate.run import load_mix, simulate
from mailerq.simulate.simulation import Simulation

MIX = "providers: {a: {domains: [a.example], messages-per-minute: 600}, b: {count: 20}}\nweights: {a: 1, b: 1}"


class Folder(SynchronousTestCase):
    """Tests with files."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def write(self, name: str, *lines: Any) -> str:
        """A file of lines: texts as they are, all else as JSON."""
        path = self.folder / name
        path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
        return str(path)


class JobFiles(Folder):
    """Traffic from a file."""

    def sent(self, path: str, over: float | None = None) -> Simulation:
        """A simulation of that traffic, at its end."""
        jobs = JobFile(path, over)
        self.addCleanup(jobs.close)
        simulation = Simulation(parse("", "c", {}), parse_mix(MIX, "m", {}), traffic=jobs.at, start=jobs.start or 1.8e9)
        simulation.run()
        simulation.check(thoroughly=True)
        return simulation

    def messages(self, simulation: Simulation) -> list[tuple[int, str]]:
        """When, and to which domain."""
        return [(round(one.time), one.domain) for one in simulation.observations if one.kind == "message"]

    def test_at_once(self) -> None:
        """Jobs without times come at the start; their sizes, tags and providers are their own."""
        path = self.write(
            "jobs",
            {"recipient": "x@a.example", "mime": "m" * 98, "tags": ["t"]},
            {"recipient": "y@Z.example", "key": "k", "queues": {"results": "mine"}, "bytes": 70},
        )
        out = [one for one in self.sent(path).observations if one.kind == "message"]
        self.assertEqual({(one.provider, one.domain, one.tags, one.size) for one in out}, {
            ("a", "a.example", ("t",), 100),
            ("other", "z.example", (), 70),
        })  # fmt: skip

    def test_offsets(self) -> None:
        """Times in seconds count from the start, in whatever order they are."""
        path = self.write(
            "jobs",
            {"recipient": "x@a.example", "mime": "m", "time": 60},
            {"recipient": "x@b.example", "mime": "m"},
            {"recipient": "x@c.example", "mime": "m", "time": 10.5},
        )
        found = self.messages(self.sent(path))
        self.assertEqual(sorted(domain for _, domain in found), ["a.example", "b.example", "c.example"])
        self.assertEqual(sorted(time for time, _ in found), [11, 60, 60])

    def test_dates(self) -> None:
        """Dates keep their distances, and the simulation begins at the first of them, so that expiry has its sense."""
        path = self.write(
            "jobs",
            {"recipient": "x@a.example", "mime": "m", "time": "2026-03-01 10:00:30"},
            {"recipient": "x@b.example", "mime": "m", "results": [{"type": "success", "time": "2026-03-01 10:00:00"}]},
            {
                "recipient": "x@c.example",
                "mime": "m",
                "time": "2026-03-01 10:00:31",
                "maxdelivertime": "2026-03-01 09:00:00",
            },
        )
        done = self.sent(path)
        self.assertEqual(self.messages(done), [(0, "b.example"), (30, "a.example")])
        self.assertEqual(done.recorder.minutes[-1].results, {"success": 1, "expired": 1})

    def test_no_dates(self) -> None:
        """Without times, dates in jobs are those of another day, and left out."""
        path = self.write("jobs", {"recipient": "x@a.example", "mime": "m", "maxdelivertime": "2020-01-01 00:00:00"})
        self.assertEqual(len(self.messages(self.sent(path))), 1)

    def test_over(self) -> None:
        """``over`` spreads them evenly, whatever their times are."""
        path = self.write("jobs", *[{"recipient": f"x@{n}.example", "mime": "m", "time": 5} for n in range(4)])
        self.assertEqual([time for time, _ in self.messages(self.sent(path, 400.0))], [0, 100, 200, 300])

    def test_lines_that_are_no_jobs(self) -> None:
        """They are passed over, and counted."""
        path = self.write("jobs", "", "no", [], {"recipient": 3}, {"recipient": "x@a.example", "mime": "m"}, "{}")
        jobs = JobFile(path)
        self.addCleanup(jobs.close)
        self.assertEqual((jobs.total, jobs.refused, jobs.first_refused), (1, 4, 2))

    def test_no_jobs(self) -> None:
        """A file without any job is refused."""
        self.assertIn("empty", str(self.assertRaises(NoJobs, JobFile, self.write("jobs"))))
        self.assertIn("2 lines", str(self.assertRaises(NoJobs, JobFile, self.write("jobs", "a", "b"))))

    @given(st.lists(st.one_of(st.binary(max_size=40), st.dictionaries(st.text(max_size=9), st.integers())), max_size=4))
    def test_any_bytes(self, lines: list[Any]) -> None:
        """Whatever a file has in it, it is read, or refused as having no jobs."""
        path = self.folder / "any"
        path.write_bytes(b"\n".join(one if isinstance(one, bytes) else json.dumps(one).encode() for one in lines))
        with contextlib.suppress(NoJobs):
            JobFile(str(path)).close()


class Command(Folder):
    """The command, from its arguments to what it prints."""

    def run_it(self, *arguments: str) -> tuple[int, str, str]:
        """Status, output, errors."""
        out, errors = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(errors):
            status = main(["simulate", *arguments])
        return status, out.getvalue(), errors.getvalue()

    def setUp(self) -> None:
        super().setUp()
        self.mix = self.write("mix.yaml", MIX, "streams: {s: {jobs: 200, tags: [x]}}")
        self.new = self.write(
            "new.yaml", "limits:", '- {domain: "*"}', "- {domain: a.example, messages-per-minute: 30}"
        )
        self.old = self.write("old.yaml", "limits:", '- {domain: "*", max-connections: 3}')

    def test_one(self) -> None:
        """One policy: when it was drained, what bound, what each provider saw."""
        status, out, errors = self.run_it("-c", self.new, "--mix", self.mix)
        self.assertEqual((status, errors), (0, ""))
        for wanted in ("drained after", "success", "messages-per-minute", "(line 3)", "a minute", "new.yaml"):
            self.assertIn(wanted, out)
        self.assertNotIn("difference", out)

    def test_two(self) -> None:
        """Two side by side, with what is different, and drawn."""
        picture = self.folder / "out.svg"
        status, out, _ = self.run_it("-c", self.new, "--mix", self.mix, "--compare", self.old, "--draw", str(picture))
        self.assertEqual(status, 0)
        self.assertIn("difference", out)
        self.assertIn("old.yaml", out)
        drawn = minidom.parseString(picture.read_text())
        words = [one.firstChild.data for one in drawn.getElementsByTagName("text")]  # type: ignore[union-attr]
        for wanted in ("new.yaml", "old.yaml", "messages a minute", "jobs waiting", "time since the start", "a", "b"):
            self.assertIn(wanted, words)

    def test_same_each_time(self) -> None:
        """The same seed prints and draws the same, another one does not."""
        picture = self.folder / "out.svg"
        shown = []
        for seed in ("1", "1", "2"):
            _, out, _ = self.run_it("-c", self.new, "--mix", self.mix, "--seed", seed, "--draw", str(picture))
            shown.append(out + picture.read_text())
        self.assertEqual(shown[0], shown[1])
        self.assertNotEqual(shown[1], shown[2])

    def test_until(self) -> None:
        """It ends where it is told to, and says what is left."""
        status, out, _ = self.run_it("-c", self.new, "--mix", self.mix, "--until", "1m")
        self.assertEqual(status, 0)
        self.assertIn("not yet", out)
        self.assertIn("not ended", out)

    def test_jobs(self) -> None:
        """Jobs from a file go to the providers that are built in; lines that are none are told."""
        jobs = self.write("jobs", {"recipient": "x@gmail.com", "mime": "m"}, "nothing", {"recipient": "y@b.example"})
        status, out, errors = self.run_it("-c", self.new, "--jobs", jobs)
        self.assertEqual(status, 0)
        self.assertIn("gmail", out)
        self.assertIn("line 2", errors)

    def test_wrong(self) -> None:
        """What cannot be is said in a line."""
        for arguments, wanted in (
            (["--mix", str(self.folder / "none.yaml")], "cannot be read"),
            (["--jobs", str(self.folder / "none")], "No such file"),
            (["--over", "1h"], "--jobs"),
            (["--draw", "x.png"], "SVG"),
            (["--draw", "no/where/x.svg"], "no folder"),
            (["--mix", self.write("bad.yaml", "providers: {a: {cont: 3}}")], "bad.yaml:1:"),
            (["--mix", self.write("void.yaml", "providers: {a: {count: 3}}")], "no streams"),
            (["--compare", self.write("worse.yaml", "limit: 3")], "worse.yaml:1:"),
        ):
            status, out, errors = self.run_it("-c", self.new, *arguments)
            self.assertEqual((status, out), (1, ""), arguments)
            self.assertIn(wanted, errors)


class Pieces(SynchronousTestCase):
    """The pieces of a report."""

    def test_durations(self) -> None:
        """Times are said as people say them."""
        times = (0, 0.254, 42, 725, 11220, 187200)
        said = ["0.00s", "0.25s", "42s", "12m 05s", "3h 07m", "2d 04h"]
        self.assertEqual([duration(seconds) for seconds in times], said)

    @given(st.floats(0, 1e12))
    def test_nice(self, value: float) -> None:
        """A step of an axis is round, and not too small."""
        step = nice(value)
        self.assertGreaterEqual(step, value * 0.99)
        self.assertIn(f"{step:e}"[0], "125")

    def test_nothing(self) -> None:
        """A simulation without a job has a report and a drawing, too."""
        done = simulate("none", parse("", "c", {}), parse_mix("", "m", {}), 0)
        self.assertIn("none", report([done]))
        minidom.parseString(draw([done, done]))

    def test_built_in_mix(self) -> None:
        """The mix that is built in is right, and its traffic can be sent."""
        mix = load_mix(None)
        self.assertGreater(len(mix.providers), 5)
        self.assertGreater(sum(stream.jobs for stream in mix.streams.values()), 1000)
