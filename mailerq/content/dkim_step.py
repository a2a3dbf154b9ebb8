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
from mailerq.properties import Dkim, Dkims, dkim_of
from mailerq.smtp.address import a_label
from mailerq.smtp.downgrade import header_end, seven_bit
from mailerq.smtp.wire import normal

QUICK = 65536
"""A longer message is signed in a thread: to hash it takes longer than a millisecond."""
FEW = 4  # signatures that are quick
LONGEST_HEADER = 256 * 1024  # bytes
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
        own = job.known.dkim
        if not (self._keyring or own or described):  # what a description asks for is known when it has been read
            return False
        many = isinstance(own, list) and len(own) > FEW
        return self.slow == (described or many or not 0 < memoryview(job.known.mime).nbytes <= QUICK)

    def apply(self, message: bytes, job: Job, occasion: Occasion) -> bytes:
        """The message with its signatures on top: CRLF line ends, and of 7 bits where the host takes no more."""
        signers = [_own_signer(where, dkim, occasion.now) for where, dkim in _asked(job, occasion)]
        if self._keyring:
            signers += self._keyring.signers(from_domains(message), occasion.now)
        return sign(as_it_is_sent(message, occasion.eight_bit), signers, occasion.now) if signers else message


def _asked(job: Job, occasion: Occasion) -> list[tuple[str, Dkim]]:
    """What the job asks for, itself and in its description of the message, each with what errors call it."""
    asked = dkim_of(job.known.dkim, "dkim")
    composed = occasion.gathered.get("compose")
    if composed is not None and composed.description.dkim:
        try:
            keys = msgspec.convert(list(composed.description.dkim), Dkims)
        except msgspec.ValidationError as error:
            what = str(error).replace("`", "").replace(" - at $", ": ")
            raise ContentError(f"mime.dkim: {what}"[:300], type=Type.RESPONSIVE) from None
        asked += dkim_of(keys, "mime.dkim")
    return asked


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
