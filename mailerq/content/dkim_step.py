"""The last step: a message is signed, with the keys of its job and those that the configuration has for its author."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from twisted.logger import Logger
from zope.interface import implementer

from mailerq.attempt import Type
from mailerq.content.arc import arc_set
from mailerq.content.author import from_domains
from mailerq.content.dkim_key import read_key
from mailerq.content.dkim_keyring import Keyring, ways
from mailerq.content.dkim_rules import DkimRule, open_key_files
from mailerq.content.dkim_signing import Signable, Signer, dkim_signature, signable
from mailerq.content.header_block import split
from mailerq.content.step import ContentError, IContentStep, Occasion
from mailerq.job import Job, parse_time
from mailerq.properties import Dkim, dkim_of
from mailerq.smtp.address import a_label
from mailerq.smtp.downgrade import header_end, seven_bit
from mailerq.smtp.wire import normal

QUICK = 65536
"""A longer message is signed in a thread: to hash it takes longer than a millisecond."""
LONGEST_HEADER = 1024 * 1024  # bytes
_log = Logger()


@implementer(IContentStep)
class DkimStep:
    """Signs. There are two of it, of which each message takes one: ``slow`` for what is long, or not known to be
    short."""

    name = "dkim"

    def __init__(self, keyring: Keyring, slow: bool) -> None:
        self.slow = slow
        self._keyring = keyring

    def wanted(self, job: Job, described: bool) -> bool:
        """Whether it has a key of its own, or may be from somebody whom the configuration has one for."""
        if not (self._keyring or job.known.dkim or (job.is_responsive and b'"dkim"' in job.described())):
            return False
        size = memoryview(job.known.mime).nbytes
        return self.slow == (described or not 0 < size <= QUICK)

    def apply(self, message: bytes, job: Job, occasion: Occasion) -> bytes:
        """The message with its signatures on top: CRLF line ends, and of 7 bits where the host takes no more."""
        signers = _own_signers(job, occasion.now)
        if self._keyring:
            signers += self._keyring.signers(from_domains(message), occasion.now)
        return sign(as_it_is_sent(message, occasion.eight_bit), signers, occasion.now) if signers else message


def _own_signers(job: Job, now: float) -> list[Signer]:
    """Those that the job asks for, itself or in its description of the message."""
    asked = dkim_of(job.known.dkim, "dkim")
    if job.is_responsive and b'"dkim"' in job.described():
        try:
            description = msgspec.json.decode(job.described(), type=_Description)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise ContentError(f"mime.dkim: {error}"[:300], type=Type.RESPONSIVE) from None
        asked += dkim_of(description.dkim, "mime.dkim")
    return [_own_signer(where, dkim, now) for where, dkim in asked]


class _Description(msgspec.Struct):
    dkim: Dkim | list[Dkim] | msgspec.UnsetType | None = None


def _own_signer(where: str, dkim: Dkim, now: float) -> Signer:
    """Raises ContentError, which names the member and never shows the key."""
    try:
        key = read_key(dkim.key)
    except ValueError as error:
        raise ContentError(f"{where}.key: {error}") from None
    if "arc" in dkim.protocols and key.kind != "rsa":
        raise ContentError(f"{where}.protocols: ARC needs an RSA key")
    for name in dkim.headers:
        if not signable(name):
            raise ContentError(f"{where}.headers: {name} cannot be signed: it changes on the way")
    return Signer(
        domain=_ascii(dkim.domain),
        selector=_ascii(dkim.selector),
        key=key,
        expire=_expire(f"{where}.expire", dkim.expire, now),
        headers=tuple(name.lower() for name in dkim.headers),
        relaxed=ways(dkim.canonicalization),
        report=bool(dkim.report),
        priority=dkim.priority,
        dkim="dkim" in dkim.protocols,
        arc="arc" in dkim.protocols,
    )


def _ascii(name: str) -> str:
    return name.lower() if name.isascii() else a_label(name)


def _expire(where: str, given: str, now: float) -> int | None:
    if not given:
        return None
    try:
        expire = int(parse_time(where, given))
    except ValueError as error:
        raise ContentError(str(error)) from None
    if expire <= now:
        raise ContentError(f"{where}: {given} is over")
    return expire


def as_it_is_sent(message: bytes, eight_bit: bool) -> bytes:
    """``message`` as it goes to a host that takes 8 bits, or does not. What can be written in ASCII in its header is in
    any case, so that nobody on the way has a reason to rewrite it (RFC 6376 section 5.3)."""
    if not message.isascii():
        if not eight_bit:
            message = seven_bit(message) or message
        elif not message[: header_end(message)].isascii():
            message = seven_bit(message, headers_only=True) or message
    return normal(message)


def sign(message: bytes, signers: Iterable[Signer], now: float) -> bytes:
    """``message`` (line ends CRLF) with a signature of each of ``signers`` on top, those of low priority first, and an
    ARC set by the first that makes one. Raises ContentError where the message cannot be signed."""
    if header_end(message) > LONGEST_HEADER:
        raise ContentError(f"dkim: the header has more than {LONGEST_HEADER} bytes, which is too much to be signed")
    signed = Signable(split(message), message)
    authors = len(signed.all("from"))
    if authors != 1:
        count = "no From field" if not authors else f"{authors} From fields"
        raise ContentError(f"dkim: the message has {count}; it needs one to be signed")
    once: dict[tuple[str, str, bool], Signer] = {}
    for signer in signers:
        once.setdefault((signer.domain, signer.selector, signer.dkim), signer)
    ordered = sorted(once.values(), key=lambda signer: signer.priority)
    for field in [dkim_signature(signed, signer, now) for signer in ordered if signer.dkim][::-1]:
        signed.put_on_top(field)
    sealer = next((signer for signer in ordered if signer.arc), None)
    for field in arc_set(signed, sealer, now) if sealer else ():
        signed.put_on_top(field)
    return b"".join(signed.pieces())


def dkim_steps(rules: Sequence[DkimRule]) -> list[IContentStep]:
    """The two of it, for the keys of the configuration. Key files that everybody can read are said to the log."""
    for path in open_key_files(rules):
        _log.warn("dkim: everybody on this machine can read the key in {path}: chmod o-r {path}", path=path)
    keyring = Keyring(rules)
    return [DkimStep(keyring, False), DkimStep(keyring, True)]
