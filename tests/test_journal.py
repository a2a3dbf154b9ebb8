"""What is known after a crash."""

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailerq import journal as journal_module
from mailerq.journal import KEEP, Journal, JournalInUse
from mailerq.verdict import DELIVERED, FAILED, Parked, Retry, Verdict

A, B, C = b"a" * 16, b"b" * 16, b"c" * 16
VERDICTS: list[Verdict] = [
    *(DELIVERED, FAILED, Retry(1_700_000_600.0), Parked(1_700_000_000.123456, None)),
    Parked(1_700_000_000.7, 1_699_999_999.987654),
]


class Case(SynchronousTestCase):
    """A journal that may be killed."""

    def setUp(self) -> None:
        """An empty folder, a clock."""
        memory = Path("/dev/shm")  # each life begins with an fsync, which takes its time on a disk
        folder = tempfile.mkdtemp(dir=memory if memory.is_dir() else None)
        self.addCleanup(shutil.rmtree, folder)
        self.path = Path(folder) / "deep" / "journal"
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.lives = 0
        self.dead: list[Journal] = []
        self.patch(journal_module, "ROOM", 4000)

    def life(self) -> Journal:
        """A new process."""
        self.lives += 1
        name = f"{self.lives:x}"
        journal = Journal(str(self.path), self.clock.seconds, lambda: name)
        self.living = journal
        self.addCleanup(self.kill, journal)
        return journal

    def kill(self, journal: Journal) -> None:
        """End a process without a word. What it had written stays."""
        if journal not in self.dead:
            self.dead.append(journal)
            journal._map.close()
            os.close(journal._file)
            os.close(journal._lock)

    def end(self, journal: Journal) -> None:
        """End a process properly."""
        journal.close()
        self.dead.append(journal)

    def reborn(self) -> Journal:
        """The process is killed, and begins again."""
        self.kill(self.living)
        return self.life()


