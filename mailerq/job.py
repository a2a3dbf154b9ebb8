"""A job: the JSON object from the outbox, its known properties typed, everything else as the bytes it came in.

Reads and rewrites; decides nothing. What is not ours goes back byte for byte.
"""

from __future__ import annotations

import json
import re
import zlib
from calendar import timegm
from datetime import UTC, datetime
from json.decoder import scanstring  # type: ignore[attr-defined]

import msgspec
from msgspec import Raw, Struct

from mailerq.attempt import Attempt, Type
from mailerq.bounce_classes import GREYLISTED
from mailerq.dsn.asked import Asked
from mailerq.dsn.asked import read as read_dsn
from mailerq.properties import Dsn, Entry, Flag, Known, Queues, Smarthost, dkim_of

MAX_UNPACKED = 256 * 1024 * 1024  # bytes a compressed body may unpack to: more is no mail, but a bomb


def _greylisted_from(results: list[Entry]) -> str | None:
    """Where the last attempt came from, if it was greylisted."""
    last = next((entry for entry in reversed(results) if entry.type != Type.IDLE), None)
    if last is None or last.bounce_class != GREYLISTED or not isinstance(last.source, str):
        return None
    return last.source or None


class Invalid(Struct, frozen=True):
    """A body that is no job at all: ``why`` goes into the header of the message on the invalid queue."""

    why: str


