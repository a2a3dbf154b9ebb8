"""What a row of ``rows.py`` is made of: jobs, hosts, and what must come of them.

Texts may hold ``$ROW`` (the row's name), ``$DOMAIN`` (a domain of the row's own), ``$H1 $H2 …`` (the addresses of its
hosts), ``$PORT`` (where hosts listen) and ``$TIME+5`` (so many seconds from the moment of publishing, in UTC).
"""

from __future__ import annotations

import gzip
import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import attrs

MESSAGE = "From: sender@example.com\r\nSubject: hello\r\n\r\nHello.\r\n"
NOTHING_CONNECTED = ("bind", "nohosts", "expired")
QUEUES = ("results", "success", "failure", "retry", "invalid")


@attrs.frozen(kw_only=True)
class Entry:
    """One entry of ``results``. ``says``: what the description holds, whatever the case. ``peer``: whether ``from`` and
    ``to`` are there; None: as the type has it. ``more``: properties with their values. ... stands for any value."""

    type: str
    state: Any = None
    code: Any = None
    status: Any = None
    says: tuple[str, ...] = ()
    doubt: Any = False
    peer: bool | None = None
    host: int | None = None
    more: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def connected(self) -> bool:
        """Whether both ends are known."""
        return self.type not in NOTHING_CONNECTED if self.peer is None else self.peer


def entry(
    type: str,
    state: Any = None,
    code: Any = None,
    status: Any = None,
    *says: str,
    **more: Any,
) -> Entry:
    """An entry in one line."""
    return Entry(type=type, state=state, code=code, status=status, says=says, **more)


SUCCESS = entry("success", "accept", 250, "2.0.0")


@attrs.frozen(kw_only=True)
class Job:
    """``properties`` are added to a usual job (None removes one); a text or bytes is the whole body. ``entries`` are
    those that must be new in ``results``, in order; none: the job must not end. ``copies``: how many messages each
    queue gets, by default as the last entry wants it. ``after``: published when that job (by number, from 0) has ended;
    ``delay``: so many seconds later still. ``not_before``, ``within``: when it may end, in seconds after it was
    published. ``kept``: what the result must hold, byte for byte; ``gone``: properties that it must not have.
    """

    properties: Mapping[str, Any] | str | bytes = attrs.field(factory=dict)
    entries: tuple[Entry, ...] = (SUCCESS,)
    copies: Mapping[str, int] | None = None
    after: int | None = None
    delay: float = 0.0
    not_before: float = 0.0
    within: float = 20.0
    before: int = 0
    kept: tuple[str, ...] = ()
    gone: tuple[str, ...] = ("mime",)
    encoding: str | None = None

    def body(self, replace: Callable[[str], str], number: int) -> bytes:
        """What is published."""
        if isinstance(self.properties, bytes):
            return self.properties
        if isinstance(self.properties, str):
            body = replace(self.properties).encode()
            return gzip.compress(body) if self.encoding else body
        job: dict[str, Any] = {
            "recipient": "one@$DOMAIN",
            "envelope": "sender@example.com",
            "row": f"$ROW.{number}",
            "mime": MESSAGE,
            **self.properties,
        }
        return replace(json.dumps({name: value for name, value in job.items() if value is not None})).encode()

    @property
    def expected_copies(self) -> dict[str, int]:
        """How many messages each queue gets."""
        copies = dict.fromkeys(QUEUES, 0)
        if self.copies is not None:
            return {**copies, **self.copies}
        if self.entries:
            tried = [one for one in self.entries if one.type != "idle"]
            copies["results"] = 1
            copies["success" if self.entries[-1].type == "success" else "failure"] = 1
            copies["retry"] = len(tried) - 1
        return copies


def job(properties: Any = None, *entries: Entry, **more: Any) -> Job:
    """A job in one line."""
    more = {**more, "entries": entries} if entries else more
    return Job(properties={} if properties is None else properties, **more)


def waiting(properties: Any = None, **more: Any) -> Job:
    """A job that must not end, and of which nothing is published."""
    return Job(properties=properties or {}, entries=(), copies={}, **more)


@attrs.frozen(kw_only=True)
class Host:
    """A remote host. ``kind``: ``mx`` (tests/mx.py, with the other arguments), ``refuses`` (nobody listens), ``mute``
    (never answers to a connection), ``resets`` (while it comes about), ``far`` (there is no way to it).
    ``certificate``: ``self`` (self-signed), ``good``, ``other`` (for another name), ``old`` (expired). ``took``: how
    many messages it must have taken in the end, ``met``: how many connections it must have seen, ``said``: how often
    lines that begin so must have come; None: any number. ``address``: where it is, instead of where the row puts it."""

    kind: str = "mx"
    script: Mapping[str, Any] = attrs.field(factory=dict)
    extensions: tuple[str, ...] | None = None
    certificate: str | None = None
    users: Mapping[str, str] | None = None
    idle_after: float = 0.0
    took: int | None = None
    met: int | None = None
    said: Mapping[str, int] = attrs.field(factory=dict)
    address: str | None = None


