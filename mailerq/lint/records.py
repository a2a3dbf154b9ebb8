"""What DNS says of the sender: SPF, DKIM, DMARC, where replies go, the names of addresses. Pure: others ask."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address

from msgspec import Struct

from mailerq.lint.message import Message, domain_of, organisation
from mailerq.lint.rule import BULK, Finding, Severity
from mailerq.lint.rules import ordered
from mailerq.lint.signatures import Signature, signatures, tags_of


class Unanswered(Exception):
    """DNS does not say. The text says why."""


Ask = Callable[[str, str], Sequence[str]]
"""Name and type: the records as text (the strings of a TXT joined, an MX as ``10 host.``); none where there are none.
Raises Unanswered."""

MOST_LOOKUPS = 10
_INCLUDED = re.compile(r"[+?~-]?include:(\S+)", re.IGNORECASE)
_REDIRECT = re.compile(r"redirect=(\S+)", re.IGNORECASE)
_LOOKS = re.compile(r"[+?~-]?(?:include:|exists:|ptr\b|mx\b|a(?=$|[:/]))|redirect=", re.IGNORECASE)


class Kind(Struct, frozen=True):
    """A kind of finding: ``bulk``: an error in bulk mail."""

    severity: Severity
    why: str
    fix: str
    bulk: bool = False


_SPF = "RFC 7208"
_DMARC = "RFC 7489"
KINDS = {
    "spf-missing": Kind(
        Severity.WARNING, f"{BULK}; {_SPF} section 3", 'publish TXT "v=spf1 ip4:192.0.2.7 -all"', bulk=True
    ),
    "spf-several": Kind(Severity.ERROR, f"{_SPF} section 4.5: none counts then", "leave one"),
    "spf-open": Kind(Severity.ERROR, f"{_SPF} section 5.1: everybody may send", "end it with ~all or -all"),
    "spf-endless": Kind(Severity.WARNING, f"{_SPF} section 5.1: it says nothing of others", "end it with ~all or -all"),
    "spf-lookups": Kind(
        Severity.ERROR, f"{_SPF} section 4.6.4: at most 10, or it fails", "name addresses (ip4:, ip6:)"
    ),
    "dkim-record": Kind(Severity.ERROR, "RFC 6376 section 3.6: the signature cannot be verified", "publish the key"),
    "dkim-testing": Kind(Severity.WARNING, "RFC 6376 section 3.6.1: t=y is a test", "take t=y out"),
    "dkim-short": Kind(Severity.ERROR, "RFC 8301 section 3.2; Gmail: 1024 bits at least", "make a key of 2048 bits"),
    "dkim-shortish": Kind(Severity.HINT, "RFC 8301 section 3.2; Gmail: better 2048 bits", "make a key of 2048 bits"),
    "dmarc-missing": Kind(
        Severity.WARNING, f"{BULK}; {_DMARC} section 6", 'publish TXT "v=DMARC1; p=none; rua=mailto:..."', bulk=True
    ),
    "dmarc-several": Kind(Severity.ERROR, f"{_DMARC} section 6.6.3: none counts then", "leave one"),
    "dmarc-invalid": Kind(Severity.ERROR, f"{_DMARC} section 6.3", "write v=DMARC1; p=none, quarantine or reject"),
    "dmarc-strict": Kind(
        Severity.ERROR, f"{_DMARC} section 3.1: DMARC cannot pass", "use the domain itself, or adkim=r"
    ),
    "dmarc-reports": Kind(Severity.HINT, f"{_DMARC} section 7: nobody reports to you", "add rua=mailto:..."),
    "replies": Kind(
        Severity.ERROR, "Outlook.com: From must be able to receive replies; many hosts refuse it", "publish an MX"
    ),
    "bounces": Kind(Severity.ERROR, "RFC 5321 section 4.5.5; many hosts refuse it", "publish an MX"),
    "ptr-missing": Kind(Severity.ERROR, "Gmail, Yahoo and Outlook demand it of all senders", "publish a PTR"),
    "ptr-mismatch": Kind(Severity.ERROR, "Gmail demands it: the name must lead back to the address", "publish an A"),
    "unanswered": Kind(Severity.HINT, "DNS did not answer", "ask again"),
}
Found = Iterator[tuple[str, str]]


def look(message: Message, ips: Sequence[str], ask: Ask) -> list[Finding]:
    """What is wrong with the records of the sender, and of the local addresses ``ips``. Asks at most some dozens of
    questions; raises nothing."""
    envelope, author = domain_of(message.envelope or ""), message.from_domain
    checks: list[Found] = [_spf(envelope or author, ask), _dmarc(message, ask), _mail("replies", author, ask)]
    if envelope and envelope != author:
        checks.append(_mail("bounces", envelope, ask))
    checks += [_dkim(one, ask) for one in signatures(message)[:5]]
    checks += [_ptr(ip, ask) for ip in dict.fromkeys(ips)]
    found = []
    for check in checks:
        try:
            found += [_finding(message, name, what) for name, what in check]
        except Unanswered as problem:
            found.append(_finding(message, "unanswered", str(problem)))
    return ordered(found)


def _finding(message: Message, name: str, what: str) -> Finding:
    kind = KINDS[name]
    severity = Severity.ERROR if kind.bulk and message.bulk else kind.severity
    return Finding(severity, name, 0, what, kind.why, kind.fix)


def _spf(domain: str, ask: Ask) -> Found:
    if not domain:
        return
    policies = _policies(domain, ask)
    if not policies:
        yield "spf-missing", f"{domain} has no SPF record"
        return
    if len(policies) > 1:
        yield "spf-several", f"{domain} has {len(policies)} SPF records"
    policy = policies[0]
    words = policy.lower().split()
    if "+all" in words or "all" in words:
        yield "spf-open", f"the SPF record of {domain} lets everybody send: {policy[:200]}"
    elif not any(word.endswith("all") or word.startswith("redirect=") for word in words):
        yield "spf-endless", f"the SPF record of {domain} has no all at its end: {policy[:200]}"
    count = _lookups(policy, ask, {domain})
    if count > MOST_LOOKUPS:
        yield "spf-lookups", f"the SPF record of {domain} leads to more than {MOST_LOOKUPS} questions to DNS"


def _policies(domain: str, ask: Ask) -> list[str]:
    """Always in the same order: that in which a server gives them may be another each time."""
    texts = sorted(ask(domain, "TXT"))
    return [text for text in texts if text.lower() == "v=spf1" or text.lower().startswith("v=spf1 ")]


def _lookups(policy: str, ask: Ask, seen: set[str]) -> int:
    """How many questions a policy costs; it stops counting when there are too many."""
    count = 0
    waiting = [policy]
    while waiting and count <= MOST_LOOKUPS:
        words = waiting.pop().split()
        count += sum(1 for word in words if _LOOKS.match(word))
        for word in words:
            found = _INCLUDED.fullmatch(word) or _REDIRECT.fullmatch(word)
            name = found[1].lower().rstrip(".") if found else ""
            if name and "%" not in name and name not in seen and len(seen) <= MOST_LOOKUPS:
                seen.add(name)
                waiting += _policies(name, ask)[:1]
    return count


def _dkim(signature: Signature, ask: Ask) -> Found:
    name = f"{signature.tags.get('s', '')}._domainkey.{signature.domain}"
    records = ask(name, "TXT")
    if not records:
        yield "dkim-record", f"there is no key at {name}"
        return
    tags = tags_of(records[0])
    key = tags.get("p", "")
    if not key:
        yield (
            "dkim-record",
            f"the key at {name} was revoked (p= is empty)" if "p" in tags else f"{name} has no key (p=)",
        )
        return
    if "y" in tags.get("t", "").split(":"):
        yield "dkim-testing", f"{name} says that it is a test (t=y)"
    if tags.get("k", "rsa") == "rsa":
        bits = _bits(key)
        if bits == 0:
            yield "dkim-record", f"the key at {name} cannot be read"
        elif bits < 1024:
            yield "dkim-short", f"the key at {name} has {bits} bits"
        elif bits < 2048:
            yield "dkim-shortish", f"the key at {name} has {bits} bits"


def _bits(key: str) -> int:
    """The length of an RSA key; 0: it is none."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        found = load_der_public_key(base64.b64decode(key, validate=True))
    except (binascii.Error, ValueError, UnsupportedAlgorithm):
        return 0
    return found.key_size if isinstance(found, RSAPublicKey) else 0


