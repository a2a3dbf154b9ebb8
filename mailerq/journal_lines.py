"""What stands in a journal: its lines, and what they leave open.

Pure. A line is a letter and words: ``D`` before a final dot, ``R`` a verdict before it is published, ``C`` once that
is confirmed, ``S`` when the job cannot come again, ``T`` another job of that body was taken. Where several workers look
into each other's journals there are also ``L``, whose life wrote the lines that follow; ``A``, the broker was lost and
this job may be given to anybody; and ``B``, it was given to us again.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

import msgspec

from mailerq.verdict import DELIVERED, FAILED, Delivered, Parked, Retry, Verdict


class Remembered(msgspec.Struct):
    """What a life left open of a job. ``verdict`` None: its final dot was sent, the answer not read; ``settled``: all
    was published, and only the acknowledgement may have been lost. ``life``: whose it is, where that is known."""

    identity: str
    digest: bytes
    source: str | None = None
    target: str | None = None
    mx: str | None = None
    verdict: Verdict | None = None
    seen: float = 0.0
    entries: list[bytes] = []
    settled: bool = False
    life: str = ""


class Entry:
    """The lines about one job that is not over, as they were written."""

    __slots__ = ("adrift", "decided", "digest", "dotted", "identity", "life", "settled")

    def __init__(self, identity: bytes, digest: bytes, life: str) -> None:
        self.identity = identity
        self.digest = digest  # as it is written, in hexadecimal
        self.life = life
        self.dotted = b""
        self.decided = b""
        self.settled = False
        self.adrift = False

    def remembered(self) -> Remembered | None:
        """What they say. A damaged line is of no effect."""
        for line, read in ((self.decided, _read_decided), (self.dotted, _read_dotted)):
            if line:
                try:
                    found = read(line)
                except (ValueError, LookupError, msgspec.MsgspecError):
                    continue
                found.settled, found.life = self.settled, self.life
                return found
        return None


class Entries:
    """What is open after all lines that were read so far. ``life``: who has written the last of them. ``equal``:
    bodies of which there were several, of some of which only the acknowledgement may have been lost."""

    def __init__(self) -> None:
        self.life = ""
        self.equal: set[bytes] = set()
        self._entries: dict[bytes, Entry] = {}
        self._same: dict[bytes, dict[bytes, Entry]] = {}  # by digest, then identity

    def read(self, content: bytes) -> int:
        """Go on with what was written since. Returns how many bytes of it are whole lines."""
        whole = content.rfind(b"\n") + 1
        for line in content[:whole].split(b"\n"):
            kind = line[:2]
            if kind == b"S ":
                self._forget(line[2:])
            elif kind in (b"D ", b"R "):
                self._note(kind, line)
            elif line:
                self._mark(kind, line)
        return whole

    def _note(self, kind: bytes, line: bytes) -> None:
        words = line.split(b" ", 3)
        if len(words) < 4:
            return
        _, identity, digest, _ = words
        entry = self._entries.get(identity)
        if entry is None or entry.digest != digest or entry.life != self.life:
            if entry is not None:
                self._forget(identity)
            entry = self._entries[identity] = Entry(identity, digest, self.life)
            self._same.setdefault(digest, {})[identity] = entry
        if kind == b"D ":
            entry.dotted, entry.decided = line, b""
        else:
            entry.decided = line
        entry.settled = False

    def _forget(self, identity: bytes) -> None:
        entry = self._entries.pop(identity, None)
        if entry is not None:
            same = self._same[entry.digest]
            del same[identity]
            if not same:
                del self._same[entry.digest]

    def _mark(self, kind: bytes, line: bytes) -> None:
        words = line.decode("utf-8", "replace").split(" ")
        if len(words) < 2:
            return
        if kind == b"L ":
            self.life = words[1]
        elif kind == b"T ":
            self.equal.add(words[1].encode())
        elif entry := self._entries.get(words[1].encode()):
            if kind == b"C ":
                entry.settled = True
                if words[2:] != ["0"]:
                    self.equal.add(entry.digest)
            elif kind in (b"A ", b"B "):
                entry.adrift = kind == b"A "

    def of(self, digest: bytes) -> list[Entry]:
        """Those of jobs with that body, the oldest first."""
        return list(self._same.get(digest.hex().encode(), {}).values())

    def left(self) -> dict[bytes, list[Remembered]]:
        """All, by digest. Of equal jobs those that were settled are not believed."""
        left: dict[bytes, list[Remembered]] = {}
        for entry in self._entries.values():
            remembered = entry.remembered()
            if remembered is not None:
                left.setdefault(remembered.digest, []).append(remembered)
        for digest, several in list(left.items()):
            if len(several) > 1 or digest.hex().encode() in self.equal:
                left[digest] = [remembered for remembered in several if not remembered.settled]
        return left


def _read_dotted(line: bytes) -> Remembered:
    _, identity, digest, *ends = line.decode("utf-8", "replace").split(" ", 5)
    source, target, mx = (None if word == "-" else word for word in ends)
    return Remembered(identity, bytes.fromhex(digest), source, target, mx)


def _read_decided(line: bytes) -> Remembered:
    _, identity, digest, word, seen, entries = line.split(b" ", 5)
    remembered = Remembered(identity.decode("utf-8", "replace"), bytes.fromhex(digest.decode("ascii")))
    remembered.verdict = _verdict(word.decode("utf-8", "replace"))
    remembered.seen = float(seen)
    remembered.entries = [bytes(entry) for entry in msgspec.json.decode(entries, type=list[msgspec.Raw])]
    return remembered


def decided_line(identity: str, digest: bytes, verdict: Verdict, seen: float, entries: list[bytes]) -> bytes:
    """Times are written in full: what is published again is the same to the byte."""
    head = f"R {identity} {digest.hex()} {_word(verdict)} {seen!r} "
    return b"%b[%b]\n" % (head.encode(), b",".join(entries))


def _word(verdict: Verdict) -> str:
    if isinstance(verdict, Delivered):
        return "delivered"
    if isinstance(verdict, Retry):
        return f"retry@{verdict.at!r}"
    if isinstance(verdict, Parked):
        seen = "" if verdict.seen is None else repr(verdict.seen)
        return f"parked@{verdict.at!r}@{seen}@{verdict.turn!r}@{quote(verdict.queue)}"
    return "failed"


def _verdict(word: str) -> Verdict:
    name, *numbers = word.split("@")
    if name == "retry":
        return Retry(float(numbers[0]))
    if name == "parked":
        at, seen, turn, *queue = numbers
        return Parked(float(at), float(seen) if seen else None, float(turn), unquote("".join(queue)))
    if name == "delivered":
        return DELIVERED
    if name == "failed":
        return FAILED
    raise LookupError(word)


def lines_of(remembered: Remembered) -> list[bytes]:
    """What says the same."""
    identity, digest = remembered.identity, remembered.digest
    if remembered.verdict is not None:
        decided = decided_line(identity, digest, remembered.verdict, remembered.seen, remembered.entries)
        return [decided, f"C {identity} 0\n".encode()] if remembered.settled else [decided]
    ends = f"{remembered.source or '-'} {remembered.target or '-'} {remembered.mx or '-'}"
    return [f"D {identity} {digest.hex()} {ends}\n".encode()]
