"""The control socket: its talk in memory, and its client over a real socket."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from typing import Any

import msgspec
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor, threads
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailerq.admin import control, questions
from mailerq.admin.control import Answering, control_service
from mailerq.admin.questions import Explain, Pause, Pauses, Refused, Resume, Sites, Stats
from mailerq.commands import Failed
from mailerq.commands.engine_access import NotRunning, ask


class Known:
    """Answers what it is asked: as many lines as ``most`` says, with the question in the first."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.made = 0

    def answer(self, question: questions.Asked) -> Iterator[Any]:
        """Lines."""
        self.asked.append(question)
        if isinstance(question, Explain):
            raise Refused(f"nobody knows {question.what}")
        if isinstance(question, Stats):
            raise ZeroDivisionError
        if isinstance(question, Pauses):
            yield from (None, {"number": 1}, None, None, {"number": 2}, None)
            return
        for number in range(question.most if isinstance(question, Sites) else 1):
            self.made = number + 1
            yield {"number": number}


class Line(StringTransport):
    """A client that takes what it is given, until it does not."""

    def __init__(self) -> None:
        super().__init__()
        self.hangs = False
        self.cut = False

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """As a socket does."""
        super().registerProducer(producer, streaming)
        self.flow()

    def flow(self) -> None:
        """The client takes what is there."""
        while self.producer is not None and not self.hangs:
            self.producer.resumeProducing()

    def abortConnection(self) -> None:
        """Gone."""
        self.cut = True