def _dmarc(message: Message, ask: Ask) -> Found:
    domain = message.from_domain
    if not domain:
        return
    names = dict.fromkeys((domain, organisation(domain)))
    policies: list[str] = []
    for name in names:
        policies = [
            text for text in ask(f"_dmarc.{name}", "TXT") if text.lower().replace(" ", "").startswith("v=dmarc1")
        ]
        if policies:
            break
    if not policies:
        yield "dmarc-missing", f"{domain} has no DMARC record"
        return
    if len(policies) > 1:
        yield "dmarc-several", f"{domain} has {len(policies)} DMARC records"
    tags = tags_of(policies[0])
    if tags.get("p", "").lower() not in ("none", "quarantine", "reject"):
        yield "dmarc-invalid", f"the DMARC record of {domain} has no policy (p=): {policies[0][:200]}"
    if "rua" not in tags:
        yield "dmarc-reports", f"the DMARC record of {domain} asks for no reports (rua=)"
    signed = [one.domain for one in signatures(message)]
    spf = tags.get("aspf") == "s" and domain_of(message.envelope or "") != domain
    if tags.get("adkim") == "s" and signed and domain not in signed and spf:
        yield "dmarc-strict", f"{domain} wants strict alignment, and neither MAIL FROM nor a signature has that domain"


def _mail(name: str, domain: str, ask: Ask) -> Found:
    if not domain:
        return
    hosts = [record.split()[-1] for record in ask(domain, "MX") if record.split()]
    if hosts == ["."]:
        yield name, f"{domain} says that it takes no mail (null MX)"
    elif not hosts and not ask(domain, "A") and not ask(domain, "AAAA"):
        yield name, f"{domain} has neither MX nor address"


def _ptr(ip: str, ask: Ask) -> Found:
    address = ip_address(ip)
    names = [name.rstrip(".") for name in ask(address.reverse_pointer, "PTR")]
    if not names:
        yield "ptr-missing", f"{ip} has no name (PTR)"
        return
    kind = "A" if address.version == 4 else "AAAA"
    if not any(_same(address, found) for name in names[:5] for found in ask(name, kind)):
        yield "ptr-mismatch", f"the name of {ip}, {names[0][:100]}, does not lead back to it"


def _same(address: object, text: str) -> bool:
    try:
        return ip_address(text) == address
    except ValueError:
        return False