class Lives(Case):
    """From one life to the next."""

    def test_dotted(self) -> None:
        """A mail whose final dot was sent is known to be in doubt, and where it was sent to; once."""
        self.life().dot("1-1", A, "192.0.2.1", "192.0.2.2", None)
        journal = self.reborn()
        found = journal.recall(A)
        self.assertEqual((found.identity, found.verdict), ("1-1", None))
        self.assertEqual((found.source, found.target, found.mx), ("192.0.2.1", "192.0.2.2", None))
        self.assertIsNone(journal.recall(A))

    def test_decided(self) -> None:
        """What had been decided comes back exactly: verdict, times and entries."""
        entries = [b'{"type": "lost", "description":"a  b"}', b'{"x":1.10}']
        for number, verdict in enumerate(VERDICTS):
            for dotted in (False, True):
                journal = self.life()
                identity = f"{number}-{dotted}"
                if dotted:
                    journal.dot(identity, A, None, None, "mx")
                journal.decided(identity, A, verdict, 1_700_000_000.987654, entries)
                found = self.reborn().recall(A)
                self.assertEqual((found.identity, found.verdict, found.entries), (identity, verdict, entries))
                self.assertEqual(found.seen, 1_700_000_000.987654)
                self.kill(self.living)
                self.path.unlink()

    def test_settled(self) -> None:
        """What was settled is forgotten, at once."""
        journal = self.life()
        journal.decided("1-1", A, DELIVERED, 0.0, [])
        journal.settled("1-1")
        journal.settled("unknown")
        journal.acknowledged("unknown", 0)
        journal.dot("1-2", B, None, None, None)
        journal = self.reborn()
        self.assertIsNone(journal.recall(A))
        self.assertIsNotNone(journal.recall(B))

    def test_settled_soon(self) -> None:
        """An acknowledgement that may be lost with us is remembered for a second longer."""
        for ticks, known in ((0, True), (1, True), (2, False)):
            journal = self.life()
            journal.decided(f"{ticks}-1", A, DELIVERED, 0.0, [])
            journal.acknowledged(f"{ticks}-1", 0)
            for _ in range(ticks):
                journal.tick()
            found = self.reborn().recall(A)
            self.assertEqual(found is not None, known, ticks)
            self.assertTrue(found is None or found.settled)
            self.kill(self.living)
            self.path.unlink()

    def test_settled_through_lives(self) -> None:
        """That only an acknowledgement may have been lost is known after two crashes, too."""
        journal = self.life()
        journal.decided("1-1", A, DELIVERED, 0.0, [])
        journal.acknowledged("1-1", 0)
        self.reborn()
        self.assertTrue(self.reborn().recall(A).settled)

    def test_equal_to_an_acknowledged_one(self) -> None:
        """Of equal jobs those that were begun are recalled, those that were settled are not."""
        journal = self.life()
        for number in range(4):
            journal.decided(f"1-{number}", A, DELIVERED, 0.0, [])
        journal.acknowledged("1-0", 6)
        journal.acknowledged("1-1", 5)
        journal.equal(A)
        journal.dot("1-7", A, None, None, None)
        for _ in range(3):
            journal = self.reborn()
        found = [journal.recall(A) for _ in range(9)]
        kinds = [None if one is None else "settled" if one.settled else "begun" for one in found]
        self.assertEqual(kinds, ["begun"] * 3 + [None] * 6)

    def test_broker_away(self) -> None:
        """While the broker is away nothing ages, and a proper end keeps what it may not have read."""
        journal = self.life()
        journal.decided("1-1", A, DELIVERED, 0.0, [])
        journal.acknowledged("1-1", 0)
        journal.decided("1-2", B, DELIVERED, 0.0, [])
        journal.acknowledged("1-2", 0)
        journal.equal(B)
        for _ in range(5):
            journal.tick(False)
        journal.close(False)
        self.dead.append(journal)
        journal = self.life()
        self.assertTrue(journal.recall(A).settled)
        self.assertIsNone(journal.recall(B))

    def test_next_try(self) -> None:
        """The end of one try does not hide the dot of the next, however soon it comes."""
        journal = self.life()
        journal.decided("1-1", A, Retry(5.0), 0.0, [])
        journal.acknowledged("1-1", 0)
        journal.dot("1-1", B, None, None, None)
        journal.tick()
        journal.tick()
        journal = self.reborn()
        self.assertIsNone(journal.recall(A))
        self.assertIsNone(journal.recall(B).verdict)

    def test_equal_jobs(self) -> None:
        """Of several jobs with the same body each one that was left open is recalled once."""
        journal = self.life()
        for number in range(3):
            journal.dot(f"1-{number}", A, None, None, None)
        journal.settled("1-1")
        journal.dot("1-9", B, None, None, None)
        journal = self.reborn()
        self.assertEqual({journal.recall(A).identity, journal.recall(A).identity}, {"1-0", "1-2"})
        self.assertIsNone(journal.recall(A))

    def test_left_through_lives(self) -> None:
        """What was not recalled is not lost by another crash, nor by a proper end."""
        self.life().decided("1-1", A, Retry(5.0), 1.5, [b"{}"])
        self.reborn()
        self.reborn()
        self.end(self.living)
        found = self.life().recall(A)
        self.assertEqual((found.verdict, found.seen, found.entries), (Retry(5.0), 1.5, [b"{}"]))

    def test_keep(self) -> None:
        """An hour later what an earlier life left open is not believed, in this life and the next ones."""
        self.life().dot("1-1", A, None, None, None)
        journal = self.reborn()
        self.clock.advance(KEEP + 1)
        self.assertIsNone(journal.recall(A))
        self.kill(journal)
        self.path.unlink()
        self.life().dot("1-1", A, None, None, None)
        journal = self.reborn()
        self.clock.advance(KEEP + 1)
        self.end(journal)
        self.assertIsNone(self.life().recall(A))

    def test_identities(self) -> None:
        """No two jobs have the same name, in this life or another."""
        first = [self.life().new_identity() for _ in range(1)] + [self.living.new_identity()]
        self.assertEqual(len({*first, self.reborn().new_identity()}), 3)

    def test_lock(self) -> None:
        """A second process is refused, and told what to do; a killed one is in nobody's way."""
        self.life()
        with self.assertRaisesRegex(JournalInUse, "another engine"):
            self.life()
        self.assertIsNotNone(self.reborn())

    def test_close(self) -> None:
        """A proper end leaves an empty file where all is settled."""
        journal = self.life()
        journal.dot("1-1", A, None, None, None)
        journal.settled("1-1")
        self.end(journal)
        self.assertEqual(self.path.read_bytes(), b"")