_decode_pieces = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_known = msgspec.json.Decoder(Known).decode
_decode_text = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode
_KNOWN = Known.__struct_fields__
_QUOTE, _BRACE = b'"{'
_AS_IT_IS = ("utf-8", "identity")  # content encodings that are none
_LONGEST_FLOW = 1000  # bytes of a value that jobs take turns by
_HALF = re.compile("[\ud800-\udfff]")  # of a surrogate pair: no text that could be sent
_UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)", re.ASCII)
_ADDRESS = re.compile(
    r'(?:"(?:[^"\\\x00-\x1f\x7f]|\\[ -~])*"|[^\s"<>()\[\]:;,\\@\x00-\x20\x7f]+)@[^\s<>@\x00-\x20\x7f]+'
)
_PATH = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<where>.*)`)?$", re.DOTALL)


class Job(Struct, eq=False):
    """One job. ``pieces`` holds every property, in order, as it will be written back.

    ``problem`` says why it cannot be used, naming the property; None if it can. ``attempts`` counts the entries of
    ``results`` that are attempts (``idle`` is none), ``entries`` all of them, ``idles`` the ``idle`` ones at the end.
    Times are epoch seconds, None where the job gives none. ``added`` are the entries that were appended here.
    ``is_responsive``: ``mime`` is a description of a message, not a message. ``plain``: the message is in the job, and
    nothing is to be done to it. ``dsn``: what the sender wants to be told, None where the job says nothing of it;
    ``told``: the sender was told that it is late.
    """

    pieces: dict[str, Raw]
    known: Known
    problem: str | None
    domain: str = ""
    maxdelivertime: float | None = None
    nextattempt: float | None = None
    seen: float | None = None
    seen_id: str = ""
    turn: float = 0.0
    added: list[bytes] = []
    entries: int = 0
    attempts: int = 0
    idles: int = 0
    is_responsive: bool = False
    plain: bool = True
    dsn: Asked | None = None
    told: bool = False
    _greylisted_from: str | None = None

    def __post_init__(self) -> None:
        results = self.known.results
        if results:
            self.entries = self.attempts = len(results)
            self.attempts -= sum(entry.type == Type.IDLE for entry in results)
            for entry in reversed(results):
                if entry.type != Type.IDLE:
                    break
                self.idles += 1
            self._greylisted_from = _greylisted_from(results)
        if self.problem is None:
            self.problem = self._check()

    def __repr__(self) -> str:
        return f"<Job for {self.known.recipient}>"  # never what is in it

    def _check(self) -> str | None:
        known = self.known
        try:
            if known.recipient is None:
                return "recipient: is missing"
            self.domain = _address("recipient", known.recipient)
            if known.envelope:
                _address("envelope", known.envelope)
            if known.maxdelivertime or "maxdelivertime" in self.pieces:
                self.maxdelivertime = parse_time("maxdelivertime", known.maxdelivertime)
            if known.nextattempt is not None:
                self.nextattempt = parse_time("nextattempt.time", known.nextattempt.time)
            if "delayed" in self.pieces:
                delayed = parse_time("delayed", known.delayed)
                self.nextattempt = max(delayed, self.nextattempt or delayed)
            if known.seen:
                self.seen, self.seen_id, self.turn, self.told = _read_seen(known.seen)
            if isinstance(known.dsn, Dsn):
                self.dsn = read_dsn(known.dsn)
        except ValueError as error:
            return str(error)
        if known.dkim or known.headers or known.data or known.inlinecss or known.normalize:  # UNSET is false
            self.plain = False
            if known.dkim and (problem := self._check_dkim()):
                return problem
            if known.headers and (problem := known.headers.problem()):
                return problem
        return self._check_message() or self._check_smarthost()

    def _check_message(self) -> str | None:
        mime = memoryview(self.known.mime)
        if not mime:
            self.plain = False
            return None if self.known.key else "mime: is missing, and there is no key"
        if mime[0] != _QUOTE:
            self.plain = False
            self.is_responsive = mime[0] == _BRACE
            return None if self.is_responsive else "mime: expected a string or an object"
        return None

    def _check_smarthost(self) -> str | None:
        smarthost = self.known.smarthost
        if isinstance(smarthost, Smarthost):
            if not (smarthost.hostname or smarthost.name):
                return "smarthost.hostname: is missing"
            if not 0 < int(smarthost.port) < 65536:
                return "smarthost.port: expected 1 to 65535"
        return None

    def _check_dkim(self) -> str | None:
        try:
            for where, dkim in dkim_of(self.known.dkim, "dkim"):
                if dkim.expire:
                    parse_time(f"{where}.expire", dkim.expire)
        except ValueError as error:
            return str(error)
        return None

    def refuse_own_queue(self, outbox: str) -> None:
        """Results on the outbox (or on its way there, in a delay queue) would be taken for jobs, for ever: such a job
        cannot be used, and the configured queues get its result."""
        queues = self.known.queues
        if not isinstance(queues, Queues):
            return
        for name in ("results", "success", "failure", "failures", "retry"):
            queue = getattr(queues, name)
            if queue == outbox or (queue and queue.startswith(f"{outbox}.delay.")):
                self.known.queues = msgspec.UNSET
                self.problem = f"queues.{name}: is the outbox ({_cut(queue)!r}): results would be taken for jobs"
                return

    @property
    def tags(self) -> tuple[str, ...]:
        """The labels that it carries."""
        tags = self.known.tags
        return tuple(tags) if tags is not msgspec.UNSET else ()

    @property
    def priority(self) -> int:
        """0 to 255; the higher goes first."""
        priority = self.known.priority
        return priority if isinstance(priority, int) else 0

    def flow(self, fair_by: str | None) -> str:
        """Whose mail it is, where those take turns: the value of the property ``fair_by`` if that is a text or a
        number, of ``tag`` or ``tags`` the first tag; else '' (and for what is too long to be a name, too)."""
        if fair_by is None:
            return ""
        if fair_by in ("tag", "tags"):
            tags = self.known.tags
            return tags[0] if tags is not msgspec.UNSET and tags else ""
        text = bytes(self.pieces.get(fair_by, b"")).strip()
        if len(text) > _LONGEST_FLOW:
            return ""
        if text[:1] != b'"':
            return text.decode("ascii", "replace") if text[:1] in b"-0123456789" else ""
        try:
            return _decode_text(text)
        except _UNREADABLE:  # half of a surrogate pair
            return ""

    @property
    def sticky_source(self) -> str | None:
        """The local address that a host which asked to come again (greylisting) knows; None: any will do."""
        return self._greylisted_from

    @property
    def was_greylisted(self) -> bool:
        """Whether it had been greylisted before it came into our hands."""
        return any(entry.bounce_class == GREYLISTED for entry in self.known.results)

    def message(self) -> bytes | None:
        """The message's bytes (UTF-8 of the string in ``mime``); None where the job has only a key. For jobs that can
        be used, and are not responsive."""
        mime = self.known.mime
        return _decode_text(mime).encode() if memoryview(mime) else None

    def described(self) -> bytes:
        """The description (JSON) of a responsive message."""
        return bytes(self.known.mime)

    def body(self) -> bytes | None:
        """The message, or its description where it is responsive; None where the job has only a key."""
        return self.described() if self.is_responsive else self.message()

    def append(self, attempt: Attempt) -> None:
        """Make ``results`` one entry longer."""
        entry = _encode(attempt)
        self.added.append(entry)
        self.entries += 1
        if attempt.type == Type.IDLE:
            self.idles += 1
        else:
            self._greylisted_from = attempt.source if attempt.bounce_class == GREYLISTED else None
            self.attempts += 1
            self.idles = 0

    def restore(self, entries: list[bytes]) -> None:
        """Have the entries again that an earlier life had appended."""
        self.added = list(entries)
        self.entries += len(entries)

    def entry_number(self) -> int:
        """The number of the next entry of ``results``."""
        return self.entries + 1

    def written(self, *, without: tuple[str, ...], changes: dict[str, bytes]) -> bytes:
        """The job as JSON: the properties in ``without`` left out, those in ``changes`` (JSON) replaced where they
        stand or added at the end, and ``results`` extended by what was appended."""
        pieces = self.pieces.copy()
        for name in without:
            pieces.pop(name, None)
        for name, value in changes.items():
            pieces[name] = Raw(value)
        if self.added:
            pieces["results"] = Raw(self._extended(pieces.get("results")))
        return encode_pieces(pieces)

    def _extended(self, before: Raw | None) -> bytes:
        added = b",".join(self.added)
        if before is None or not self.known.results:
            return b"[" + added + b"]"
        return bytes(before).strip()[:-1].rstrip() + b"," + added + b"]"


def read(body: bytes, encoding: str | None = None) -> Job | Invalid:
    """The job in ``body``. Invalid: it is no JSON object. A job that is one but cannot be used has a ``problem``."""
    if encoding and encoding.lower() not in _AS_IT_IS:
        unpacked = unpack(body, encoding)
        if isinstance(unpacked, Invalid):
            return unpacked
        body = unpacked
    try:
        pieces = _decode_pieces(body)
        if not body.isascii():
            body.decode()  # inside raw pieces nobody else looks
    except _UNREADABLE:
        return _read_slowly(body)
    try:
        return Job(pieces, _known(pieces), None)
    except _UNREADABLE as error:
        return _unusable(pieces, str(error))


def _known(pieces: dict[str, Raw]) -> Known:
    """The properties that are known. The message, which is the most of a job, is not gone through once more."""
    mime = pieces.get("mime")
    if mime is None:
        return _decode_known(_encode(pieces))
    rest = pieces.copy()
    del rest["mime"]
    known = _decode_known(_encode(rest))
    known.mime = mime
    return known


def unpack(body: bytes, encoding: str) -> bytes | Invalid:
    """A body as it was before compression."""
    if encoding.lower() != "gzip":
        return Invalid(f"content encoding {encoding!r} is not known; only gzip is")
    unpacker = zlib.decompressobj(wbits=31)
    try:
        unpacked = unpacker.decompress(body, MAX_UNPACKED)
    except zlib.error as error:
        return Invalid(f"is no gzip: {error}")
    if not unpacker.eof:
        return Invalid("is cut short or unpacks to more than 256 MB")
    return unpacked


def _read_slowly(body: bytes) -> Job | Invalid:
    """What msgspec refuses: no JSON, or a lone surrogate (``"\\ud83d"``, as PHP and JavaScript emit)."""
    try:
        text = body.decode()
        values = json.loads(text, parse_constant=_no_constant, parse_int=_integer)
        if not isinstance(values, dict):
            return Invalid(f"is JSON, but no object: {type(values).__name__}")
        pieces = _split(text)
    except UnicodeDecodeError as error:
        return Invalid(f"is no UTF-8: byte {error.start}")
    except RecursionError:
        return Invalid("is nested too deeply")
    except ValueError as error:
        return Invalid(f"is no JSON: {error}")
    for name in _KNOWN:
        if name not in ("tags", "results") and _HALF.search(json.dumps(values.get(name), ensure_ascii=False)):
            return _unusable(pieces, f"Half of a surrogate pair, which is no text - at `$.{name}`")
    wanted = {name: values[name] for name in _KNOWN if name in values and name != "mime"}
    try:
        known = msgspec.convert(wanted, Known)
    except _UNREADABLE as error:
        return _unusable(pieces, str(error))
    known.mime = pieces.get("mime", Raw())
    if isinstance(known.tags, list):  # half of a surrogate pair comes back in the result; nobody else can use it
        known.tags = [_HALF.sub("\ufffd", tag) for tag in known.tags]
    return Job(pieces, known, None)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


def _integer(digits: str) -> int | float:
    """Python takes no integer of more than 4300 digits; no property that we read is that large."""
    return int(digits) if len(digits) < 100 else float("inf")


def _split(text: str) -> dict[str, Raw]:
    """The properties of an object that ``json`` has already read once, each as it is written."""
    raw_decode = json.JSONDecoder(parse_int=_integer).raw_decode
    blank = re.compile(r"[ \t\r\n]*")
    pieces: dict[str, Raw] = {}

    def skip(at: int) -> int:
        return blank.match(text, at).end()  # type: ignore[union-attr]

    at = skip(skip(0) + 1)
    while text[at] == '"':
        name, at = scanstring(text, at + 1)
        start = skip(skip(at) + 1)
        _, end = raw_decode(text, start)
        pieces[name] = Raw(text[start:end].encode())
        at = skip(skip(end) + 1) if text[skip(end)] == "," else skip(end)
    return pieces


def _unusable(pieces: dict[str, Raw], error: str) -> Job:
    """A job of which a known property has a wrong shape. Its own ``queues`` still hold, where they can be read, and so
    does its history."""
    known = Known()
    for name, kind in (("queues", Queues), ("results", list[Entry]), ("keepmime", Flag)):
        if name in pieces:
            try:
                setattr(known, name, msgspec.json.decode(pieces[name], type=kind))
            except _UNREADABLE:
                continue
    if "recipient" in pieces:
        try:
            known.recipient = _decode_text(pieces["recipient"])
        except _UNREADABLE:
            known.recipient = None
    found = _PATH.match(error)
    what, where = (found["what"], found["where"]) if found else (error, None)
    what = what.replace("`", "")
    what = _cut(what[:1].lower() + what[1:])
    problem = f"{where}: {what}" if where else what
    job = Job(pieces, known, problem)
    if known.recipient and "@" in known.recipient:
        job.domain = known.recipient.rpartition("@")[2].lower()
    return job


