"""Personalisation: what the ``data`` of a job say is filled into its message."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from mailerq.attempt import Type
from mailerq.content.step import ContentError, IContentStep, Occasion
from mailerq.job import Job

if TYPE_CHECKING:
    from mailerq.content.header_block import Field
    from mailerq.content.mime_texts import Texts
    from mailerq.content.template import Budget, Templates

_ADDRESSES = ("from", "to", "cc", "reply-to")
_FIELDS = ("subject", *_ADDRESSES)
_LONGEST_FIELD = 20_000  # characters
_LONGEST_RAW = 100_000  # bytes of a field
_MOST_FIELDS = 100  # there should be one of each name


@implementer(IContentStep)
class Personalise:
    """Fills in the fields Subject, From, To, Cc, Reply-To, and all text/plain and text/html parts. Safe for threads."""

    name = "personalise"
    slow = True

    def wanted(self, job: Job, described: bool) -> bool:
        """Whether the job has ``data``, or its description of the message may have."""
        return bool(job.known.data) or described  # UNSET and {} are false

    def apply(self, message: bytes, job: Job, occasion: Occasion) -> bytes:
        """The message filled in; the same bytes where nothing is to be filled in. Raises ContentError of type
        ``responsive``: its reason says which text, line and why."""
        given = _given(job, occasion)
        return _Filling(self._templates, message, job, occasion, given).done() if given else message

    @cached_property
    def _templates(self) -> Templates:
        try:
            import jinja2  # noqa: F401
        except ImportError:
            raise ContentError("data: needs Jinja2, which is not installed: pip install 'mailerq[content]'") from None
        from mailerq.content.template import Templates

        return Templates()


def _given(job: Job, occasion: Occasion) -> Mapping[str, Any]:
    """The data of the job; those of its description of the message where it has none."""
    given: Any = job.known.data
    composed = occasion.gathered.get("compose")
    return given or (composed and composed.description.data) or {}


def _failed(where: str, why: str) -> ContentError:
    reason = f"{where}, {why}" if why.startswith("line ") else f"{where}: {why}"
    return ContentError(
        f"data: the message could not be personalised: {reason}", type=Type.RESPONSIVE, reasons=(reason,)
    )


class _Filling:
    """One message being filled in."""

    def __init__(
        self, templates: Templates, message: bytes, job: Job, occasion: Occasion, given: Mapping[str, Any]
    ) -> None:
        from mailerq.content.mime_texts import TooMany, find_texts
        from mailerq.content.template import Budget

        self._templates = templates
        self._message = message
        try:
            self._texts: Texts = find_texts(message)
        except TooMany as error:
            raise _failed("the message", str(error)) from None
        self._budget: Budget = Budget()
        self._eight_bit = occasion.eight_bit
        self._variables: dict[str, Any] = {
            "envelope": job.known.envelope or "",
            "recipient": job.known.recipient or "",
        }
        self._variables |= {name.replace("-", "_"): value for name, value in given.items() if "-" in name}
        self._variables |= given

    def done(self) -> bytes:
        """The message filled in."""
        from mailerq.content.mime_texts import joined

        changed = False
        for field in self._fields():
            changed = self._field(field) or changed
        contents = self._contents()
        return joined(self._message, self._texts, contents, changed) if changed or contents else self._message

    def _fields(self) -> list[Field]:
        """Those of the header that may have something to fill in."""
        found = [
            field
            for field in self._texts.header.fields
            if field.key in _FIELDS and (b"{" in field.raw or b"=?" in field.raw)
        ]
        if len(found) > _MOST_FIELDS:
            raise _failed("the message", f"has more than {_MOST_FIELDS} fields to fill in")
        for field in found:
            if len(field.raw) > _LONGEST_RAW:
                raise _failed(field.name, f"is longer than {_LONGEST_RAW} bytes")
        return found

    def _contents(self) -> dict[int, bytes]:
        """What is in the parts that are filled in, by their number."""
        from mailerq.content.mime_texts import rewrite
        from mailerq.content.template import without_entities

        contents = {}
        for number, part in enumerate(self._texts.parts):
            text = part.text(self._message)
            if text is None:
                continue
            template = without_entities(text) if part.kind == "html" else text
            filled = self._filled(f"text/{part.kind}", template, _lines_as_in(text))
            if filled is not None:
                contents[number] = rewrite(self._message, self._texts, part, filled, self._eight_bit)
        return contents

    def _filled(self, where: str, text: str, show: Callable[[str], str]) -> str | None:
        """``text`` filled in; None where there is nothing to fill in."""
        from mailerq.content.template import TemplateError, has_tags

        if not has_tags(text):
            return None
        if self._texts.signed:
            raise _failed(where, "the message is signed already, and would not be as it was signed")
        try:
            return self._templates.render(text, dict(self._variables), self._budget, show)
        except TemplateError as error:
            raise _failed(where, str(error)) from None

    def _field(self, field: Field) -> bool:
        """Fill in a field of the header; returns whether there was something to fill in."""
        from mailerq.content.address_fields import guarded, guarded_template
        from mailerq.content.encoded_words import decoded, without_controls
        from mailerq.content.mime_texts import replace_field

        addresses = field.key in _ADDRESSES
        text = decoded(field.value, guarded_template) if addresses else decoded(field.value)
        filled = self._filled(field.name, text, guarded if addresses else without_controls)
        if filled is None:
            return False
        if len(filled) > _LONGEST_FIELD:
            raise _failed(field.name, f"is longer than {_LONGEST_FIELD} characters")
        try:
            replace_field(self._texts.header, field, self._written(field, filled))
        except ValueError as error:
            raise _failed(field.name, str(error)) from None
        return True

    def _written(self, field: Field, filled: str) -> Field | None:
        """The field as it goes out. Raises ValueError."""
        from mailerq.content.address_fields import written
        from mailerq.content.encoded_words import encoded, is_plain, without_controls
        from mailerq.content.header_block import make

        if field.key in _ADDRESSES:
            value = written(without_controls(filled))
            if not value and field.key == "from":
                raise ValueError("has no address")
            return make(field.name, value, self._texts.header.end) if value else None
        text = without_controls(filled).strip()
        return make(field.name, text if is_plain(text) else encoded(text), self._texts.header.end)


def _lines_as_in(text: str) -> Callable[[str], str]:
    """How a value is written in a text: with its line ends."""
    at = min((at for at in (text.find("\r"), text.find("\n")) if at >= 0), default=-1)
    end = "\r\n" if at < 0 or text[at : at + 2] == "\r\n" else text[at]

    def show(value: str) -> str:
        if "\n" not in value and "\r" not in value:
            return value
        return value.replace("\r\n", "\n").replace("\r", "\n").replace("\n", end)

    return show
