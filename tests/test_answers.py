"""What the engine says of itself; the commands, from their arguments to what they print."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any
from unittest import mock

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq.admin import questions
from mailerq.admin.answers import Answers
from mailerq.admin.questions import Explain, Pause, Refused, Resume, Rows, Sites, Stats
from mailerq.admin.questions import Pauses as AllPauses
from mailerq.commands import Failed, explain, pause, pauses, resume, sites
from mailerq.commands.engine_access import NotRunning
from mailerq.explained import JobSeen, Note, PauseSeen, Row, SiteSeen, Total
from mailerq.hosts import Hosts
from mailerq.job import Job, read
from mailerq.lane import LaneKey
from mailerq.limits import Rule
from mailerq.mail import Mail
from mailerq.pauses import Pauses
from mailerq.route import Host, NoHosts, NullMx, Route
from mailerq.settings import Settings, parse
from mailerq.site import Site
from mailerq.terms import Terms
from tests.memory_engine import MemoryEngine
from tests.mx import Mx, Net

ROOT = Path(__file__).parents[1]
NOW = 1_800_000_000.0
ROUTE = Route(("mx.example",), (Host("198.51.100.1", 25, "mx.example"),))


class Parts:
    """The parts of an engine, as far as they are asked."""

    def __init__(self) -> None:
        self.settings: Settings = parse("limits: [{domain: example.org, messages-per-minute: 60}]", "a.yaml", {})
        self.now_is = NOW
        self.offline: dict[str, float] = {}
        self.hosts = Hosts(300.0, 3600.0)
        self.pauses_of_all = Pauses()
        rules: tuple[Rule, ...] = self.settings.limits
        self.terms = Terms(rules, {}, self.pauses_of_all)
        self.reactions = SimpleNamespace(pauses=self.pauses_of_all)
        self.sites: dict[tuple[str, ...], Site] = {}
        self.in_hand: set[Mail] = set()
        self.known: dict[str, Any] = {}
        self.counts = {"delivered": 7}
        self.connected = True

    def now(self) -> float:
        """The time."""
        return self.now_is

    def connections(self) -> int:
        """How many connections there are."""
        return 10

    def offline_until(self, address: str, source: str | None = None) -> float:
        """Until when."""
        return self.offline.get(address, 0.0)

    def cached(self, domain: str) -> Any:
        """What the resolver knows."""
        return self.known.get(domain)

    def pause(self, until: float | None, why: str, **scope: str) -> Any:
        """As the scheduler does."""
        return self.pauses_of_all.add(NOW, until, why, **scope)

    def resume(self, number: int) -> bool:
        """As the scheduler does."""
        return self.pauses_of_all.remove(number)

    def answers(self) -> Answers:
        """Who answers."""
        return Answers(lambda: self.settings, scheduler=self, deliveries=self, resolver=self, broker=self, events=self)

    def site(self, *domains: str, route: Route = ROUTE) -> Site:
        """A site."""
        site = self.sites.setdefault(route.key, Site(route, self.terms))
        for domain in domains:
            site.know_domain(domain)
        return site

    def mail(self, recipient: str, site: Site | None = None) -> Mail:
        """A job in hand, that waits at a site."""
        job = read(json.dumps({"recipient": recipient, "mime": "x"}).encode())
        assert isinstance(job, Job)
        mail = Mail(job, None, b"", f"abc-{len(self.in_hand)}", NOW - 5)
        self.in_hand.add(mail)
        if site is not None:
            mail.lane = site.lane(LaneKey())
            mail.lane.waiting.append(mail)
        return mail


class Asked(SynchronousTestCase):
    """Questions and their answers."""

    def setUp(self) -> None:
        """An engine with two sites."""
        self.parts = Parts()
        self.org = self.parts.site("example.org", "b.example")
        self.com = self.parts.site("example.com", route=Route(("m.example",), (Host("198.51.100.2", 25, "m.example"),)))

    def ask(self, question: questions.Asked) -> list[Any]:
        """The answer, as a client gets it."""
        found = [line for line in self.parts.answers().answer(question) if line is not None]
        msgspec.json.encode(found)
        return found

    def refused(self, question: questions.Asked) -> str:
        """Why there is none."""
        with self.assertRaises(Refused) as caught:
            self.ask(question)
        return str(caught.exception)

    def test_domain(self) -> None:
        """A domain is that of its site, however it is written."""
        for what in ("example.org", "EXAMPLE.org.", "b.example"):
            (found,) = self.ask(Explain(what))
            self.assertIsInstance(found, SiteSeen)
            self.assertEqual((found.name, found.known, found.domain_count), ("b.example", True, 2))

    def test_rows(self) -> None:
        """Sites by their hosts: those that are there, in one line each."""
        (found,) = self.ask(Rows([("mx.example",), ("else.example",)]))
        self.assertEqual((found.name, found.key), ("b.example", ("mx.example",)))

    def test_unknown_domain(self) -> None:
        """A domain that has no site: what would hold, from its hosts where those are known."""
        found, note = self.ask(Explain("new.example"))
        self.assertEqual((found.name, found.known), ("new.example", False))
        self.assertIn("not known", note.text)
        self.parts.known["new.example"] = Route(("other",), (Host("198.51.100.9", 25, "other"),))
        (found,) = self.ask(Explain("new.example"))
        self.assertEqual(found.hosts[0].address, "198.51.100.9")
        self.parts.known["new.example"] = ROUTE
        note, found = self.ask(Explain("new.example"))
        self.assertEqual(found.name, "b.example")

    def test_no_hosts(self) -> None:
        """A domain that takes no mail: why."""
        for known in (NoHosts("it does not exist", True), NullMx("it takes no mail")):
            self.parts.known["gone.example"] = known
            self.assertEqual(self.ask(Explain("gone.example")), [Note(f"gone.example: {known.why}")])

    def test_job(self) -> None:
        """A job by its id, with its site."""
        mails = [self.parts.mail("x@example.org", self.org) for _ in range(3)]
        mails[2].blocked_by = "max-connections"
        job, site = self.ask(Explain("abc-2"))
        self.assertEqual(
            job, JobSeen("abc-2", "x@example.org", 1, "waits for its turn", NOW - 5, "max-connections", 2, None)
        )
        self.assertEqual((site.name, site.waiting), ("b.example", 3))

    def test_no_job(self) -> None:
        """An id that no job has."""
        self.assertEqual(self.refused(Explain("63a8e437e1c4-1")), "no job with the id 63a8e437e1c4-1 is in hand")

    def test_states(self) -> None:
        """Where a job is: being looked up, waiting, on a connection, decided."""
        mail = self.parts.mail("x@example.org")
        found = []
        for name, value in (
            ("blocked_by", "nextattempt"),
            ("lane", self.org.lane(LaneKey())),
            ("link", SimpleNamespace(ready=None, host=ROUTE.hosts[0], lane=self.org.lane(LaneKey()))),
            ("link", SimpleNamespace(ready=NOW, host=ROUTE.hosts[0], lane=self.org.lane(LaneKey()))),
            ("verdict", SimpleNamespace()),
        ):
            found.append(self.ask(Explain("abc-0"))[0].where)
            setattr(mail, name, value)
        self.assertEqual(
            [*found, self.ask(Explain("abc-0"))[0].where],
            [
                "its hosts are being looked up",
                "waits until it may be tried",
                "waits for its turn",
                "a connection to 198.51.100.1 is being set up for it",
                "on a connection to 198.51.100.1",
                "decided (simplenamespace), its result is being published",
            ],
        )

    def test_recipient(self) -> None:
        """All jobs for a recipient, some of many, and their site once."""
        for _ in range(25):
            self.parts.mail("x@example.org", self.org)
        *jobs, note, site = self.ask(Explain("x@example.org"))
        self.assertEqual((len(jobs), note), (20, Note("and 5 more jobs for it")))
        self.assertIsInstance(site, SiteSeen)

    def test_no_recipient(self) -> None:
        """A recipient for whom there is no job: the domain's site."""
        note, site = self.ask(Explain("y@example.org"))
        self.assertEqual((note.text, site.name), ("no job for y@example.org is in hand", "b.example"))

    def test_address(self) -> None:
        """A remote address: whether it is offline, and its sites."""
        self.parts.offline["198.51.100.1"] = NOW + 60
        note, site = self.ask(Explain("198.51.100.1"))
        self.assertIn("offline until 2027-01-15 08:01:00, a host of 1 site with", note.text)
        self.assertEqual(site.name, "b.example")
        (note,) = self.ask(Explain("[2001:db8::1]"))
        self.assertIn("2001:db8::1: not offline, a host of 0 sites", note.text)

    def test_host(self) -> None:
        """The name of a remote host: its sites."""
        note, line = self.ask(Explain("mx.example"))
        self.assertEqual((note.text, line.name), ("mx.example is a host of:", "b.example"))

    def test_sites(self) -> None:
        """All sites under their total, sorted as asked, no more than asked."""
        self.parts.mail("x@example.org", self.org)
        total, *rows = self.ask(Sites())
        self.assertEqual((total.sites, total.waiting, total.connections, total.in_hand), (2, 1, 10, 1))
        self.assertEqual([row.name for row in rows], ["b.example", "example.com"])
        self.com.speed.sent_one(NOW)
        names = {sort: [row.name for row in self.ask(Sites(sort))[1:]] for sort in ("name", "speed")}
        self.assertEqual(names, {"name": ["b.example", "example.com"], "speed": ["example.com", "b.example"]})
        self.assertEqual(len(self.ask(Sites(most=1))), 2)
        self.assertIn("not by colour", self.refused(Sites("colour")))

    def test_pause(self) -> None:
        """A pause begins, is listed, and ends by its id."""
        (seen,) = self.ask(Pause(domain="Example.org", tag="news", until=NOW + 60, why="bounces"))
        wanted = PauseSeen("1", NOW, NOW + 60, "bounces", domain="example.org", tag="news")
        self.assertEqual(seen, wanted)
        self.assertEqual(self.ask(AllPauses()), [wanted])
        self.assertEqual(self.ask(Resume(id="1")), [wanted])
        self.assertEqual(self.ask(AllPauses()), [])
        self.assertEqual(self.ask(Resume(id="1")), [])

    def test_resume(self) -> None:
        """Pauses end by what they are of, exactly, or all at once."""
        self.ask(Pause(all=True))
        self.ask(Pause(ip="192.0.2.7"))
        self.ask(Pause(ip="192.0.2.7", tag="a"))
        self.parts.pauses_of_all.add(NOW, NOW + 60, "421", by="reply", site=("mx.example",))
        self.assertEqual([one.id for one in self.ask(Resume(ip="192.0.2.7"))], ["2"])
        self.assertEqual([one.site for one in self.ask(AllPauses())], [None, None, "mx.example"])
        self.assertEqual(len(self.ask(Resume(all=True))), 3)

    def test_wrong_pause(self) -> None:
        """A pause of nothing, of all and something, or that is over is none."""
        for question in (
            Pause(),
            Pause(all=True, ip="192.0.2.7"),
            Pause(all=True, until=NOW),
            Resume(),
            Resume(id="1", all=True),
        ):
            self.refused(question)
        self.assertEqual(len(self.parts.pauses_of_all), 0)

    def test_stats(self) -> None:
        """Counts."""
        (found,) = self.ask(Stats())
        self.assertEqual((found["kind"], found["sites"], found["events"]), ("stats", 2, {"delivered": 7}))

    def test_prompt(self) -> None:
        """At the prompt the answer is shown as text."""
        shown = repr(self.parts.answers().explain("example.org"))
        self.assertEqual(shown.splitlines()[0], "b.example, with the same hosts: example.org")

    @settings(max_examples=200, deadline=None)
    @given(st.text(min_size=1, max_size=50))
    def test_any_name(self, what: str) -> None:
        """Whatever is asked for, there is an answer or a reason."""
        with contextlib.suppress(Refused):
            self.assertTrue(self.parts.answers().explain(what))


