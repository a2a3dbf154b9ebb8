"""What parent and workers say to each other, line by line; how long one waits; what a worker's log looks like."""

from __future__ import annotations

import contextlib
import json
import os

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import Logger, LogLevel
from twisted.trial.unittest import SynchronousTestCase

from mailerq.pauses import Pause, Scope
from mailerq.slowdown import SlowDown
from mailerq.workers.changes import Crowded, Paused, Resumed, Slowed, Warmed
from mailerq.workers.delay import Delay
from mailerq.workers.lines import Lines
from mailerq.workers.messages import (
    Answer,
    Ask,
    Begin,
    NoMessage,
    Ready,
    Refused,
    Reload,
    Reopen,
    to_parent,
    to_worker,
    written,
)
from mailerq.workers.worker_log import WorkerLog

NOW = 1_700_000_000.0
SLOW = SlowDown({"messages_per_minute": 60.0}, NOW + 3600, NOW, "450 too fast", 3)
CHANGES = [
    Paused(Pause(1, NOW, None, "why", domain="a.example")),
    Resumed(Scope(domain="a.example", tag="x")),
    Slowed(("mx.example",), "192.0.2.1", SLOW),
    Crowded(("mx.example",), "192.0.2.1", NOW),
    Warmed("rule from 192.0.2.1", 3, "2026-11-24"),
]


class Split(SynchronousTestCase):
    """Lines."""

    @given(st.lists(st.binary(max_size=12)), st.data())
    def test_any_pieces(self, lines: list[bytes], data: st.DataObject) -> None:
        """However they come, lines are the same; those that are too long are left out and counted."""
        lines = [line.replace(b"\n", b"") for line in lines]
        whole = b"".join(line + b"\n" for line in lines) + b"unfinished"
        reader, found, at = Lines(8), [], 0
        while at < len(whole):
            size = data.draw(st.integers(1, 20))
            found += reader.feed(whole[at : at + size])
            at += size
        self.assertEqual(found, [line for line in lines if len(line) <= 8])
        self.assertEqual(reader.dropped, sum(len(line) > 8 for line in lines))

    def test_no_end(self) -> None:
        """What never ends takes no memory."""
        reader = Lines(100)
        for _ in range(100):
            self.assertEqual(reader.feed(b"x" * 100), [])
        self.assertEqual(reader._parts, [])
        self.assertEqual(reader.feed(b"\nnext\n"), [b"next"])


class Written(SynchronousTestCase):
    """Messages."""

    def test_back(self) -> None:
        """What one writes the other reads."""
        for message in (Begin("a", "b", "c.yaml"), Reload("x: 1"), Reopen(), Ask(1, "{}"), *CHANGES):
            self.assertEqual(to_worker(written(message).rstrip(b"\n")), message)
        for other in (Answer(1, (), True, "no"), Ready(), Refused("why"), *CHANGES):
            self.assertEqual(to_parent(written(other).rstrip(b"\n")), other)

    def test_answer(self) -> None:
        """The lines of an answer are carried as they are."""
        line = written(Answer(1, (msgspec.Raw(b'{"a":1.10}'),)))
        self.assertIn(b'{"a":1.10}', line)
        found = to_parent(line)
        assert isinstance(found, Answer)
        self.assertEqual([bytes(one) for one in found.lines], [b'{"a":1.10}'])

    def test_surrogates(self) -> None:
        """A text that is no Unicode is carried with what can be; an answer beside it, too."""
        for text in ("\ud83d", "a\udcffb"):
            found = to_parent(written(Refused(text)))
            self.assertIsInstance(found, Refused)
        found = to_parent(written(Answer(1, (msgspec.Raw(b'{"a":1}'),), True, "\ud83d")))
        assert isinstance(found, Answer)
        self.assertEqual([bytes(one) for one in found.lines], [b'{"a":1}'])

    @given(st.binary(max_size=200) | st.sampled_from([b"[" * 100_000, b'{"kind":"ready"', b'{"kind":"x"}', b"1e99"]))
    def test_nonsense(self, line: bytes) -> None:
        """Whatever comes: a message, or NoMessage."""
        for read in (to_worker, to_parent):
            try:
                read(line)
            except NoMessage as error:
                self.assertIsInstance(str(error), str)

    @given(
        st.sampled_from([json.loads(written(one)) for one in [*CHANGES, Ask(1, "{}"), Answer(1), Begin("", "", "")]]),
        st.data(),
    )
    def test_wrong_shapes(self, plain: dict[str, object], data: st.DataObject) -> None:
        """A message with anything in place of something, or without it: a message, or NoMessage."""
        name = data.draw(st.sampled_from(sorted(plain)))
        value = data.draw(
            st.none() | st.integers() | st.floats(allow_nan=False) | st.text() | st.lists(st.integers()) | st.just({})
        )
        for changed in ({**plain, name: value}, {key: plain[key] for key in plain if key != name}):
            for read in (to_worker, to_parent):
                with contextlib.suppress(NoMessage):
                    read(json.dumps(changed).encode())


class Waits(SynchronousTestCase):
    """Delay."""

    def test_grows(self) -> None:
        """Nothing first, then 0.1 s, twice as much each time, 30 s at most."""
        delay = Delay()
        self.assertEqual(
            [round(delay.after(1.0), 1) for _ in range(12)],
            [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0],
        )

    def test_healthy(self) -> None:
        """After a minute of life nothing again."""
        delay = Delay()
        for _ in range(5):
            delay.after(1.0)
        self.assertEqual([delay.after(60.0), delay.after(0.0)], [0.0, 0.1])


class Logged(SynchronousTestCase):
    """WorkerLog."""

    def logged(self, *, bare: bool) -> list[str]:
        """What two events look like."""
        read, write = os.pipe()
        log: Logger = Logger(namespace="mailerq.tap", observer=WorkerLog(1, bare, write))
        log.info("taking jobs from {outbox}", outbox="outbox")
        log.emit(LogLevel.error, "two\nlines \ud83d")
        os.close(write)
        with os.fdopen(read) as file:
            return file.read().splitlines()

    def test_lines(self) -> None:
        """Each has the number of its worker; a text that is no Unicode is shown somehow."""
        first, second, third = self.logged(bare=False)
        self.assertRegex(first, r"^\S+ \[worker 1 mailerq\.tap#info\] taking jobs from outbox$")
        self.assertIn("[worker 1 mailerq.tap#error] two", second)
        self.assertIn("lines", third)

    def test_bare(self) -> None:
        """Without the time, which the parent adds."""
        self.assertEqual(self.logged(bare=True)[0], "[worker 1 mailerq.tap#info] taking jobs from outbox")

    def test_nobody_reads(self) -> None:
        """A pipe that is closed harms nobody."""
        read, write = os.pipe()
        os.close(read)
        Logger(namespace="a", observer=WorkerLog(0, False, write)).info("lost")
        os.close(write)
