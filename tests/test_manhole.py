"""The prompt inside the running process."""

import os
import pty
import random
import re
import shutil
import socket
import stat
import sys
import tempfile
import termios
from typing import Any

from twisted.internet import defer, reactor
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.testing import MemoryReactor, StringTransport
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailerq.admin.manhole import manhole_service
from mailerq.admin.prompt import END, PLAIN, Door
from mailerq.admin.unix_socket import remove_stale

NAMES = {"engine": "the engine", "mails": {"one", "two", "three"}, "numbers": [1, 2]}


def without_escapes(shown: bytes) -> str:
    """What a person would read."""
    return re.sub(rb"\x1b(\[[0-9;]*[A-Za-z]|c)", b"", shown).decode()


class Typing(SynchronousTestCase):
    """A terminal in memory."""

    def open(self, names: dict[str, Any] = NAMES) -> tuple[Door, StringTransport]:
        """A prompt, and what it writes to."""
        door, transport = Door(names, set()), StringTransport()
        door.makeConnection(transport)
        return door, transport

    def typed(self, keys: bytes, names: dict[str, Any] = NAMES) -> str:
        """What is shown after the greeting when ``keys`` are typed."""
        door, transport = self.open(names)
        transport.clear()
        door.dataReceived(keys)
        return without_escapes(transport.value())

    def test_greeting(self) -> None:
        """One line lists the names, then there is a prompt, and the screen is not wiped."""
        transport = self.open()[1]
        lines = without_escapes(transport.value()).split("\r\n")
        self.assertRegex(lines[0], r"^mailerq \S+, process \d+: engine mails numbers$")
        self.assertEqual(lines[1], ">>> ")
        self.assertNotIn(b"\x1bc", transport.value())

    def test_value(self) -> None:
        """A name is the live object, and its value is shown."""
        self.assertIn("\r\n3\r\n>>> ", self.typed(b"len(mails)\r"))

    def test_change(self) -> None:
        """What is done to an object is done to the live one."""
        names = {"numbers": [1]}
        self.typed(b"numbers.append(7)\r", names)
        self.assertEqual(names["numbers"], [1, 7])

    def test_new_names_stay_inside(self) -> None:
        """What is assigned is gone with the prompt."""
        names = {"a": 1}
        self.typed(b"a = b = 2\r", names)
        self.assertEqual(names, {"a": 1})

    def test_block(self) -> None:
        """A block goes on over lines."""
        self.assertIn("\r\n1\r\n2\r\n>>> ", self.typed(b"for n in numbers:\r    print(n)\r\r"))

    def test_errors(self) -> None:
        """Whatever a line raises is shown, and the prompt goes on."""
        for line in (
            b"1/0",
            b"raise KeyboardInterrupt",
            b"raise BaseException('x')",
            b"no such syntax",
            b"print('\\ud800')",
            b"type('Odd', (), {'__repr__': lambda self: 1/0})()",
            b"0777 1",
            b"raise GeneratorExit",
        ):
            shown = self.typed(line + b"\r1+1\r")
            self.assertTrue(shown.endswith("\r\n2\r\n>>> "), shown)

    def test_exit(self) -> None:
        """exit(), quit() and SystemExit end the prompt, not the process."""
        for line in (b"exit()", b"quit(3)", b"raise SystemExit", b"import sys; sys.exit(1)"):
            door, transport = self.open()
            door.dataReceived(line + b"\r")
            self.assertTrue(transport.disconnecting, line)

    def test_end_key(self) -> None:
        """Ctrl-D leaves, and switches the terminal's insert mode off."""
        door, transport = self.open()
        door.dataReceived(END)
        self.assertTrue(transport.disconnecting)
        self.assertIn(b"\x1b[4l", transport.value())

    def test_interrupt_key(self) -> None:
        """Ctrl-C drops the line."""
        self.assertTrue(self.typed(b"nonsense\x031+1\r").endswith("\r\n2\r\n>>> "))

    def test_standard_output_is_put_back(self) -> None:
        """Only while a line runs its prints are the prompt's."""
        before = sys.stdout, sys.displayhook, sys.excepthook
        self.typed(b"1/0\rexit()\r")
        self.assertEqual((sys.stdout, sys.displayhook, sys.excepthook), before)

    def test_deferred_is_left_as_it_was(self) -> None:
        """A Deferred that was shown has the same result for others, shown or not."""
        odd = type("Odd", (), {"__repr__": lambda self: 1 / 0})()
        for result in ("done", odd):
            waiting: defer.Deferred[object] = defer.Deferred()
            self.assertIn("<Deferred #0>", self.typed(b"waiting\r", {"waiting": waiting}))
            waiting.callback(result)
            self.assertIs(self.successResultOf(waiting), result)

    def test_any_keys(self) -> None:
        """No keys, in whatever pieces, raise or leave a line in the log; only those that end a prompt end it."""
        dice = random.Random(5)
        parts = [b"\x1b", b"[", b"O", b"A", b"D", b"P", b"1~", b"\t", b"\x7f", b"\x03", b"\x0c", b"\x01", b"\x05"]
        parts += [
            b'"',
            b"'''",
            b"(",
            b"\\",
            b"\r",
            b"\r",
            b"if 1:",
            b"  x",
            b"\xff",
            "ü".encode(),
            b"0x",
            b"\x00",
            b"3",
        ]
        for _ in range(300):
            door, transport = self.open()
            keys = b"".join(dice.choices(parts, k=40))
            while keys:
                cut = dice.randrange(1, 9)
                door.dataReceived(keys[:cut])
                keys = keys[cut:]
            self.assertFalse(transport.disconnecting)

    def test_doors(self) -> None:
        """Open prompts are known."""
        doors: set[Door] = set()
        door = Door(NAMES, doors)
        door.makeConnection(StringTransport())
        self.assertEqual(doors, {door})
        door.connectionLost(None)
        self.assertEqual(doors, set())