class Whole(SynchronousTestCase):
    """A whole engine in memory is asked."""

    def setUp(self) -> None:
        """A host, to which one message a second may go."""
        config = {
            "delivery": {"hold": "5s"},
            "smtp": {"port": 2525},
            "dns": {"hosts": {"b.example": "127.1.1.1"}},
            "limits": [{"domain": "b.example", "messages-per-minute": 60}],
        }
        self.net = Net()
        self.net.add("127.1.1.1", Mx(self.net))
        engine = self.engine = MemoryEngine(parse(json.dumps(config), "a.yaml", {}), {}, self.mktemp(), self.net)
        self.answers = Answers(
            lambda: engine.settings,
            scheduler=engine.scheduler,
            deliveries=engine.deliveries,
            resolver=engine.resolver,
            broker=engine.broker,
            events=engine.events,
        )
        for number in range(100):
            engine.publish(json.dumps({"recipient": f"{number}@b.example", "mime": "x"}).encode())

    def ask(self, question: questions.Asked) -> Any:
        """The last line of the answer."""
        return list(self.answers.answer(question))[-1]

    def test_pace(self) -> None:
        """At any time the sum is right, and when the next and the last go is what comes true."""
        self.net.run(3.5)
        for sent in (4, 5, 6):
            found = self.ask(Explain("b.example"))
            self.assertEqual((found.binds, found.waiting + found.parked + sent), ("messages-per-minute", 100))
            now = self.net.seconds()
            self.assertTrue(0 < (found.next or 0.0) - now <= 1.0)
            self.assertAlmostEqual((found.gone or 0.0) - now, 100 - sent, delta=1.0)
            self.net.run(1.0)

    def test_pause(self) -> None:
        """A pause holds from the moment on, and so does its end."""
        self.net.run(3.5)
        (seen,) = self.answers.answer(Pause(domain="b.example", why="bounces"))
        delivered = self.engine.events.counts["delivered"]
        self.net.run(30)
        self.assertEqual(self.engine.events.counts["delivered"], delivered)
        self.assertIn(("pause", "bounces"), [(one.name, one.why) for one in self.ask(Explain("b.example")).limits])
        self.assertEqual(list(self.answers.answer(Resume(id=seen.id))), [seen])
        self.net.run(60)
        self.assertGreater(self.engine.events.counts["delivered"], delivered + 10)

    def test_sites(self) -> None:
        """The table and the counts fit to each other."""
        self.net.run(2.5)
        total, line = self.answers.answer(Sites())
        self.assertEqual((total.sites, total.waiting), (1, line.waiting))
        self.assertEqual(line.name, "b.example")
        self.assertEqual(self.ask(Stats())["events"]["delivered"], 3)