class Files(Case):
    """The file itself."""

    def test_rotation(self) -> None:
        """A file that is full is written anew, and keeps all that is open."""
        self.life().dot("1-open", A, None, None, None)
        journal = self.reborn()
        journal.decided("2-open", B, FAILED, 0.0, [b"{}"])
        for number in range(500):
            journal.dot(f"2-{number}", C, None, None, None)
            journal.settled(f"2-{number}")
            self.assertLess(self.path.stat().st_size, 6000)
        journal.dot("2-last", C, None, None, None)
        journal = self.reborn()
        self.assertEqual([journal.recall(d).identity for d in (A, B, C)], ["1-open", "2-open", "2-last"])
        self.assertIsNone(journal.recall(C))

    def test_much_is_open(self) -> None:
        """More may be open than a new journal has room for."""
        journal = self.life()
        for number in range(1000):
            journal.dot(f"1-{number}", A, None, None, None)
        journal = self.reborn()
        self.assertEqual(len(list(iter(lambda: journal.recall(A), None))), 1000)

    def test_every_cut(self) -> None:
        """Whatever prefix of the file is there: nothing raises, and what whole lines say is open is recalled."""
        journal = self.life()
        journal.dot("1-1", A, "192.0.2.1", "192.0.2.2", "mx")
        journal.decided("1-2", B, Retry(5.5), 1.25, [b'{"a":1}', b'{"b":"\xc3\xa9"}'])
        journal.decided("1-1", A, DELIVERED, 0.5, [b"{}"])
        journal.settled("1-1")
        journal.dot("1-3", A, None, None, None)
        journal.decided("1-4", C, Parked(7.5, None), 0.0, [])
        self.kill(journal)
        whole = self.path.read_bytes().rstrip(b"\0")
        for cut in range(len(whole) + 1):
            self.path.write_bytes(whole[:cut])
            expected: dict[bytes, bytes] = {}
            for line in whole[:cut].split(b"\n")[:-1]:
                kind, identity = line.split(b" ")[:2]
                if kind == b"S":
                    del expected[identity]
                else:
                    expected[identity] = line.split(b" ")[2]
            journal = self.life()
            recalled = [(digest, journal.recall(digest)) for digest in (A, B, C) * 4]
            found = {(r.identity.encode(), digest.hex().encode()) for digest, r in recalled if r is not None}
            self.assertEqual(found, set(expected.items()), cut)
            self.kill(journal)

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(
            st.sampled_from(
                ["D", "R", "S", "1-1", "-", "ab", "a", "é", "retry@", "retry@x", "delivere", "[1", "[]", "5"]
            ),
            max_size=8,
        ),
        st.binary(max_size=20),
    )
    def test_damaged(self, words: list[str], rest: bytes) -> None:
        """A damaged line is of no effect, and the lines around it hold."""
        self.lives = 0
        journal = self.life()
        journal.dot("1-x", A, None, None, None)
        journal._write(" ".join(words).encode() + rest.replace(b"\0", b"") + b"\n")
        journal.dot("1-y", B, None, None, None)
        journal = self.reborn()
        self.assertIsNotNone(journal.recall(A))
        self.assertIsNotNone(journal.recall(B))
        self.kill(journal)
        self.path.unlink()

    def test_something_else(self) -> None:
        """A file that is no journal is not overwritten, and what is no file is not read."""
        self.path.parent.mkdir()
        for content in (b"vm\n", b"Dear all\n", b"broker: x\nSTORE: y\n", b"\x89PNG\r\n"):
            self.path.write_bytes(content)
            self.assertRaises(FileExistsError, self.life)
            self.assertEqual(self.path.read_bytes(), content)
        self.path.unlink()
        self.path.symlink_to("/dev/full")  # reading it has no end
        self.assertRaises(FileExistsError, self.life)

    def test_empty(self) -> None:
        """A file in which nothing stands yet may be a journal."""
        self.path.parent.mkdir()
        for content in (b"", bytes(5000), b"D 1-1 " + A.hex().encode()[:7], b"S"):
            self.path.write_bytes(content)
            self.kill(self.life())

    def test_damaged_verdict(self) -> None:
        """A verdict that is none is no failure of the mail."""
        journal = self.life()
        journal.decided("1-1", A, DELIVERED, 0.0, [])
        self.kill(journal)
        self.path.write_bytes(self.path.read_bytes().replace(b"delivered", b"delixered"))
        found = self.life().recall(A)
        self.assertIsNone(found)


class FullDisk(Case):
    """There is no room for a new file."""

    def test_rotation(self) -> None:
        """It is said once, and nothing more is noted until there is room; then all that is open is."""
        self.patch(journal_module, "ROOM", 300)
        journal = self.life()

        def full(file: int, offset: int, size: int) -> None:
            raise OSError(28, "No space left on device")

        reserve = os.posix_fallocate
        self.patch(journal_module.os, "posix_fallocate", full)
        for number in range(20):
            journal.dot(f"1-{number}", bytes([number]) * 16, None, None, None)
        self.assertTrue(journal.full)
        self.patch(journal_module.os, "posix_fallocate", reserve)
        journal.tick()
        self.assertFalse(journal.full)
        journal = self.reborn()
        self.assertEqual(sum(journal.recall(bytes([number]) * 16) is not None for number in range(20)), 20)