class Lines(SynchronousTestCase):
    """A program, in memory."""

    def said(self, lines: bytes, piece: int = 1 << 20) -> str:
        """What comes back after the mark."""
        door, transport = Door(NAMES, set()), StringTransport()
        door.makeConnection(transport)
        sent = PLAIN + lines
        for start in range(0, len(sent), piece):
            door.dataReceived(sent[start : start + piece])
        self.disconnecting = transport.disconnecting
        return transport.value().partition(PLAIN)[2].replace(b"\r", b"").decode()

    def test_output_only(self) -> None:
        """Only what the lines print comes back: no echo, no prompt, no colour."""
        self.assertEqual(self.said(b"len(mails)\nx = 2\nprint('a')\nx\n"), "3\na\n2\n")

    def test_pieces(self) -> None:
        """It does not matter how the lines are cut."""
        lines = "for n in numbers:\n  print(n, 'ü')\n\n1/0\r\nengine".encode() + END
        whole = self.said(lines)
        self.assertIn("1 ü\n2 ü\n", whole)
        self.assertTrue(whole.endswith("ZeroDivisionError: division by zero\n'the engine'\n"), whole)
        for piece in range(1, len(lines)):
            self.assertEqual(self.said(lines, piece), whole)

    def test_end(self) -> None:
        """The end finishes an open block and closes."""
        self.assertEqual(self.said(b"if 1:\n  print(5)\n" + END), "5\n")
        self.assertTrue(self.disconnecting)

    def test_exit(self) -> None:
        """Nothing is run after exit()."""
        self.assertEqual(self.said(b"exit()\nprint(5)\n" + END), "")
        self.assertTrue(self.disconnecting)

    def test_endless_line(self) -> None:
        """A line without end is not collected for ever."""
        self.said(b"x" * (2 << 20), 65536)
        self.assertTrue(self.disconnecting)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)


