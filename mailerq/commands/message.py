"""A message that was handed in: its header fields can be read, removed and added; all else stays byte for byte."""

from __future__ import annotations

import base64
import quopri
import re
from email import message_from_bytes
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message as ParsedMessage
from email.policy import compat32
from typing import Any

from mailerq.commands import Failed

_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:")
_QUEUES = {"results-queue": "results", "failure-queue": "failure", "success-queue": "success", "retry-queue": "retry"}
_LISTS = {"ip": "ips", "tag": "tags"}
_SWITCHES = ("keepmime", "inlinecss", "normalize")
_NUMBERS = ("maxattempts", "priority")
_SMARTHOST = {
    "name": "hostname",
    "hostname": "hostname",
    "port": "port",
    "username": "username",
    "password": "password",
}
_OURS = (
    "recipient",
    "mime",
    "key",
    "results",
    "queues",
    "smarthost",
    "dsn",
    "domain",
    "seen",
)  # not for a header to set


class Message:
    """``fields`` are (name in lower case, the field with its line ends); ``body`` begins with the empty line."""

    def __init__(self, fields: list[tuple[str, bytes]], body: bytes, end: bytes) -> None:
        self.fields = fields
        self.body = body
        self.end = end

    @classmethod
    def parse(cls, content: bytes) -> Message:
        """Never fails: what does not begin with a header field has no header."""
        *whole, last = content.split(b"\n")
        lines = [line + b"\n" for line in whole] + ([last] if last else [])
        end = b"\r\n" if lines and lines[0].endswith(b"\r\n") else b"\n"
        fields: list[tuple[str, bytes]] = []
        place = 1 if lines and lines[0].startswith(b"From ") else 0  # of a mailbox file
        for line in lines[place:]:
            found = _FIELD.match(line)
            if found:
                fields.append((found[1].decode("ascii").lower(), line))
            elif line[:1] in (b" ", b"\t") and fields:
                fields[-1] = (fields[-1][0], fields[-1][1] + line)
            else:
                break
            place += 1
        body = b"".join(lines[place:])
        if not body.startswith((b"\n", b"\r\n")):
            body = end + body
        return cls(fields, body, end)

    def all(self, name: str) -> list[str]:
        """The values of all fields of that name (lower case), unfolded, encoded words as they are."""
        found = [field for field_name, field in self.fields if field_name == name]
        return [" ".join(field.partition(b":")[2].decode("utf-8", "replace").split()) for field in found]

    def remove(self, name: str) -> None:
        """Remove all fields of that name (lower case)."""
        self.fields = [field for field in self.fields if field[0] != name]

    def add(self, name: str, value: str) -> None:
        """Add a field at the end of the header."""
        self.fields.append((name.lower(), f"{name}: {value}".encode() + self.end))

    def content(self) -> bytes:
        """The message."""
        header = [field if field.endswith(b"\n") else field + self.end for _, field in self.fields]
        return b"".join([*header, self.body])


def job_properties(message: Message) -> dict[str, Any]:
    """What the ``x-mq-`` fields of a message say, as properties of a job; the fields are removed. Raises ``Failed``."""
    properties: dict[str, Any] = {}
    for name in dict.fromkeys(name for name, _ in message.fields if name.startswith("x-mq-")):
        values = [_decoded(value) for value in message.all(name)]
        message.remove(name)
        _set(properties, name.removeprefix("x-mq-"), values)
    return properties


def _decoded(value: str) -> str:
    """Without encoded words (RFC 2047); those that cannot be decoded stay."""
    try:
        return str(make_header(decode_header(value)))
    except (MessageError, LookupError, ValueError):
        return value


def _set(properties: dict[str, Any], name: str, values: list[str]) -> None:
    value = values[-1]
    part = name.removeprefix("smarthost-")
    if name in _QUEUES:
        properties.setdefault("queues", {})[_QUEUES[name]] = value or None
    elif name in _LISTS:
        properties[_LISTS[name]] = values
    elif name in _NUMBERS:
        properties[name] = _number(name, value)
    elif name == "retries":
        properties[name] = [_number(name, delay) for delay in value.split(",")]
    elif name in _SWITCHES:
        properties[name] = value.lower() in ("1", "true", "yes", "on")
    elif part != name and part in _SMARTHOST:
        found = _number(name, value) if part == "port" else value
        properties.setdefault("smarthost", {})[_SMARTHOST[part]] = found
    elif name.startswith("dsn-"):
        whole = ",".join(values) if name == "dsn-notify" else value
        properties.setdefault("dsn", {})[name.removeprefix("dsn-")] = whole
    elif name not in _OURS:
        properties[name] = value


def _number(name: str, text: str) -> int:
    if not text.strip().isdecimal():
        raise Failed(f"x-mq-{name}: {text!r} is no number")
    return int(text)


def only_utf8(content: bytes) -> bytes:
    """The message as it is if it is UTF-8 (a job is JSON, and can hold nothing else); or else its parts with 8-bit
    bytes encoded for seven bits (RFC 2045 section 6). Raises ``Failed`` where that cannot be done."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        pass
    else:
        return content
    content = b"\n".join(content.split(b"\r\n"))
    parsed: ParsedMessage = message_from_bytes(content, policy=compat32.clone(max_line_length=0))
    for part in parsed.walk():
        _check_header(part)
        if part.is_multipart():
            if part["content-transfer-encoding"]:
                part.replace_header("content-transfer-encoding", "7bit")
            continue
        _encode(part)
    encoded = parsed.as_bytes()
    try:
        encoded.decode("utf-8")
    except UnicodeDecodeError:
        raise Failed("the message has bytes that are no UTF-8 where they cannot be encoded") from None
    return encoded


def _check_header(part: ParsedMessage) -> None:
    for name, value in part.raw_items():
        try:
            str(value).encode("ascii", "surrogateescape").decode("utf-8")
        except UnicodeError:
            text = f"the header field {name} has bytes that are no UTF-8; they have to be encoded (RFC 2047)"
            raise Failed(text) from None


def _encode(part: ParsedMessage) -> None:
    payload, content = part.get_payload(), part.get_payload(decode=True)
    if not (isinstance(payload, str) and isinstance(content, bytes)) or payload.isascii():
        return
    if part.get_content_maintype() == "text":
        encoding, encoded = "quoted-printable", quopri.encodestring(content)
    else:
        encoding, encoded = "base64", base64.encodebytes(content)
    del part["content-transfer-encoding"]
    part["Content-Transfer-Encoding"] = encoding
    if not part["mime-version"]:
        part["MIME-Version"] = "1.0"
    part.set_payload(encoded.decode("ascii"))
