"""Address fields that are filled in: what a value says can be a name or an address, and never more (RFC 5322 section
3.4). Pure.

The signs that give such a field its structure are taken out of values before they come in (``guarded``), and put back
once the structure is known. Only where a value is all there is between two commas, it may itself be a list of
addresses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mailerq.content.encoded_words import encoded, is_plain, without_controls

_SIGNS = '()<>,;:\\"'
_BASE = 0xF0000  # a private plane: no mail program shows these
_GUARDS = {ord(sign): _BASE + ord(sign) for sign in _SIGNS}
_BACK = {guard: sign for sign, guard in _GUARDS.items()}
_STRANGE = re.compile(f"[{chr(_BASE)}-{chr(_BASE + 127)}]")
_TAG_OR_SIGN = re.compile(r"\{[^{}]*\}|[()<>,;:\\\"]")
_ADDRESS = re.compile(r'(?:"(?:[^"\\\s]|\\[!-~])*"|[^\s"<>()\[\]:;,\\@]+)@[^\s<>()@,;:"\\]+')
_MAILBOX = re.compile(r"([^<>]*)<([^<>]*)>[ \t]*(?:\([^()]*\))?[ \t]*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*")
_LONGEST = 1000


def guarded(value: str) -> str:
    """A value that is filled in, as text without structure."""
    return without_controls(_STRANGE.sub("\ufffd", value)).translate(_GUARDS)


def guarded_template(text: str) -> str:
    """What stood in an encoded word, where it has no structure; what is in tags stays as it is."""
    return _TAG_OR_SIGN.sub(lambda found: found[0] if len(found[0]) > 1 else guarded(found[0]), text)


def written(filled: str) -> str:
    """The value of an address field, as it may stand in a message; empty where there is no address. Raises
    ValueError, saying what is wrong."""
    return ", ".join(_addresses(filled, True))


def _addresses(text: str, values: bool) -> Iterator[str]:
    for one in _between_commas(text):
        item = one.strip()
        if not item:
            continue
        mailbox = _MAILBOX.fullmatch(item)
        if mailbox:
            yield _mailbox(mailbox[1].strip(), mailbox[2])
        elif values and _STRANGE.search(item):  # all of it is a value
            yield from _addresses(_back(item), False)
        else:
            yield _mailbox("", item)


def _between_commas(text: str) -> Iterator[str]:
    """The parts of a list; commas in quotes, in <> and in () are none."""
    start, quoted, depth, at = 0, False, 0, 0
    while at < len(text):
        sign = text[at]
        if sign == "\\":
            at += 1
        elif sign == '"':
            quoted = not quoted
        elif not quoted:
            if sign in "(<":
                depth += 1
            elif sign in ")>":
                depth -= 1
            elif sign == "," and depth <= 0:
                yield text[start:at]
                start = at + 1
        at += 1
    yield text[start:]


def _back(text: str) -> str:
    return text.translate(_BACK)


def _mailbox(name: str, address: str) -> str:
    address = _back(address).strip()
    if len(name) > 2 * _LONGEST:
        raise ValueError(f"the name of {address[:100]!r} is longer than {2 * _LONGEST} characters")
    if len(address) > _LONGEST or not _ADDRESS.fullmatch(address):
        raise ValueError(f"{address[:100]!r} is no address")
    if not name:
        return address
    return f"{_phrase(_back(_QUOTED.sub(_unquoted, name)).strip())} <{address}>"


def _unquoted(found: re.Match[str]) -> str:
    return re.sub(r"\\(.)", r"\1", found[1])


def _phrase(name: str) -> str:
    if not is_plain(name):
        return encoded(name)
    if _ATOMS.fullmatch(name):
        return name
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
