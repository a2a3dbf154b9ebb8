"""Variable envelope return paths: an address for MAIL FROM that says whom the mail was for, and the way back. Pure.

    verp = Verp.parse("bounce+{recipient.local}={recipient.domain}@bounces.example.org")
    verp.original("bounce+ann=example.com@bounces.example.org")      # 'ann@example.com'

Values are encoded so that the address is always a valid one (RFC 5321 section 4.1.2), in ASCII, and can be read back
without doubt: letters, digits, ``-``, ``.`` and ``_`` stand for themselves, everything else is ``=`` and the two hex
digits of each byte of its UTF-8. A pattern that has ``=`` in its own text has ``_`` in that role. Never ``%``: many
hosts take ``user%domain`` for an address to be sent on. Where the local part would have more than 64 bytes (section
4.5.3.1.1), values, the longest first, are replaced by a digest: it can be compared, but not read back.
"""

from __future__ import annotations

import base64
import re
from hashlib import sha256

import attrs

from mailerq.content import members
from mailerq.content.members import Member, Pieces, Value

LONGEST_LOCAL = 64
_DIGEST = 13  # characters of base32: 65 bits
_SAFE = "A-Za-z0-9._-"
_LITERAL = re.compile(r"[A-Za-z0-9!#$&'*+/=?^_`{|}~.-]*", re.ASCII)
_DOT_ATOM = re.compile(r"[^.@\s]+(?:\.[^.@\s]+)*")
_DOMAIN = re.compile(r"(?=.{1,255}$)[a-z0-9_](?:[a-z0-9_-]*[a-z0-9])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9])?)*", re.I)
_ONLY_DOMAINS = ("recipient.domain", "envelope.domain")


def digest(value: str) -> str:
    """What stands for a value that is too long: the first 13 characters of its SHA-256 in base32, lower case."""
    return base64.b32encode(sha256(_utf8(value)).digest())[:_DIGEST].decode().lower()