class Talks(SynchronousTestCase):
    """In memory."""

    def setUp(self) -> None:
        """Nobody has asked yet."""
        self.clock = Clock()
        self.answers = Known()
        self.talks: set[Answering] = set()

    def open(self) -> tuple[Answering, Line]:
        """A connection."""
        talk, line = Answering(self.clock, self.answers, self.talks), Line()
        talk.makeConnection(line)
        return talk, line

    def ask(self, *pieces: bytes) -> list[Any]:
        """What comes back for ``pieces``; the connection is closed then."""
        talk, line = self.open()
        for piece in pieces:
            talk.dataReceived(piece)
        self.assertTrue(line.disconnecting)
        talk.connectionLost()
        self.assertEqual(self.talks, set())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        return [msgspec.json.decode(one) for one in line.value().splitlines() if one]

    def test_lines(self) -> None:
        """An answer is lines of JSON, with their number at the end; then the connection closes."""
        found = self.ask(b'{"ask": "sites", "most": 2}\n')
        self.assertEqual(found, [{"number": 0}, {"number": 1}, {"end": 2}])

    def test_many(self) -> None:
        """So is a long one, whether or not its pieces are full."""
        for count in (control.PIECE - 1, control.PIECE, 1000):
            found = self.ask(questions.write(Sites(most=count)))
            self.assertEqual(found, [*({"number": n} for n in range(count)), {"end": count}])

    def test_not_yet(self) -> None:
        """Where an answer takes time, others have their turn in between; meanwhile empty lines are sent."""
        talk, line = self.open()
        line.hangs = True
        talk.dataReceived(questions.write(Pauses()))
        pieces = []
        while line.producer is not None:
            line.clear()
            talk.resumeProducing()
            pieces.append(line.value())
        self.assertEqual(pieces, [b"\n", b'{"number":1}\n', b"\n", b'{"number":2}\n', b'{"end":2}\n'])
        talk.connectionLost()

    def test_pieces(self) -> None:
        """A question may come byte by byte; what follows it means nothing."""
        line = questions.write(Pause(domain="example.org", why="é")) + b'{"ask": "stats"}\n'
        self.ask(*(line[n : n + 1] for n in range(len(line))))
        self.assertEqual(self.answers.asked, [Pause(domain="example.org", why="é")])

    def test_refused(self) -> None:
        """What cannot be answered is told why."""
        self.assertEqual(self.ask(b'{"ask": "explain", "what": "x"}\n'), [{"error": "nobody knows x"}])

    def test_bug(self) -> None:
        """An error of ours is logged and told."""
        (found,) = self.ask(b'{"ask": "stats"}\n')
        self.assertIn("error in the engine", found["error"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_wrong(self) -> None:
        """A question that is none is told what is wrong with it."""
        for line, why in (
            (b"explain\n", "no JSON object"),
            (b"\n", "no JSON object"),
            (b"[" * 5000 + b"\n", "object"),
            (b"\xff\n", "no JSON object"),
            (b'{"ask": "sites"\n', "no JSON object"),
            (b"[]\n", "`object`"),
            (b"{}\n", "`ask`"),
            (b'{"ask": "nothing"}\n', "nothing"),
            (b'{"ask": "explain"}\n', "`what`"),
            (b'{"ask": "explain", "what": ""}\n', "length >= 1"),
            (b'{"ask": "explain", "what": 7}\n', "`$.what`"),
            (b'{"ask": "sites", "more": 7}\n', "`more`"),
            (b'{"ask": "sites", "most": 1000000000}\n', "<= 1000000"),
        ):
            (found,) = self.ask(line)
            self.assertIn(why, found["error"], line[:80])
        self.assertEqual(self.answers.asked, [])

    def test_too_long(self) -> None:
        """A question without an end is not collected."""
        (found,) = self.ask(b"x" * 60000, b"x" * 60000)
        self.assertIn("too long", found["error"])

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=200))
    def test_any_bytes(self, come: bytes) -> None:
        """Whatever comes, one line goes back that says what is wrong, or the answer."""
        self.clock = Clock()
        found = self.ask(come + b"\n")
        self.assertTrue({"end", "error"} & set(found[-1]))

    def test_silent(self) -> None:
        """Who asks nothing, or a piece of it, is cut off after a while."""
        talk, line = self.open()
        self.clock.advance(control.PATIENCE / 2)
        talk.dataReceived(b'{"ask"')
        self.clock.advance(control.PATIENCE / 2)
        self.assertTrue(line.cut)

    def test_hangs(self) -> None:
        """Who does not take its answer keeps a piece of it in memory, no more, and is cut off after a while."""
        talk, line = self.open()
        line.hangs = True
        talk.dataReceived(questions.write(Sites(most=100000)))
        talk.resumeProducing()
        self.assertEqual(self.answers.made, control.PIECE)
        self.clock.advance(control.PATIENCE)
        self.assertTrue(line.cut)

    def test_slow(self) -> None:
        """Who takes it slowly gets all of it."""
        talk, line = self.open()
        line.hangs = True
        talk.dataReceived(questions.write(Sites(most=1000)))
        while line.producer is not None:
            self.clock.advance(control.PATIENCE * 0.9)
            talk.resumeProducing()
        self.assertFalse(line.cut)
        self.assertEqual(len(line.value().splitlines()), 1001)

    def test_at_once(self) -> None:
        """Several ask at the same time; one more than that is told to come again."""
        opened = [self.open() for _ in range(control.MOST_OPEN)]
        talk, line = self.open()
        self.assertIn(b"try again", line.value())
        self.assertTrue(line.disconnecting)
        talk.dataReceived(b"{}\n")
        talk.connectionLost()
        for talk, line in reversed(opened):
            talk.dataReceived(questions.write(Sites(most=1)))
            self.assertEqual(line.value(), b'{"number":0}\n{"end":1}\n')

    def test_left(self) -> None:
        """Who leaves in the middle costs nothing more."""
        talk, line = self.open()
        line.hangs = True
        talk.dataReceived(questions.write(Sites(most=1000)))
        talk.stopProducing()
        talk.connectionLost()
        self.assertEqual((self.answers.made, self.clock.getDelayedCalls()), (0, []))


@frozen
class Settings:
    """What a client needs to know."""

    control: str | None


