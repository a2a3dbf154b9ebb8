"""Sealing a message with what is known of where it comes from: Authenticated Received Chain (RFC 8617). Pure.

Nothing is looked up in DNS here. What the message's own ``Authentication-Results`` say is what is sealed, the state of
an earlier chain included; whoever takes mail in writes that field, and removes those that others have written (RFC
8601 section 5).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mailerq.content.dkim_signing import SIGNED, Signable, Signer, listed, sealed
from mailerq.content.header_block import Field, make

RESULTS, SIGNATURE, SEAL = "arc-authentication-results", "arc-message-signature", "arc-seal"
MOST_SETS = 50  # RFC 8617 section 4.2.1
_INSTANCE = re.compile(rb"(?:\A|;)[ \t]*i[ \t]*=[ \t]*([0-9]{1,4})[ \t]*(?:;|\Z)")
_STATE = re.compile(rb"(?:\A|;)[ \t]*cv[ \t]*=[ \t]*([a-z]+)", re.IGNORECASE)
_SERVER = re.compile(r"([^\s;()\"=]+)(?:[ \t]+[0-9]+)?[ \t]*;[ \t]*(.+)", re.DOTALL)
_CHAIN = re.compile(r"(?:\A|;)[ \t]*arc[ \t]*=[ \t]*(pass|fail|none)\b", re.IGNORECASE)


def arc_set(message: Signable, signer: Signer, now: float) -> list[bytes]:
    """The three fields of the next set, the lowest first, as they are put on top of one another. None where an earlier
    chain must not be gone on with: it has failed, is full, or nothing says whether it is valid."""
    sets = _sets(message)
    server, results = _results(message, signer.domain)
    highest = max(sets, default=0)
    state = _state(sets, highest, results)
    if state is None or highest >= MOST_SETS:
        return []
    number = highest + 1
    first = _results_field(number, server, results)
    common = [f"a={signer.key.algorithm}", f"d={signer.domain}", f"s={signer.selector}", f"t={int(now)}"]
    second = _message_signature(message, signer, [f"i={number}", *common])
    before = _in_order(sets) if state == "pass" else []
    tags = [f"i={number}", f"cv={state}", *common]
    return [first, second, sealed("ARC-Seal", tags, [*before, first, second], True, signer.key)]


def _message_signature(message: Signable, signer: Signer, tags: list[str]) -> bytes:
    """As a DKIM signature, which it covers, but with an instance and no version (RFC 8617 section 4.1.2)."""
    fields = message.signed((*SIGNED, *signer.headers, "dkim-signature"))
    header, body = (("simple", "relaxed")[way] for way in signer.relaxed)
    names = listed([*(field.key for field in fields), "from"])
    tags = [*tags, f"c={header}/{body}", names, f"bh={message.body_hash(signer.relaxed[1])}"]
    return sealed("ARC-Message-Signature", tags, (field.raw for field in fields), signer.relaxed[0], signer.key)


def _sets(message: Signable) -> dict[int, dict[str, list[Field]]]:
    """The sets that are there, by instance; fields that name none are of instance 0."""
    found: dict[int, dict[str, list[Field]]] = {}
    for name in (RESULTS, SIGNATURE, SEAL):
        for field in message.all(name):
            instance = _INSTANCE.search(field.value)
            number = int(instance[1]) if instance else 0
            found.setdefault(number, {}).setdefault(name, []).append(field)
    return found


def _state(sets: dict[int, dict[str, list[Field]]], highest: int, results: str) -> str | None:
    """What stands in ``cv=``; None: nothing may be added."""
    if not sets:
        return "none"
    seals = sets[highest].get(SEAL, ())
    said = [found[1].lower() for seal in seals if (found := _STATE.search(seal.value))]
    if b"fail" in said:
        return None  # a chain that has failed ends there
    whole = sorted(sets) == list(range(1, highest + 1)) and all(
        len(one.get(name, ())) == 1 for one in sets.values() for name in (RESULTS, SIGNATURE, SEAL)
    )
    if not whole:
        return "fail"
    told = _CHAIN.search(results)
    state = told[1].lower() if told else "none"
    return None if state == "none" else state


def _in_order(sets: dict[int, dict[str, list[Field]]]) -> Sequence[bytes]:
    return [sets[number][name][0].raw for number in sorted(sets) for name in (RESULTS, SIGNATURE, SEAL)]


def _results(message: Signable, domain: str) -> tuple[str, str]:
    """Who has checked the message, by the uppermost ``Authentication-Results``, and all that it says came of it."""
    server, said = "", []
    for field in message.all("authentication-results"):
        found = _SERVER.fullmatch(field.value.decode("utf-8", "replace"))
        if found and (not server or found[1] == server):
            server = found[1]
            said.append(found[2].strip(" \t;"))
    said = [one for one in said if one and one.lower() != "none"]
    return server or domain, "; ".join(said) or "none"


def _results_field(number: int, server: str, results: str) -> bytes:
    try:
        return make("ARC-Authentication-Results", f"i={number}; {server}; {results}").raw
    except ValueError:  # a control character
        return make("ARC-Authentication-Results", f"i={number}; {server}; none").raw
