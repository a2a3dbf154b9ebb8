"""Descriptions of messages composed in tests."""

from __future__ import annotations

import email
import email.policy
import json
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed

from mailerq.attempt import Type
from mailerq.content.downloads import Download
from mailerq.content.responsive.step import ComposeStep
from mailerq.content.step import ContentError, Occasion
from mailerq.job import Job, read

GALLERY = Path(__file__).parent.parent / "docs" / "gallery"
NOW = 1_700_000_000.0


class Web:
    """A downloader that is played: ``pages`` by URL; what is not there fails for good, what is None may come later."""

    def __init__(self, pages: dict[str, tuple[bytes, str] | None] | None = None) -> None:
        self.pages = pages or {}
        self.asked: list[str] = []

    def fetch(self, url: str) -> Deferred[Download]:
        """What is at ``url``."""
        self.asked.append(url)
        page = self.pages.get(url)
        if page is None:
            what = f"{url} cannot be downloaded: " + ("no answer" if url in self.pages else "404")
            return fail(ContentError(what, type=Type.RESPONSIVE, passing=url in self.pages))
        return succeed(Download(page[0], page[1], url))


def job_of(description: Any, **members: Any) -> Job:
    """A job whose message is described."""
    whole = {"recipient": "joe@example.net", "envelope": "bounce@example.org", "mime": description, **members}
    job = read(json.dumps(whole).encode())
    assert isinstance(job, Job)
    return job


def composed(description: Any, web: Web | None = None, **members: Any) -> bytes:
    """The message; raises what the step raises."""
    job = job_of(description, **members)
    step = ComposeStep(web or Web())
    out: list[Any] = []
    step.gather(job.described(), job).addBoth(out.append)
    if not isinstance(out[0], object) or hasattr(out[0], "raiseException"):
        out[0].raiseException()
    return step.apply(job.described(), job, Occasion(NOW, True, {step.name: out[0]}))


def message(description: Any, web: Web | None = None, **members: Any) -> EmailMessage:
    """The same, read by the standard library."""
    return read_message(composed(description, web, **members))


def read_message(made: bytes) -> EmailMessage:
    """A message as the standard library reads it."""
    found = email.message_from_bytes(made, policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    return found


def part(found: EmailMessage, kind: str) -> str:
    """The content of its first part of a type."""
    return next(str(one.get_content()).replace("\r\n", "\n") for one in found.walk() if one.get_content_type() == kind)


def html(*blocks: Any, web: Web | None = None, **members: Any) -> str:
    """The HTML of a message of these blocks."""
    return part(message({"subject": "S", "content": {"blocks": list(blocks)}}, web, **members), "text/html")


def text(*blocks: Any, web: Web | None = None, **members: Any) -> str:
    """Its text."""
    return part(message({"subject": "S", "content": {"blocks": list(blocks)}}, web, **members), "text/plain")


def reasons(description: Any, web: Web | None = None) -> tuple[str, ...]:
    """Why it cannot be composed; none if it can."""
    try:
        composed(description, web)
    except ContentError as error:
        assert error.type is Type.RESPONSIVE
        return error.reasons
    return ()


def gallery_web() -> Web:
    """What the descriptions in docs/gallery name."""
    types = {".png": "image/png", ".json": "application/json"}
    files = sorted(GALLERY.joinpath("web").iterdir())
    return Web({f"https://example.org/{path.name}": (path.read_bytes(), types[path.suffix]) for path in files})