class Logged(TestCase):
    """What is logged meanwhile, as texts."""

    def setUp(self) -> None:
        self.texts: list[str] = []

        def observe(event: dict[str, Any]) -> None:
            if event.get("log_namespace", "").startswith("mailerq"):
                self.texts.append(event["log_format"].format(**event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        self.folder = tempfile.mkdtemp()  # mktemp's is too long for a socket
        self.addCleanup(shutil.rmtree, self.folder)

    def path(self, name: str = "manhole") -> str:
        """Where the socket is."""
        return os.path.join(self.folder, name)


class Refused(Logged):
    """It never stops the process that it cannot listen."""

    def refused(self, path: str, why: str) -> None:
        """The service starts and stops, and says why there is no manhole."""
        service = manhole_service(reactor, path, NAMES)
        service.startService()
        self.assertEqual(service.stopService(), None)
        self.assertEqual(self.texts, [f"no manhole: {path}: {why}"])

    def test_living(self) -> None:
        """A socket on which somebody listens is left alone."""
        with socket.socket(socket.AF_UNIX) as living:
            living.bind(self.path())
            living.listen(0)
            with socket.socket(socket.AF_UNIX) as other:  # the backlog is full
                other.setblocking(False)
                other.connect(self.path())
                self.refused(self.path(), "a living process listens there")
            self.assertTrue(os.path.exists(self.path()))

    def test_file(self) -> None:
        """A file that is no socket is left alone."""
        with open(self.path(), "w", encoding="ascii") as file:
            file.write("precious")
        self.refused(self.path(), "there is a file that is no socket")
        self.assertEqual(os.path.getsize(self.path()), 8)

    def test_folder(self) -> None:
        """A folder that cannot be made is told."""
        with open(self.path("file"), "w", encoding="ascii"):
            pass
        self.refused(self.path("file/manhole"), "File exists")

    def test_long(self) -> None:
        """A path that is too long for a socket is told."""
        self.refused(self.path("x" * 150), "AF_UNIX path too long")

    def test_stale(self) -> None:
        """A socket of a killed process goes; where there is none nothing happens."""
        with socket.socket(socket.AF_UNIX) as killed:
            killed.bind(self.path())
        remove_stale(self.path())
        self.assertFalse(os.path.exists(self.path()))
        remove_stale(self.path())

    def test_listens(self) -> None:
        """It is asked of the reactor that was handed in, for the owner alone."""
        memory = MemoryReactor()
        manhole_service(memory, self.path(), NAMES).startService()
        (asked,) = memory.unixServers
        self.assertEqual((asked[0], asked[3]), (self.path(), 0o600))


class _Client(ProcessProtocol):
    def __init__(self) -> None:
        self.out = b""
        self.err = b""
        self.ended: defer.Deferred[int | None] = defer.Deferred()

    def outReceived(self, data: bytes) -> None:
        self.out += data

    def errReceived(self, data: bytes) -> None:
        self.err += data

    def processEnded(self, reason: Any) -> None:
        self.ended.callback(reason.value.exitCode)


class Socket(Logged):
    """A real Unix socket, and the client as a process."""

    timeout = 60

    def client(self, path: str, child_fds: dict[int, Any] | None = None) -> _Client:
        """``python -m mailerq.admin.manhole PATH``."""
        client = _Client()
        arguments = [sys.executable, "-m", "mailerq.admin.manhole", path]
        home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        environment = {**os.environ, "PYTHONPATH": home}
        reactor.spawnProcess(client, sys.executable, arguments, environment, childFDs=child_fds)
        return client

    def serve(self, path: str) -> None:
        """A manhole that is closed at the end."""
        service = manhole_service(reactor, path, NAMES)
        service.startService()
        self.addCleanup(service.stopService)

    async def test_program(self) -> None:
        """Lines in, what they print out; the socket is for its owner alone, as is a folder that was made for it."""
        path = self.path("made/manhole")
        self.serve(path)
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode), 0o700)
        client = self.client(path)
        client.transport.write(b"for n in numbers:\n    print(n)\n\nlen(mails)\nengine")
        client.transport.closeStdin()
        self.assertEqual(await client.ended, 0)
        self.assertEqual((client.out, client.err), (b"1\n2\n3\n'the engine'\n", b""))

    async def test_terminal(self) -> None:
        """On a terminal: the greeting, a prompt; Ctrl-D leaves, and the terminal is as it was."""
        self.serve(self.path())
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        self.addCleanup(os.close, theirs)
        before = termios.tcgetattr(theirs)
        client = self.client(self.path(), {0: theirs, 1: "r", 2: "r"})
        for _ in range(3000):
            if b">>> " in client.out:
                break
            await _turn(0.01)
        self.assertNotEqual(termios.tcgetattr(theirs), before)
        os.write(ours, b"len(mails)\r\x04")
        self.assertEqual(await client.ended, 0)
        self.assertIn("process", without_escapes(client.out))
        self.assertIn("\r\n3\r\n>>> ", without_escapes(client.out))
        self.assertEqual(termios.tcgetattr(theirs), before)

    async def test_nobody_there(self) -> None:
        """Where nobody listens the client says so."""
        client = self.client(self.path())
        client.transport.closeStdin()
        self.assertEqual(await client.ended, 1)
        self.assertIn(b"manhole: No such file or directory\n", client.err)

    async def test_stop(self) -> None:
        """When the service stops, prompts are closed and the socket is gone."""
        service = manhole_service(reactor, self.path(), NAMES)
        service.startService()
        client = self.client(self.path())
        client.transport.write(b"print('here')\n")
        for _ in range(3000):
            if client.out:
                break
            await _turn(0.01)
        await service.stopService()
        self.assertEqual(await client.ended, 0)
        self.assertFalse(os.path.exists(self.path()))


def _turn(seconds: float) -> "defer.Deferred[None]":
    waiting: defer.Deferred[None] = defer.Deferred()
    reactor.callLater(seconds, waiting.callback, None)
    return waiting
