"""Notes in a file: read again, whole, and never in the way."""

from __future__ import annotations

import json
import os
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailerq.notes import Notes


class NotesTests(SynchronousTestCase):
    """One file."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "notes.json"
        self.clock = Clock()

    def notes(self) -> Notes:
        """As a new process opens them."""
        return Notes(str(self.path), self.clock)

    def test_nothing(self) -> None:
        """Without a file nothing was noted, and none is made."""
        self.assertIsNone(self.notes().get("pauses"))
        self.assertEqual(os.listdir(self.folder), [])

    def test_read_again(self) -> None:
        """What was put is there for the next one, with the sections that were there before."""
        self.path.write_bytes(b'{"of another version": [1]}')
        self.notes().put("pauses", [{"id": 1}], at_once=True)
        again = self.notes()
        self.assertEqual((again.get("pauses"), again.get("of another version")), ([{"id": 1}], [1]))

    def test_seldom(self) -> None:
        """What is not urgent is written once a second, however often it changes."""
        notes = self.notes()
        for number in range(5):
            notes.put("days", number)
        self.assertFalse(self.path.exists())
        self.clock.advance(1)
        self.assertEqual(json.loads(self.path.read_bytes()), {"days": 4})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_close(self) -> None:
        """At the end all is written, and no timer is left."""
        notes = self.notes()
        notes.put("days", 1)
        notes.close()
        self.assertEqual(json.loads(self.path.read_bytes()), {"days": 1})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_broken(self) -> None:
        """What cannot be read is put aside, and said."""
        for content in (b"{", b"[]", b"\xff\x00", b"[" * 100000):
            self.path.write_bytes(content)
            notes = self.notes()
            self.assertIsNone(notes.get("pauses"))
            self.assertEqual((self.folder / "notes.json.broken-0").read_bytes(), content)
            self.assertFalse(self.path.exists())

    def test_cannot_be_written(self) -> None:
        """A write that fails is said once, harms nobody, leaves the old file, and is tried again."""
        notes = self.notes()
        notes.put("days", 1, at_once=True)
        (self.folder / "notes.json.new").mkdir()
        notes.put("days", 2, at_once=True)
        self.assertEqual((notes.get("days"), json.loads(self.path.read_bytes())), (2, {"days": 1}))
        (self.folder / "notes.json.new").rmdir()
        self.clock.advance(60)
        self.assertEqual(json.loads(self.path.read_bytes()), {"days": 2})
        notes.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])
