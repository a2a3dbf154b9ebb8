"""What may be asked of a running engine through its control socket: one of these, as a line of JSON.

``{"ask": "explain", "what": "example.org"}``: ``ask`` names the question. Times are epoch seconds. Importing this is
quick, for the commands do.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

Name = Annotated[str, Meta(min_length=1, max_length=1000)]
Text = Annotated[str, Meta(max_length=1000)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
LONGEST = 65536  # bytes of a question


class Refused(Exception):
    """It cannot be answered. The text, one line, says why."""


class Question(Struct, frozen=True, tag_field="ask", tag=str.lower, forbid_unknown_fields=True):
    """Anything that is asked."""


class Explain(Question, frozen=True):
    """Why does it wait? ``what``: a domain, a recipient, the id of a job, the address or name of a remote host."""

    what: Name


class Sites(Question, frozen=True):
    """All sites, ``most`` of them: by ``sort`` ``waiting``, ``speed`` (both: most first) or ``name``."""

    sort: str = "waiting"
    most: Count = 1000


class Rows(Question, frozen=True):
    """These sites, by the names of their hosts (``key`` of a row), as far as there is mail for them."""

    keys: list[tuple[str, ...]]


class Pause(Question, frozen=True):
    """Nothing goes where all that is given fits, until ``until`` (None: until it is resumed). Nothing given: refused,
    unless ``all``."""

    domain: Name | None = None
    mx: Name | None = None
    ip: Name | None = None
    pool: Name | None = None
    tag: Name | None = None
    all: bool = False
    until: float | None = None
    why: Text = ""


class Resume(Question, frozen=True):
    """End the pause with that ``id``, or those of exactly that domain, mx, ip, pool and tag; ``all``: every one."""

    id: Name | None = None
    domain: Name | None = None
    mx: Name | None = None
    ip: Name | None = None
    pool: Name | None = None
    tag: Name | None = None
    all: bool = False


class Pauses(Question, frozen=True):
    """The pauses that hold."""


class Stats(Question, frozen=True):
    """Counts of all kinds."""


Asked = Explain | Sites | Rows | Pause | Resume | Pauses | Stats
_decoder = msgspec.json.Decoder(Asked)


def read(line: bytes) -> Asked:
    """The question that a line asks. Raises ``Refused``."""
    try:
        question: Asked = _decoder.decode(line)
    except msgspec.ValidationError as error:
        raise Refused(str(error)) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise Refused("this is no JSON object") from None
    return question


def write(question: Question) -> bytes:
    """The line that asks it."""
    return msgspec.json.encode(question) + b"\n"