def host(took: int | None = None, met: int | None = None, **script: Any) -> Host:
    """A host in one line, with what it does at each step."""
    more = {key: script.pop(key) for key in attrs.fields_dict(Host) if key in script}
    return Host(took=took, met=met, script=script, **more)


@attrs.frozen(kw_only=True)
class Row:
    """One promise: ``sentence``. ``dns``: name → lines as tests/dns.py has them; by default each host is an MX of the
    domain, in order. ``group``: the settings (``rows.GROUPS``); ``limits``: rules in front of which ``domain`` is set.
    ``check``: looks at the rest. ``lasts``: seconds for which it is watched after all has ended; ``longest``: seconds
    for all of it in memory, where it is looked at every ``step`` seconds."""

    sentence: str
    jobs: tuple[Job, ...] = (Job(),)
    hosts: tuple[Host, ...] = (Host(),)
    dns: Mapping[str, list[str]] | None = None
    group: str = "base"
    limits: Mapping[str, Any] = attrs.field(factory=dict)
    check: Callable[[Any], None] | None = None
    in_memory: bool = True
    real: bool = True
    lasts: float = 1.5
    longest: float = 60.0
    step: float = 0.05

    def zone(self) -> dict[str, list[str]]:
        """What DNS says."""
        if self.dns is not None:
            return dict(self.dns)
        numbers = range(1, len(self.hosts) + 1)
        zone = {"$DOMAIN": [f"MX {number * 10} mx{number}.$DOMAIN" for number in numbers]}
        return zone | {f"mx{number}.$DOMAIN": [f"A $H{number}"] for number in numbers}


@attrs.frozen
class Names:
    """What the texts of a row stand for."""

    row: str
    hosts: tuple[str, ...]
    port: int
    started: float

    @property
    def domain(self) -> str:
        """The row's own domain."""
        return f"{self.row}.test"

    def replace(self, text: str) -> str:
        """``text`` with what its names stand for."""
        for number, address in enumerate(self.hosts, 1):
            text = text.replace(f"$H{number}", address)
        text = text.replace("$DOMAIN", self.domain).replace("$ROW", self.row).replace("$PORT", str(self.port))
        return re.sub(r"\$TIME([+-]\d+)", lambda found: utc(self.started + int(found[1])), text)


