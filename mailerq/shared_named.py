"""What rules were found to hold for which site, since a domain is known to be of it: each worker is to know what any
has found, or a site would have another limit in each.

A file of lines (JSON: the key of the site, the domain); how far it is written stands in the head of the table of
counts, so a line that was not written to its end is not there. Read and written under the lock.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import msgspec

from mailerq.shared_table import Table

END, TIMES = 5, 6  # words of the head: bytes that are written; how often it was begun anew
MOST = 4_000_000  # bytes: then it is begun anew, and what stood there is known only to those that have read it

_json = msgspec.json.Encoder().encode
_read = msgspec.json.Decoder(tuple[tuple[str, ...], str]).decode


class Named:
    """The file of that descriptor, as one worker has read it so far; None: in memory, at ``shared``."""

    def __init__(self, table: Table, file: int | None, shared: bytearray | None = None) -> None:
        self._table = table
        self._file = file
        self._shared = shared if shared is not None else bytearray()
        self._at = 0
        self._times = 0.0

    def append(self, site: tuple[str, ...], domain: str) -> None:
        """One more."""
        line = _json((site, domain)) + b"\n"
        words = self._table.words
        end = int(words[END])
        if end + len(line) > MOST:
            words[TIMES] += 1.0
            end = 0
        if self._file is not None:
            os.pwrite(self._file, line, end)
        else:
            self._shared[end:] = line
        words[END] = float(end + len(line))

    def read(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """What was written since the last time."""
        words = self._table.words
        end = int(words[END])
        if end == self._at and words[TIMES] == self._times:
            return
        if words[TIMES] != self._times:
            self._at, self._times = 0, words[TIMES]
        at, self._at = self._at, end
        written = os.pread(self._file, end - at, at) if self._file is not None else bytes(self._shared[at:end])
        for line in written.splitlines():
            yield _read(line)

    def again(self) -> Named:
        """The same, as one has it who has read nothing."""
        return Named(self._table, self._file, self._shared)

    def close(self) -> None:
        """It is used no more."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
