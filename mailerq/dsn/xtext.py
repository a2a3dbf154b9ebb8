"""Text as a parameter of MAIL and RCPT: nothing in it can end the parameter or the line. Pure."""

from __future__ import annotations

import re

_NOT_XTEXT = re.compile(r"[^!-*,-<>-~]")
_NOT_UTF8_XTEXT = re.compile(r"[^!-*,-<>-\[\]-~]")
_NOT_UNITEXT = re.compile(r"[\x00-\x20+=\\\x7f-\x9f\u2028\u2029]")


def xtext(text: str) -> str:
    """ASCII as ``xtext`` (RFC 3461 section 4)."""
    return _NOT_XTEXT.sub(lambda found: f"+{ord(found[0]):02X}", text)


def address_text(kind: str, address: str, utf8: bool = False) -> str:
    """An address of the type ``kind`` as a parameter: ``xtext``; of the type ``utf-8`` in the form of RFC 6533 section
    3, in ASCII (utf-8-addr-xtext) or, with ``utf8``, as it is (utf-8-addr-unitext)."""
    if kind != "utf-8":
        return xtext(address)
    return (_NOT_UNITEXT if utf8 else _NOT_UTF8_XTEXT).sub(lambda found: f"\\x{{{ord(found[0]):02X}}}", address)