class Sockets(TestCase):
    """A real socket, asked from a thread as a command would."""

    timeout = 60

    def setUp(self) -> None:
        """A folder."""
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        self.path = os.path.join(self.folder, "made", "control")

    def serve(self) -> Any:
        """The service, until the end."""
        service: Any = control_service(reactor, self.path, Known())
        service.startService()
        self.addCleanup(lambda: service.stopService() if service.running else None)
        return service

    def ask(self, question: questions.Question) -> Any:
        """The answer, later."""
        return threads.deferToThread(ask, Settings(self.path), question)

    async def test_asked(self) -> None:
        """The client gets all lines, several at once, and the socket is for its owner alone."""
        self.serve()
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(os.stat(os.path.dirname(self.path)).st_mode), 0o700)
        asked = [self.ask(Sites(most=10000)) for _ in range(5)]
        for one in asked:
            self.assertEqual(await one, [{"number": n} for n in range(10000)])

    async def test_half_closed(self) -> None:
        """Who says that there is no more to ask, with or without a line end, gets the answer all the same."""
        self.serve()
        for line in (questions.write(Sites(most=5000)), questions.write(Sites(most=5000)).rstrip()):
            answer = await threads.deferToThread(self.exchange, line)
            self.assertEqual(answer.splitlines()[-1], b'{"end":5000}')

    def exchange(self, line: bytes) -> bytes:
        """What comes back until the end."""
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(self.path)
            client.sendall(line)
            client.shutdown(socket.SHUT_WR)
            with client.makefile("rb") as answer:
                return answer.read()

    async def test_not_yet(self) -> None:
        """What takes time in between is waited for."""
        self.serve()
        self.assertEqual(await self.ask(Pauses()), [{"number": 1}, {"number": 2}])

    async def test_refused(self) -> None:
        """What the engine says is raised."""
        self.serve()
        with self.assertRaisesRegex(Failed, "the engine says: nobody knows x"):
            await self.ask(Explain("x"))

    async def test_nobody(self) -> None:
        """Where no engine runs the client says so, with the path; also where a killed one left its socket."""
        with self.assertRaisesRegex(NotRunning, f"nobody answers at {self.path}"):
            await self.ask(Resume(all=True))
        os.mkdir(os.path.dirname(self.path))
        with socket.socket(socket.AF_UNIX) as killed:
            killed.bind(self.path)
        with self.assertRaisesRegex(NotRunning, f"nobody answers at {self.path}"):
            await self.ask(Resume(all=True))
        self.serve()
        self.assertEqual(await self.ask(Sites(most=1)), [{"number": 0}])

    def test_no_socket(self) -> None:
        """So it does where the configuration has none, or the path is no socket's."""
        with self.assertRaisesRegex(NotRunning, "control: null"):
            ask(Settings(None), Stats())
        with self.assertRaisesRegex(Failed, "too long"):
            ask(Settings("x" * 200), Stats())

    async def test_stop(self) -> None:
        """When the service stops, the socket is gone."""
        service = self.serve()
        await service.stopService()
        self.assertFalse(os.path.exists(self.path))
        with self.assertRaises(NotRunning):
            await self.ask(Stats())

    async def test_not_ours(self) -> None:
        """Where it cannot listen it says so in the log, and stops as well."""
        os.mkdir(os.path.dirname(self.path))
        with open(self.path, "w", encoding="ascii"):
            pass
        service = self.serve()
        service.stopService()
        self.assertTrue(os.path.exists(self.path))

    async def test_no_answer(self) -> None:
        """What answers, but is no engine, is told apart."""
        os.mkdir(os.path.dirname(self.path))
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(self.path)
            other.listen()
            for said, why in ((b"", "in the middle"), (b'{"a":1}\n', "in the middle"), (b"220 hello\n", "no answer")):
                asked = self.ask(Stats())
                come = await threads.deferToThread(other.accept)
                await threads.deferToThread(come[0].recv, 1000)
                come[0].sendall(said)
                come[0].close()
                with self.assertRaisesRegex(Failed, why):
                    await asked