def _utf8(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


@attrs.frozen
class Verp:
    """A pattern: ``local`` and ``domain`` are its pieces beside the ``@``, ``escape`` begins an encoded byte."""

    text: str
    local: Pieces = attrs.field(eq=False, repr=False)
    domain: Pieces = attrs.field(eq=False, repr=False)
    escape: str = attrs.field(eq=False, repr=False)
    _reading: re.Pattern[str] = attrs.field(eq=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> Verp:
        """Raises ValueError, saying why, for a pattern whose addresses could be invalid or could not be read back."""
        before, at, after = text.rpartition("@")
        if not at or not before or not after:
            raise ValueError("is no address, as in bounce+{recipient.local}={recipient.domain}@bounces.example.org")
        local, domain = members.parse(before), members.parse(after)
        own = "".join(piece for piece in local if isinstance(piece, str))
        if not _LITERAL.fullmatch(own):
            raise ValueError("has characters in its local part that are none of letters, digits and !#$&'*+/=?^_`|~.-")
        escape = next((sign for sign in "=_" if sign not in own), "")
        if not escape:
            raise ValueError("has = and _ in its local part: one of them has to be left for encoding values")
        _check_local(local, escape, own)
        _check_domain(domain)
        return cls(text, local, domain, escape, _reading(local, domain, escape))

    @property
    def names(self) -> list[str]:
        """The members that it has."""
        return [piece.name for piece in (*self.local, *self.domain) if isinstance(piece, Member)]

    def address(self, value: Value) -> str:
        """The address for members that ``value`` gives; one that is missing is empty. Raises ValueError where none
        comes out: an empty local part, a domain that is no host name."""
        values = [value(piece.name) or "" if isinstance(piece, Member) else None for piece in self.local]
        texts = [
            piece if isinstance(piece, str) else self._encode(found or "")
            for piece, found in zip(self.local, values, strict=True)
        ]
        while sum(map(len, texts)) > LONGEST_LOCAL:
            lengths = [0 if found is None else len(text) for found, text in zip(values, texts, strict=True)]
            at = lengths.index(max(lengths))
            texts[at], values[at] = f"{self.escape}h{digest(values[at] or '')}", None
        local = "".join(texts)
        if not _DOT_ATOM.fullmatch(local):
            raise ValueError(f"{self.text} gives no address: its local part is {local!r}")
        return f"{local}@{self._host(value)}"

    def _host(self, value: Value) -> str:
        from mailerq.smtp.address import a_label

        host = "".join(piece if isinstance(piece, str) else value(piece.name) or "" for piece in self.domain)
        if not host.isascii():
            try:
                host = a_label(host)
            except ValueError:
                host = ""
        if not _DOMAIN.fullmatch(host):
            raise ValueError(f"{self.text} gives no address: its domain is no host name")
        return host

    def _encode(self, value: str) -> str:
        safe = _SAFE if self.escape == "=" else _SAFE.replace("_", "")
        if "" in value.split("."):  # a dot at either end, or two together, is not valid
            safe = safe.replace(".", "")
        return re.sub(f"[^{safe}]", self._hex, value)

    def _hex(self, found: re.Match[str]) -> str:
        return "".join(f"{self.escape}{byte:02x}" for byte in _utf8(found[0]))

    def values(self, address: str) -> dict[str, str | None] | None:
        """The members that ``address`` (in any case, with or without angle brackets) was made of; None for a value
        that only its digest is known of. None: the pattern does not give such an address."""
        found = self._reading.fullmatch(address.strip().removeprefix("<").removesuffix(">"))
        if found is None:
            return None
        return {name: self._decode(text) for name, text in zip(self.names, found.groups(), strict=True)}

    def _decode(self, text: str) -> str | None:
        if text.startswith((f"{self.escape}h", f"{self.escape}H")):
            return None
        pieces = re.split(f"{self.escape}([0-9a-fA-F]{{2}})", text)
        content = b"".join(bytes.fromhex(piece) if at % 2 else piece.encode() for at, piece in enumerate(pieces))
        return content.decode("utf-8", "replace")

    def original(self, address: str) -> str | None:
        """The recipient whose mail had ``address`` as its envelope: what programs that read bounces ask. None: it is no
        such address, or the pattern has not the whole recipient, or it was too long."""
        values = self.values(address)
        if values is None:
            return None
        whole = values.get("recipient")
        local, domain = values.get("recipient.local"), values.get("recipient.domain")
        return whole or (f"{local}@{domain}" if local and domain else None)


def _check_local(local: Pieces, escape: str, own: str) -> None:
    """That two values never run into each other, and that dots and lengths cannot be wrong."""
    before: Member | None = None
    for at, piece in enumerate(local):
        if isinstance(piece, Member):
            if before is not None and (at == 0 or not _separates(local[at - 1], escape)):
                raise ValueError(
                    f"needs a sign between {{{before.name}}} and {{{piece.name}}} that no value has, such as + or ="
                )
            before = piece
        elif piece.startswith(".") or piece.endswith(".") or ".." in piece:
            raise ValueError("has a dot at an end of its local part, beside another dot or beside a member")
    count = sum(isinstance(piece, Member) for piece in local)
    room = LONGEST_LOCAL - count * (_DIGEST + 2)
    if len(own) > room:
        raise ValueError(
            f"is too long: the local part of an address has at most {LONGEST_LOCAL} bytes, which leaves {max(room, 0)} "
            f"for its own text beside {count} members"
        )


def _separates(piece: str | Member, escape: str) -> bool:
    return isinstance(piece, str) and re.search(f"[^{escape}{_SAFE}]", piece) is not None


def _check_domain(domain: Pieces) -> None:
    found = [piece.name for piece in domain if isinstance(piece, Member)]
    if len(found) > 1 or any(name not in _ONLY_DOMAINS for name in found):
        raise ValueError("can have one of {recipient.domain} and {envelope.domain} in its domain, and nothing else")
    host = "".join(piece if isinstance(piece, str) else "x" for piece in domain)
    if not host.isascii() or not _DOMAIN.fullmatch(host):
        raise ValueError("has a domain that is no host name (in ASCII)")


def _reading(local: Pieces, domain: Pieces, escape: str) -> re.Pattern[str]:
    safe = _SAFE.replace("_", "") if escape == "_" else _SAFE
    value = f"((?:[{safe}]|{escape}[0-9a-f]{{2}})*+|{escape}h[a-z2-7]{{{_DIGEST}}})"
    parts = [value if isinstance(piece, Member) else re.escape(piece) for piece in local]
    hosts = ["([A-Za-z0-9._-]*)" if isinstance(piece, Member) else re.escape(piece) for piece in domain]
    return re.compile("".join([*parts, "@", *hosts]), re.IGNORECASE | re.ASCII)