def encode_pieces(pieces: dict[str, Raw]) -> bytes:
    """A JSON object of raw values."""
    try:
        return _encode(pieces)
    except _UNREADABLE:  # a property's name with a lone surrogate
        return b"{" + b",".join(json.dumps(name).encode() + b":" + bytes(raw) for name, raw in pieces.items()) + b"}"


def parse_time(name: str, text: str) -> float:
    """Epoch seconds of ``YYYY-MM-DD HH:MM:SS`` in UTC; raises ValueError that names the property."""
    found = _TIME.fullmatch(text)
    try:
        if not found:
            raise ValueError
        return float(timegm(datetime(*map(int, found.groups()), tzinfo=UTC).timetuple()))  # type: ignore[misc,arg-type]
    except ValueError:
        raise ValueError(f"{name}: {_cut(text)!r} is no time of the form YYYY-MM-DD HH:MM:SS") from None


def write_seen(seconds: float, identity: str, turn: float = 0.0, told: bool = False) -> bytes:
    """What the engine writes into ``seen`` of a job that goes back: first pick-up (0: its time has not begun), the
    job's identity, the turn it was promised if it was, and whether its sender was told that it is late."""
    if told:
        return b'"%d %s %d told"' % (seconds, identity.encode(), turn)
    if turn:
        return b'"%d %s %d"' % (seconds, identity.encode(), turn)
    return b'"%d %s"' % (seconds, identity.encode())


def _read_seen(text: str) -> tuple[float | None, str, float, bool]:
    """First pick-up (None: its time has not begun), identity and turn ('' and 0 where there is none), and whether the
    sender was told."""
    seconds, _, rest = text.removesuffix(" told").partition(" ")
    identity, _, turn = rest.partition(" ")
    if not _is_count(seconds) or not identity.isascii() or len(identity) > 64 or not (not turn or _is_count(turn)):
        return parse_time("seen", text), "", 0.0, False
    return float(seconds) or None, identity, float(turn or 0), text.endswith(" told")


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 11


def _address(name: str, text: str) -> str:
    """The domain of an address, lower case; raises ValueError where it is none that SMTP could carry."""
    if len(text) > 1000 or not _ADDRESS.fullmatch(text):
        raise ValueError(f"{name}: {_cut(text)!r} is no address")
    return text.rpartition("@")[2].lower()


def _cut(text: str) -> str:
    return text if len(text) <= 100 else text[:100] + "…"
