"""What several workers say of themselves, as one answer; and how each of them says it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Raw
from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from mailerq.admin import questions
from mailerq.admin.control import Answering
from mailerq.admin.questions import Explain, Pause, Pauses, Refused, Resume, Rows, Sites, Stats
from mailerq.explain_text import text
from mailerq.explained import JobSeen, Limit, Note, PauseSeen, Remote, Row, SiteSeen, Total, WorkerSeen
from mailerq.workers import merged
from mailerq.workers.changes import Paused, Resumed
from mailerq.workers.messages import Answer, Ask
from mailerq.workers.telling import MOST_OPEN, PIECE, Telling
from tests.family import NOW, Family

KEY = ("mx.example",)
ROW = Row("a.example", 1, 2, 3, 1, 0, 0, 0.5, "max-connections", None, KEY)
SITE = SiteSeen("a.example", True, ["a.example"], 1, 2, 3, 1, 0, 0, 0.5, "x", None, NOW + 9, [], [], KEY)
TOTAL = Total(NOW, True, 7, 1, 2, 1, 1000)
JOB = JobSeen("a-1", "r@a.example", 1, "waits for its turn", NOW, "x", 3, None)


class InOneLine(SynchronousTestCase):
    """Sites in one line each."""

    def test_added(self) -> None:
        """What is counted is added up, one line for a site; who has the most of it says what it waits for."""
        other = Row("b.example", 2, 20, 0, 4, 1, 1, 1.0, "pause", NOW + 3, KEY)
        far = replace(ROW, key=("else",), name="z.example")
        found = merged.rows([ROW, far, other])
        self.assertEqual(found, [Row("a.example", 2, 22, 3, 5, 1, 1, 1.5, "pause", NOW + 3, KEY), far])

    def test_first(self) -> None:
        """They are sorted as it was asked for."""
        few = replace(ROW, name="b.example", waiting=1, parked=0, speed=9.0)
        for sort, expected in (("waiting", [ROW]), ("speed", [few]), ("name", [ROW])):
            self.assertEqual(merged.first([few, ROW], sort, 1), expected)


class Explained(SynchronousTestCase):
    """One answer for why it waits."""

    def test_site(self) -> None:
        """A site that several have: numbers added up, and who has what of them."""
        limits = [Limit("max-connections", 3, used=1, stops=True), Limit("messages-per-minute", 60, last=NOW - 5)]
        hosts = [Remote("192.0.2.1", 25, "mx.example", 0, 1)]
        one = replace(SITE, limits=limits, hosts=hosts)
        other = replace(
            SITE,
            waiting=5,
            domains=["b.example"],
            limits=[replace(limits[0], used=1, stops=False), replace(limits[1], last=NOW - 2)],
            hosts=[replace(hosts[0], connections=2, offline_until=NOW + 60, why="refused")],
        )
        (found,) = merged.explained({0: [one], 1: [other]}, NOW)
        assert isinstance(found, SiteSeen)
        self.assertEqual((found.waiting, found.parked, found.busy, found.domain_count), (7, 6, 2, 2))
        self.assertEqual(found.limits[0], Limit("max-connections", 3, used=2))
        self.assertEqual(found.limits[1].last, NOW - 2)
        self.assertEqual((found.hosts[0].connections, found.hosts[0].why), (3, "for worker 1 alone: refused"))
        self.assertEqual(found.workers, [WorkerSeen(0, 2, 3, 1, 0, 0, "x"), WorkerSeen(1, 5, 3, 1, 0, 0, "x")])
        shown = "\n".join(text([found], NOW))
        self.assertIn("  worker  waiting  parked  busy  idle  starting  waits for", shown)

    def test_full_together(self) -> None:
        """Connections that are all used, some by each, stop all, though none is stopped by its own."""
        each = [replace(SITE, limits=[Limit("max-connections", 2, used=1)])] * 2
        (found,) = merged.explained(dict(enumerate([one] for one in each)), NOW)
        self.assertTrue(found.limits[0].stops)  # type: ignore[union-attr]

    def test_who_knows(self) -> None:
        """Who has no mail for it is not heard, unless nobody has."""
        would = replace(SITE, known=False, waiting=0, key=())
        note = Note("Its hosts are not known now: limits for mx do not show.")
        (found,) = merged.explained({0: [would, note], 1: [SITE]}, NOW)
        self.assertTrue(found.known)  # type: ignore[union-attr]
        routed = replace(would, hosts=[Remote("192.0.2.1", 25, "mx.example")])
        self.assertEqual(merged.explained({0: [would, note], 1: [routed]}, NOW), [routed])

    def test_jobs(self) -> None:
        """Jobs are told with their worker, the oldest first."""
        older = replace(JOB, id="b-1", since=NOW - 5)
        found = merged.explained({0: [JOB, SITE], 1: [older, SITE]}, NOW)
        self.assertEqual([one.id for one in found[:2]], ["b-1", "a-1"])  # type: ignore[union-attr]
        self.assertEqual(found[1].where, "waits for its turn (worker 0)")  # type: ignore[union-attr]

    def test_notes(self) -> None:
        """What all say is said once, else with who says it."""
        found = merged.explained({0: [Note("same"), Note("one"), SITE], 1: [Note("same"), SITE]}, NOW)
        self.assertEqual(found[:2], [Note("same"), Note("worker 0: one")])

    def test_nothing(self) -> None:
        """Nobody, nothing."""
        self.assertEqual(merged.explained({}, NOW), [])


class AsOneTest(SynchronousTestCase):
    """Questions to a family."""

    def setUp(self) -> None:
        self.family = Family(self)
        self.parent, self.clock, self.processes = self.family.parent, self.family.clock, self.family.processes
        self.family.start()

    def tearDown(self) -> None:
        self.family.end()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def ask(self, question: questions.Asked) -> Any:
        """The answer, and the lines that are there; goes on with ``self.go_on``."""
        self.lines: list[Any] = []
        self.error = ""
        self._answer = self.parent.answers.answer(question)
        self.go_on()

    def go_on(self) -> None:
        """Until the answer waits, or ends."""
        self.done = False
        try:
            for line in self._answer:
                if isinstance(line, Deferred):
                    line.addCallback(lambda _: self.go_on())
                    return
                self.lines.append(line)
        except Refused as error:
            self.error = str(error)
        self.done = True

    def asked(self, index: int) -> tuple[int, questions.Asked]:
        """What a worker was asked last."""
        ask = self.processes[index].of(Ask)[-1]
        return ask.number, questions.read(ask.question.encode())

    def answers(self, index: int, *lines: Any, end: bool = True, error: str = "") -> None:
        """A worker answers what it was asked last."""
        number, _ = self.asked(index)
        some = tuple(Raw(msgspec.json.encode(line)) for line in lines)
        self.processes[index].say(Answer(number, some, end, error))

    def test_sites(self) -> None:
        """One line a site, and all together."""
        self.ask(Sites())
        self.answers(0, TOTAL, ROW)
        self.assertFalse(self.done)
        self.answers(1, TOTAL, end=False)
        self.answers(1, replace(ROW, waiting=9))
        self.assertTrue(self.done)
        total, row = self.lines
        self.assertEqual((total.sites, total.waiting, total.in_hand, total.unheard), (1, 4, 14, []))
        self.assertEqual((row.waiting, row.busy), (11, 2))

    def test_sites_of_the_others(self) -> None:
        """Of a site that only one has among its first, the others are asked for their part."""
        self.ask(Sites(most=1))
        far = replace(ROW, key=("far",), name="far.example", waiting=50)
        self.answers(0, replace(TOTAL, sites=2), ROW)
        self.answers(1, TOTAL, far)
        self.assertEqual(self.asked(0)[1], Rows([("far",)]))
        self.answers(0, replace(far, waiting=1))
        self.assertTrue(self.done)
        self.assertEqual([(row.name, row.waiting) for row in self.lines[1:]], [("far.example", 51)])
        self.assertEqual(self.lines[0].sites, 2)

    def test_silent(self) -> None:
        """One from which nothing comes for five seconds is left out, and that is said."""
        self.ask(Sites())
        self.answers(0, TOTAL, ROW)
        self.clock.advance(5)
        self.assertTrue(self.done)
        self.assertEqual(self.lines[0].unheard, ["worker 1 does not answer"])
        self.answers(1, TOTAL, ROW)
        self.assertEqual(len(self.lines), 2)

    def test_slow(self) -> None:
        """One from which something comes is waited for."""
        self.ask(Sites())
        self.answers(0, TOTAL, ROW)
        for _ in range(4):
            self.clock.advance(4)
            self.answers(1, *([TOTAL] if not _ else [replace(ROW, key=(str(_),))]), end=False)
        self.assertFalse(self.done)
        self.answers(1)
        self.assertEqual(len(self.lines), 5)

    def test_dies(self) -> None:
        """One that dies meanwhile, or was dead before, is left out."""
        self.ask(Explain("a.example"))
        self.answers(0, SITE)
        self.processes[1].end(by=9)
        self.assertEqual(self.lines[1:], [Note("worker 1 does not run: what it has does not show here")])
        self.ask(Explain("a.example"))
        self.answers(0, SITE)
        self.assertEqual(len(self.lines), 2)

    def test_nobody(self) -> None:
        """Where none answers, that is the answer."""
        self.ask(Stats())
        self.clock.advance(5)
        self.assertEqual(self.error, "worker 0 does not answer; worker 1 does not answer")

    def test_refused(self) -> None:
        """What all refuse is refused; what one knows is told."""
        self.ask(Explain("63a8e437e1c4-1"))
        self.answers(0, error="no job with the id")
        self.answers(1, error="no job with the id")
        self.assertEqual(self.error, "no job with the id")
        self.ask(Explain("63a8e437e1c4-1"))
        self.answers(0, error="no job with the id")
        self.answers(1, JOB, SITE)
        self.assertEqual(len(self.lines), 2)

    def test_stats(self) -> None:
        """Events are counted together, and for each."""
        self.ask(Stats())
        for index in (0, 1):
            self.answers(index, {**msgspec.to_builtins(TOTAL), "kind": "stats", "events": {"delivered": index + 1}})
        (stats,) = self.lines
        self.assertEqual((stats["events"], stats["in_hand"], len(stats["workers"])), ({"delivered": 3}, 14, 2))

    def test_rows(self) -> None:
        """Rows are asked for as other questions are."""
        self.ask(Rows([KEY]))
        self.answers(0, ROW)
        self.answers(1)
        self.assertEqual(self.lines, [ROW])

    def test_pause(self) -> None:
        """A pause is told to all, noted, and answered once all have it; so is its end."""
        self.ask(Pause(domain="A.example", until=NOW + 60, why="test"))
        for process in self.processes.values():
            self.assertEqual(process.of(Paused)[0].pause.domain, "a.example")
        self.assertEqual(json.loads((self.family.folder / "notes.json").read_text())["pauses"][0]["id"], 1)
        self.answers(0)
        self.assertFalse(self.done)
        self.answers(1)
        self.assertEqual(self.lines, [PauseSeen("1", NOW, NOW + 60, "test", domain="a.example")])
        self.ask(Pauses())
        self.assertEqual([pause.id for pause in self.lines], ["1"])
        self.ask(Resume(id="1"))
        for index, process in self.processes.items():
            self.assertEqual(len(process.of(Resumed)), 1)
            self.answers(index)
        self.assertEqual([pause.id for pause in self.lines], ["1"])
        self.ask(Resume(id="1"))
        self.assertEqual((self.lines, self.done), ([], True))

    def test_pause_of_nothing(self) -> None:
        """What an engine refuses, all refuse."""
        for question in (Pause(), Pause(domain="a", until=NOW - 1), Resume()):
            self.ask(question)
            self.assertTrue(self.error)

    def test_who_hangs(self) -> None:
        """A worker that hangs does not hold up a pause."""
        self.ask(Pause(all=True))
        self.answers(0)
        self.clock.advance(5)
        self.assertEqual(len(self.lines), 1)

    def test_over_the_socket(self) -> None:
        """The control socket waits for the answer, and tells that more is to come."""
        talk = Answering(self.clock, self.parent.answers, set())
        transport = Transport()
        talk.makeConnection(transport)
        talk.dataReceived(b'{"ask": "sites"}\n')
        self.assertEqual(transport.value(), b"")
        self.answers(0, TOTAL, ROW)
        self.assertEqual(transport.value(), b"\n")
        self.answers(1, TOTAL, ROW)
        lines = [json.loads(line) for line in transport.value().split(b"\n") if line]
        self.assertEqual((lines[1]["waiting"], lines[2]), (4, {"end": 2}))
        talk.connectionLost()

    def test_who_asks_leaves(self) -> None:
        """Somebody who does not wait for the answer harms nobody."""
        talk = Answering(self.clock, self.parent.answers, set())
        talk.makeConnection(Transport())
        talk.dataReceived(b'{"ask": "sites"}\n')
        talk.connectionLost()
        self.answers(0, TOTAL, ROW)
        self.clock.advance(5)


class Transport(StringTransport):
    """Asks for the next piece as soon as one is written."""

    producer: Any = None

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """As a real one."""
        self.producer = producer
        producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """As a real one."""
        self.producer = None

    def write(self, data: bytes) -> None:
        """As a real one that is quick."""
        super().write(data)
        if self.producer is not None and data == b"\n":
            self.producer.resumeProducing()


class Knowing:
    """Answers with so many lines."""

    def __init__(self, count: int) -> None:
        self.count = count

    def answer(self, question: Any) -> Iterator[Any]:
        """Numbers; nothing at first."""
        if question == Stats():
            raise ZeroDivisionError
        if question == Pauses():
            raise Refused("no")
        yield None
        yield from range(self.count)


class Tells(SynchronousTestCase):
    """Telling: a worker's answers."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.sent: list[Answer] = []
        self.telling = Telling(self.clock, Knowing(PIECE + 1), self.sent.append)

    def ask(self, number: int, question: Any) -> None:
        """A question."""
        self.telling.ask(Ask(number, questions.write(question).decode()))

    def test_pieces(self) -> None:
        """An answer comes in pieces, one a turn; two are told in turn."""
        self.ask(1, Sites())
        self.ask(2, Sites())
        self.clock.pump([0.0] * 6)
        self.assertEqual([answer.number for answer in self.sent], [1, 2] * 3)
        self.assertEqual([len(answer.lines) for answer in self.sent], [0, 0, PIECE, PIECE, 1, 1])
        self.assertEqual([answer.end for answer in self.sent], [False] * 4 + [True] * 2)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_paused(self) -> None:
        """While the parent takes nothing, nothing is made."""
        self.ask(1, Sites())
        self.telling.paused = True
        self.clock.pump([0.0] * 3)
        self.assertLessEqual(len(self.sent), 1)
        self.telling.resume()
        self.clock.pump([0.0] * 3)
        self.assertTrue(self.sent[-1].end)

    def test_errors(self) -> None:
        """What cannot be answered is an error in words; so is an error of ours, and nonsense."""
        self.ask(1, Pauses())
        self.ask(2, Stats())
        self.telling.ask(Ask(3, "nonsense \ud83d"))
        self.clock.pump([0.0] * 3)
        self.assertEqual([answer.error[:14] for answer in self.sent], ["no", "this is an err", "this is no JSO"])
        self.flushLoggedErrors(ZeroDivisionError)

    def test_too_many(self) -> None:
        """Questions that nobody waits for do not pile up."""
        for number in range(MOST_OPEN + 1):
            self.ask(number, Sites())
        self.assertEqual([answer.error for answer in self.sent], ["too many ask at once: try again"])