class Engine:
    """A socket that answers each question with the same lines."""

    def __init__(self, path: str, lines: list[Any]) -> None:
        self.questions: list[Any] = []
        self._lines = b"".join(msgspec.json.encode(line) + b"\n" for line in [*lines, {"end": len(lines)}])
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(path)
        self._socket.listen()
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                with client:
                    self.questions.append(questions.read(client.recv(65536).rstrip(b"\n")))
                    client.sendall(self._lines)

    def close(self) -> None:
        """No more."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)


SITE = SiteSeen("example.org", True, ["example.org"], 1, 2, 0, 1, 0, 0, 0.5, "max-connections", None, None, [], [])
ROW = Row("example.org", 1, 2, 0, 1, 0, 0, 0.5, "max-connections", None)
TOTAL = Total(NOW, True, 3, 2, 2, 1, 1000)
PAUSE = PauseSeen("4", NOW, NOW + 1e9, "bounces", domain="example.org")


class Commands(SynchronousTestCase):
    """From the command line to what is printed."""

    def setUp(self) -> None:
        """A folder for the socket."""
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.path = str(self.folder / "control")
        self.settings: Any = parse(f"control: {self.path}", "a.yaml", {})

    def engine(self, *lines: Any) -> Engine:
        """One that answers so."""
        engine = Engine(self.path, list(lines))
        self.addCleanup(engine.close)
        return engine

    def run_it(self, command: Any, *arguments: str) -> list[str]:
        """The lines on standard output."""
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            self.assertEqual(command.run(parser.parse_args(arguments), self.settings), 0)
        return out.getvalue().splitlines()

    def failed(self, command: Any, *arguments: str) -> str:
        """Why it fails."""
        with self.assertRaises(Failed) as caught:
            self.run_it(command, *arguments)
        return str(caught.exception)

    def test_explain(self) -> None:
        """Text for people, JSON for programs."""
        engine = self.engine(SITE)
        self.assertEqual(self.run_it(explain, "example.org")[:2], ["example.org", "  waiting      2 in memory"])
        (line,) = self.run_it(explain, "example.org", "--json")
        self.assertEqual(msgspec.json.decode(line, type=SiteSeen), SITE)
        self.assertEqual(engine.questions, [Explain("example.org")] * 2)

    def test_quick(self) -> None:
        """Twisted is not loaded."""
        config = self.folder / "a.yaml"
        config.write_text(f"control: {self.path}\n")
        code = (
            "import sys; from mailerq.cli import main; "
            f"print(main(['sites', '-c', '{config}']), main(['pauses', '-c', '{config}'])); "
            "print('twisted' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, timeout=60)
        self.assertEqual(done.stdout, b"1 1\nFalse\n", done.stderr)

    def test_explain_alone(self) -> None:
        """Without an engine: what the configuration says of a domain, with a note; of a job nobody knows."""
        self.settings = parse(
            f"control: {self.path}\nlimits: [{{domain: example.org, messages-per-minute: 60}}]", "a.yaml", {}
        )
        for what in ("Example.org", "x@example.org"):
            errors = io.StringIO()
            with contextlib.redirect_stderr(errors):
                lines = self.run_it(explain, what)
            self.assertIn(f"no engine runs: nobody answers at {self.path}", errors.getvalue())
            self.assertEqual(lines[0], "example.org: no mail for it is in hand. What would hold:")
            self.assertEqual(lines[3].split(), ["messages-per-minute", "60/min", "a.yaml:2"])
        for what in ("63a8e437e1c4-1", "198.51.100.1", "2001:db8::1"):
            with self.assertRaises(NotRunning):
                self.run_it(explain, what)

    def test_sites(self) -> None:
        """Where that is no terminal the table is printed once."""
        engine = self.engine(TOTAL, ROW)
        lines = self.run_it(sites)
        self.assertEqual(lines[0], "2 sites, 2 mails in memory, 1 of 1000 connections, 3 jobs in hand")
        self.assertEqual(lines[3].split(), ["example.org", "2", "-", "1", "-", "-", "0.5", "max-connections"])
        self.assertEqual(lines[4], "and 1 more")
        self.assertEqual(len(self.run_it(sites, "--json")), 2)
        self.run_it(sites, "--sort", "speed", "-n", "7")
        self.assertEqual(engine.questions[2], Sites("speed", 7))

    def test_live(self) -> None:
        """On a terminal the table is drawn each second, no more lines than fit, until ^C; the engine may come back."""
        engine = self.engine(TOTAL, *[ROW] * 2)
        screen = mock.Mock(wraps=io.StringIO(), isatty=lambda: True)
        turns: Iterator[Any] = iter([lambda: None, lambda: os.unlink(self.path), self.interrupt])
        with (
            mock.patch("sys.stdout", screen),
            mock.patch("time.sleep", lambda _: next(turns)()),
            mock.patch("shutil.get_terminal_size", lambda: os.terminal_size((50, 10))),
        ):
            given = argparse.Namespace(watch=False, once=False, sort="name", n=None, json=False)
            self.assertEqual(sites.run(given, self.settings), 0)
        drawn = [call.args[0] for call in screen.write.call_args_list]
        self.assertEqual(len(drawn), 3)
        self.assertEqual(engine.questions[0], Sites("name", 6))
        self.assertTrue(all(len(line) <= 60 for line in drawn[0].splitlines()), drawn[0])
        self.assertIn("nobody answers", drawn[2])

    def interrupt(self) -> None:
        """^C."""
        raise KeyboardInterrupt

    def test_no_sites(self) -> None:
        """Without any site there is no table; a broker that is away is told."""
        self.engine(msgspec.structs.replace(TOTAL, sites=0, broker=False))
        self.assertEqual(self.run_it(sites)[1:], ["the broker cannot be reached"])
        self.assertIn("above 0", self.failed(sites, "-n", "0"))

    def test_pause(self) -> None:
        """A pause is made of what is given, for a time, with a reason."""
        engine = self.engine(PAUSE)
        with mock.patch("time.time", lambda: NOW):
            lines = self.run_it(
                pause, "--domain", "example.org", "--tag", "news", "--for", "10m", "--why", "too many bounces"
            )
        self.assertEqual(
            engine.questions, [Pause(domain="example.org", tag="news", until=NOW + 600, why="too many bounces")]
        )
        self.assertRegex(lines[0], r"^paused: domain example.org, until 2058-.*\(bounces\), id 4$")

    def test_pause_of_nothing(self) -> None:
        """Something has to be given, and not all and something; a time has to be one."""
        self.assertIn("say what", self.failed(pause))
        self.assertIn("do not go together", self.failed(pause, "--all", "--ip", "192.0.2.7"))
        with contextlib.redirect_stderr(io.StringIO()), self.assertRaises(SystemExit):
            self.run_it(pause, "--all", "--for", "10")

    def test_resume(self) -> None:
        """By id, by what is paused, or all; where there is no such pause, that is an error."""
        engine = self.engine(PAUSE)
        for arguments in (["4"], ["--domain", "example.org"], ["--all"]):
            self.assertRegex(self.run_it(resume, *arguments)[0], "^resumed: domain example.org")
        self.assertEqual(engine.questions, [Resume(id="4"), Resume(domain="example.org"), Resume(all=True)])
        self.assertIn("say what: an id, --domain", self.failed(resume))
        self.assertIn("do not go together", self.failed(resume, "4", "--all"))

    def test_no_such_pause(self) -> None:
        """Where nothing ends, that is an error."""
        self.engine()
        self.assertIn("no such pause", self.failed(resume, "4"))

    def test_pauses(self) -> None:
        """All pauses, as a table and as JSON."""
        self.engine(PAUSE)
        self.assertEqual(self.run_it(pauses)[1].split()[:3], ["4", "domain", "example.org"])
        self.assertEqual(json.loads(self.run_it(pauses, "--json")[0])["id"], "4")

    def test_no_pauses(self) -> None:
        """None at all."""
        self.engine()
        self.assertEqual(self.run_it(pauses), ["nothing is paused"])

    def test_not_running(self) -> None:
        """Without an engine they say so, with the path of its socket."""
        for command, *arguments in ((sites,), (pauses,), (pause, "--all"), (resume, "--all")):
            self.assertIn(f"nobody answers at {self.path}", self.failed(command, *arguments))
