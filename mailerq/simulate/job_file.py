"""Traffic from a file: jobs as they were put on the outbox, or results as they came back, one a line.

The file is read twice: once for times and domains, then line by line as jobs are taken; it is not held in memory.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import msgspec
from msgspec import Raw

from mailerq.job import encode_pieces, parse_time
from mailerq.simulate.places import Places
from mailerq.simulate.traffic import NUMBER, SIZE, Arrival

TYPICAL = 5000  # bytes of a message that the file does not have
_LEFT_OUT = ("mime", "key", "queues", "results", "seen", "dkim", "data", "headers", "dsn", "inlinecss", "normalize")
_OURS = ("time", "domain", "keepmime", "bytes")
_DATES = ("maxdelivertime", "nextattempt", "delayed")


class NoJobs(Exception):
    """The file has no jobs that could be used. The text says why."""


class _Attempt(msgspec.Struct):
    time: str = ""


class _Line(msgspec.Struct):
    recipient: str
    time: str | int | float | None = None
    results: list[_Attempt] = []


_read = msgspec.json.Decoder(_Line).decode
_pieces = msgspec.json.Decoder(dict[str, Raw]).decode


class JobFile:
    """The jobs of a file. Their times: ``time`` in each (seconds from the start, or ``YYYY-MM-DD HH:MM:SS``), or that
    of the first entry of ``results``; one without any comes with the one before it. ``over``: evenly over so many
    seconds instead, in the order of the file.

    ``start``: epoch seconds of the first job, None where the file has no dates. ``refused``: lines that are no jobs,
    and ``first_refused`` the number of the first of them."""

    def __init__(self, path: str, over: float | None = None) -> None:
        self.path = path
        self.start: float | None = None
        self.refused = 0
        self.first_refused = 0
        self._times = array("d")
        self._offsets = array("Q")
        self._domains = array("L")
        self._names: list[str] = []
        self._places: Places | None = None
        self._scan()
        self.total = len(self._times)
        if not self.total:
            why = f"none of its {self.refused} lines is a job" if self.refused else "it is empty"
            raise NoJobs(f"{path}: {why}")
        self._order = self._settle_times(over)
        self._file = open(path, "rb")  # noqa: SIM115 (as long as the simulation runs)

    def at(self, places: Places) -> JobFile:
        """The same, with the providers known."""
        self._places = places
        return self

    def _scan(self) -> None:
        known: dict[str, int] = {}
        offset, last = 0, 0.0
        with open(self.path, "rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    last = self._scan_line(line, number, offset, last, known)
                offset += len(line)
        self._names = list(known)

    def _scan_line(self, line: bytes, number: int, offset: int, last: float, known: dict[str, int]) -> float:
        try:
            job = _read(line)
            time = _time_of(job, last)
            domain = job.recipient.rpartition("@")[2].lower()
            if not domain:
                raise ValueError
        except (msgspec.MsgspecError, ValueError):
            self.refused += 1
            self.first_refused = self.first_refused or number
            return last
        self._times.append(time)
        self._offsets.append(offset)
        self._domains.append(known.setdefault(domain, len(known)))
        return time

    def _settle_times(self, over: float | None) -> list[int] | range:
        """Times from the first one on; the order of the jobs by time."""
        times = self._times
        if over is not None:
            for index in range(self.total):
                times[index] = over * index / self.total
            return range(self.total)
        first = min(times)
        if first > 1e8:  # no offset is three years long
            self.start = float(int(first))
            for index in range(self.total):
                times[index] = max(0.0, times[index] - self.start)
        if all(times[index] <= times[index + 1] for index in range(self.total - 1)):
            return range(self.total)
        return sorted(range(self.total), key=times.__getitem__)

    def arrivals(self) -> Iterator[Arrival]:
        """All jobs in the order of their times."""
        assert self._places is not None
        owners = [self._places.provider_of(name) for name in self._names]
        for index in self._order:
            yield Arrival(self._times[index], 0, index, owners[self._domains[index]])

    def body(self, arrival: Arrival, number: int) -> bytes:
        """The job as it was, without what a simulation has no use for."""
        self._file.seek(self._offsets[arrival.which])
        pieces = _pieces(self._file.readline())
        mime = pieces.get("mime")
        size = len(bytes(mime)) if mime is not None else _whole(pieces.get("bytes"))
        for name in _LEFT_OUT + _OURS + (_DATES if self.start is None else ()):
            pieces.pop(name, None)
        pieces["mime"] = Raw(b'"x"')
        pieces[NUMBER], pieces[SIZE] = Raw(b"%d" % number), Raw(b"%d" % size)
        return encode_pieces(pieces)

    def close(self) -> None:
        """It is not needed any more."""
        self._file.close()


def _time_of(job: _Line, last: float) -> float:
    if isinstance(job.time, str):
        return parse_time("time", job.time)
    if job.time is not None:
        if not 0 <= job.time < 1e11:
            raise ValueError
        return float(job.time)
    if job.results and job.results[0].time:
        return parse_time("time", job.results[0].time)
    return last


def _whole(raw: Raw | None) -> int:
    text = b"" if raw is None else bytes(raw)
    return int(text) if text.isdigit() else TYPICAL
