"""A mail, made ready for one host: the command lines and the message, or the reason why this host cannot get it.

RFC 5321 (addresses), 1870 (SIZE), 3461 (DSN), 6152 (8BITMIME), 6531 (SMTPUTF8). Pure.
"""

from __future__ import annotations

from typing import Any

from mailerq.attempt import Outcome, State, Type
from mailerq.dsn.asked import Asked
from mailerq.dsn.parameters import mail_parameters, rcpt_parameters
from mailerq.smtp import wire
from mailerq.smtp.address import ascii_address, ascii_sender, wire_address
from mailerq.smtp.downgrade import header_end, seven_bit
from mailerq.smtp.extensions import Extensions
from mailerq.smtp.tracker import Talk


class _Unsendable(Exception):
    """Code, status, text."""


def prepare(mail: Any, extensions: Extensions) -> Talk:
    """The talk about ``mail`` with a host that offers ``extensions``. Never raises: what cannot be sent has a
    ``refusal`` (type ``error``, a 5xx code of our own) and must not be written."""
    body: bytes = mail.body
    try:
        sender, recipient, utf8 = ascii_sender(mail.sender), ascii_address(mail.recipient), False
        if sender is None or not recipient:
            sender, recipient, utf8 = _addresses(mail, extensions)
        parameters = b""
        if not body.isascii():
            body, parameters = _eight_bit(body, extensions, utf8)
        elif utf8:
            parameters = b" BODY=8BITMIME SMTPUTF8" if extensions.eightbit else b" SMTPUTF8"
        large = len(body) > wire.SLICE
        if not large:
            body = wire.normal(body)
        if extensions.size is not None:
            size = wire.size(body) if large else len(body)
            if 0 < extensions.size < size:
                limit = extensions.size
                raise _Unsendable(552, "5.3.4", f"the message has {size} bytes, and the host takes at most {limit}")
            parameters = b"%b SIZE=%d" % (parameters, size)
        rcpt = b"RCPT TO:<%b>\r\n" % recipient
        if mail.dsn is not None and extensions.dsn:
            parameters, rcpt = _ask(mail.dsn, recipient, parameters)
    except _Unsendable as problem:
        talk = Talk(mail, b"", b"", b"", False)
        code, status, text = problem.args
        talk.refusal = Outcome(Type.ERROR, State.MAIL, code, status, f"not sent: {text}")
        return talk
    return Talk(mail, b"MAIL FROM:<%b>%b\r\n" % (sender, parameters), rcpt, body, large)


def _ask(dsn: Asked, recipient: bytes, parameters: bytes) -> tuple[bytes, bytes]:
    """The parameters of MAIL, and the RCPT line, for a host that tells senders what becomes of their mail."""
    utf8 = b" SMTPUTF8" in parameters
    parameters += mail_parameters(dsn)
    return parameters, b"RCPT TO:<%b>%b\r\n" % (recipient, rcpt_parameters(dsn, recipient, utf8))


def _addresses(mail: Any, extensions: Extensions) -> tuple[bytes, bytes, bool]:
    """The two addresses as they are sent, and whether SMTPUTF8 is needed for them."""
    sender = _address(ascii_sender(mail.sender), mail.sender, "sender", "5.1.7")
    recipient = _address(ascii_address(mail.recipient), mail.recipient, "recipient", "5.1.3")
    if not recipient:
        raise _Unsendable(501, "5.1.3", "the recipient is empty")
    utf8 = not (sender.isascii() and recipient.isascii())
    if utf8 and not extensions.smtputf8:
        raise _Unsendable(550, "5.6.7", "the address is not ASCII, and the host does not offer SMTPUTF8")
    return sender, recipient, utf8


def _address(plain: bytes | None, text: str, what: str, status: str) -> bytes:
    if plain is not None:
        return plain
    try:
        return wire_address(text)
    except ValueError as error:
        shown = text.encode("ascii", "backslashreplace").decode()[:200]
        raise _Unsendable(501, status, f"the {what} {shown!r} is no address: {error}") from None


def _eight_bit(body: bytes, extensions: Extensions, utf8: bool) -> tuple[bytes, bytes]:
    """The body as this host may get it, and the parameters that say so.

    Headers that are not ASCII need SMTPUTF8; a host without it gets them encoded. A body that is not ASCII needs
    8BITMIME; a host without it gets its parts encoded. Where that would break a signature, headers go as they are to
    a host that takes 8 bits, and everything else is not sent.
    """
    headers = not body[: header_end(body)].isascii()
    utf8 = utf8 or (headers and extensions.smtputf8)
    if extensions.eightbit:
        if headers and not utf8:
            body = seven_bit(body, headers_only=True) or body
        return body, b" BODY=8BITMIME SMTPUTF8" if utf8 else b"" if body.isascii() else b" BODY=8BITMIME"
    converted = seven_bit(body)
    if converted is None:
        raise _Unsendable(
            554, "5.6.3", "conversion required but not possible: the host takes 7 bits, and the message is signed"
        )
    return converted, b" SMTPUTF8" if utf8 else b""