def utc(seconds: float) -> str:
    """A time as the contract writes it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


@attrs.define
class Ran:
    """What came of a row. ``found``: for each queue the bodies of this row, with the time at which they were seen;
    ``hosts``: the Mx objects (None where there is none), ``published``: when each job was; ``slack``: seconds by which
    a job may end too early, and too late."""

    row: Row
    names: Names
    hosts: list[Any]
    published: dict[int, float] = attrs.field(factory=dict)
    found: dict[str, list[tuple[float, bytes]]] = attrs.field(factory=dict)
    slack: tuple[float, float] = (0.0, 0.0)

    def add(self, queue: str, body: bytes, now: float) -> None:
        """A body was seen in a queue; own queues of the row lose its name."""
        self.found.setdefault(queue.removeprefix(f"{self.names.row}."), []).append((now, body))

    def of(self, number: int) -> dict[str, list[tuple[float, bytes]]]:
        """What was found of one job."""
        return {
            queue: [(at, body) for at, body in found if self._number(body) == number]
            for queue, found in self.found.items()
        }

    def _number(self, body: bytes) -> int:
        for number, job in enumerate(self.row.jobs):
            whole = isinstance(job.properties, bytes) or (job.encoding is not None and not job.entries)
            if (whole and job.properties == body) or f'"{self.names.row}.{number}"'.encode() in body:
                return number
            if isinstance(job.properties, str) and self.names.row.encode() in body and len(self.row.jobs) == 1:
                return number
        return 0 if len(self.row.jobs) == 1 else -1

    def ended(self, number: int) -> bool:
        """Whether all copies of a job that must be there are."""
        found = self.of(number)
        wanted = self.row.jobs[number].expected_copies
        return all(len(found.get(queue, ())) >= count for queue, count in wanted.items())

    def finals(self, number: int) -> list[tuple[float, bytes]]:
        """The results of a job, wherever they are."""
        found = self.of(number)
        kinds = [kind for kind in ("results", "success", "failure", "mine", "good", "bad") if found.get(kind)]
        return [found[kind][-1] for kind in kinds]  # before the last there may be retries

    def problems(self) -> list[str]:
        """All that is not as the row wants it."""
        wrong: list[str] = []
        for number, job in enumerate(self.row.jobs):
            wrong += [f"job {number}: {what}" for what in self._wrong_with(number, job)]
        for number, (wanted, mx) in enumerate(zip(self.row.hosts, self.hosts, strict=True), 1):
            wrong += [f"host {number}: {what}" for what in wrong_host(wanted, mx)]
        if self.row.check is not None and not wrong:
            try:
                self.row.check(self)
            except AssertionError as error:
                wrong.append(f"{error}")
        return wrong

    def _wrong_with(self, number: int, job: Job) -> list[str]:
        found = {queue: len(bodies) for queue, bodies in self.of(number).items() if bodies}
        wanted = {queue: count for queue, count in job.expected_copies.items() if count}
        if found != wanted:
            return [f"copies {found}, not {wanted}: {self.of(number)}"]
        wrong: list[str] = []
        for at, body in self.finals(number):
            if not job.entries:
                continue
            took = at - self.published[number]
            if not job.not_before - self.slack[0] <= took <= job.within + self.slack[1]:
                wrong.append(f"ended after {took:.1f} s, not within {job.not_before} to {job.within}")
            wrong += wrong_result(job, body, self.names)
        for _, body in self.of(number).get("invalid", ()):
            if body != job.body(self.names.replace, number):
                wrong.append(f"not byte for byte: {body!r}")
        for _, body in self.of(number).get("retry", ()):
            wrong += wrong_retry(job, json.loads(body))
        return wrong


def wrong_host(wanted: Host, mx: Any) -> list[str]:
    """What a host saw that it should not have."""
    if mx is None:
        return []
    wrong = []
    if wanted.took is not None and len(mx.mails) != wanted.took:
        wrong.append(f"took {len(mx.mails)} messages, not {wanted.took}: {mx.talk}")
    if wanted.met is not None and len(mx.connections) != wanted.met:
        wrong.append(f"saw {len(mx.connections)} connections, not {wanted.met}: {mx.talk}")
    for command, count in wanted.said.items():
        heard = sum(line.startswith(f"C: {command}") for line in mx.talk)
        if heard != count:
            wrong.append(f"heard {command} {heard} times, not {count}: {mx.talk}")
    return wrong


def wrong_result(job: Job, body: bytes, names: Names) -> list[str]:
    """What is wrong with a final result."""
    wrong = [f"{text!r} is not in it" for text in job.kept if names.replace(text).encode() not in body]
    result = json.loads(body)
    left = [name for name in (*job.gone, "seen", "nextattempt", "delayed") if name in result]
    if left:
        wrong.append(f"has {left}")
    recipient = result.get("recipient")
    if isinstance(recipient, str) and "recipient" not in job.entries[-1].says:
        domain = recipient.rpartition("@")[2].lower()
        if result.get("domain") != domain:
            wrong.append(f"domain is {result.get('domain')!r}")
    entries = result["results"]
    new = entries[len(entries) - len(job.entries) :]
    if len(entries) != job.before + len(job.entries):
        wrong.append(f"{len(entries)} entries, {job.before} of them old: {entries}")
    for number, (entry, wanted) in enumerate(zip(new, job.entries, strict=False), len(entries) - len(new) + 1):
        wrong += [f"entry {number}: {what} in {entry}" for what in wrong_entry(wanted, entry, number, names)]
    return wrong if not wrong else [*wrong, body.decode("utf-8", "replace")]


def wrong_entry(wanted: Entry, entry: dict[str, Any], number: int, names: Names) -> list[str]:
    """What is wrong with an entry of ``results``."""
    fixed = {"attempt": number, "type": wanted.type, "state": wanted.state, "code": wanted.code}
    fixed["status"] = wanted.status
    wrong = [f"{name} is not {value!r}" for name, value in fixed.items() if value not in (entry.get(name), ...)]
    if not re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", entry.get("time", "")):
        wrong.append("time")
    for end in ("from", "to"):
        if (end in entry) != wanted.connected:
            wrong.append(f"{end} is {'missing' if wanted.connected else 'there'}")
    if wanted.host is not None and entry.get("to") != names.hosts[wanted.host - 1]:
        wrong.append(f"to is not host {wanted.host}")
    if wanted.doubt not in (entry.get("in-doubt", False), ...):
        wrong.append(f"in-doubt is not {wanted.doubt}")
    text = entry.get("description", "")
    if not text and wanted.type != "success":
        wrong.append("no description")
    wrong += [f"description lacks {part!r}" for part in wanted.says if part.lower() not in text.lower()]
    for name, value in wanted.more.items():
        value = names.replace(value) if isinstance(value, str) else value  # noqa: PLW2901
        if name not in entry or value not in (entry[name], ...):
            wrong.append(f"{name} is not {value}")
    return wrong


def wrong_retry(job: Job, copy: dict[str, Any]) -> list[str]:
    """What is wrong with a copy on the retry queue."""
    wrong = [f"the retry copy has {name}" for name in (*job.gone, "seen") if name in copy]
    if not copy.get("results") or "nextattempt" not in copy:
        wrong.append(f"the retry copy lacks results or nextattempt: {copy}")
    return wrong
