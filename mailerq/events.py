"""Every line that is logged of a mail's life: a function with a name and fixed fields.

Nothing is formatted where nobody listens. Lines are collected and handed to the writer once a turn.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from twisted.logger import Logger

from mailerq.attempt import Attempt, utc
from mailerq.mail import Mail
from mailerq.verdict import Delivered, Failed, Retry, Verdict

Fields = dict[str, Any]
_DECIDED: dict[type, str] = {Delivered: "delivered", Retry: "retry", Failed: "failed"}
_log = Logger()
_json = msgspec.json.Encoder().encode


def as_text(fields: Fields) -> str:
    """``time event key=value …``; values with blanks or quotes are JSON strings, absent ones are left out."""
    words = [f"{fields['time']} {fields['event']}"]
    for key, value in fields.items():
        if value is None or key in ("time", "event"):
            continue
        text = value if isinstance(value, str) else _json(value).decode()
        words.append(f"{key}={text}" if _is_plain(text) else f"{key}={_json(text).decode()}")
    return " ".join(words)


def as_json(fields: Fields) -> str:
    """One JSON object; absent values are left out."""
    return _json({key: value for key, value in fields.items() if value is not None}).decode()


def _is_plain(text: str) -> bool:
    return bool(text) and text.isprintable() and " " not in text and '"' not in text


class Events:
    """Where what happens is told. ``listen`` adds a reader of fields; ``counts`` is always kept."""

    def __init__(self, seconds: Callable[[], float], later: Callable[[Callable[[], None]], Any]) -> None:
        self._seconds = seconds
        self._later = later
        self._listeners: list[Callable[[Sequence[Fields]], None]] = []
        self._pending: list[Fields] = []
        self.counts: dict[str, int] = defaultdict(int)

    def listen(self, listener: Callable[[Sequence[Fields]], None]) -> None:
        """``listener`` is given what happened, in order, once a turn."""
        self._listeners.append(listener)

    def attempt(self, mail: Mail, attempt: Attempt) -> None:
        """An attempt has ended."""
        self.counts[attempt.type] += 1
        if not self._listeners:
            return
        self._tell(
            {
                "time": attempt.time,
                "event": "attempt",
                "id": mail.identity,
                "n": attempt.attempt,
                "type": attempt.type,
                "from": mail.sender or "<>",
                "to": mail.recipient,
                "local": attempt.source,
                "remote": attempt.target,
                "mx": attempt.mx,
                "state": attempt.state,
                "code": attempt.code,
                "status": attempt.status,
                "class": attempt.bounce_class,
                "duration": attempt.duration,
                "in-doubt": attempt.in_doubt or None,
                "text": attempt.description,
            }
        )

    def decided(self, mail: Mail, verdict: Verdict) -> None:
        """What becomes of the job after an attempt; its last line where that is final."""
        event = _DECIDED.get(type(verdict))
        if event is None:
            return
        self.counts[event] += 1
        if not self._listeners:
            return
        self._tell(
            {
                "time": utc(self._seconds()),
                "event": event,
                "id": mail.identity,
                "to": mail.recipient,
                "attempts": mail.job.attempts,
                "next": utc(verdict.at) if isinstance(verdict, Retry) else None,
            }
        )

    def parked(self, mail: Mail, until: float, why: str) -> None:
        """A job goes back to the broker to wait there."""
        self.counts["parked"] += 1
        if self._listeners:
            self._tell(
                {
                    "time": utc(self._seconds()),
                    "event": "parked",
                    "id": mail.identity,
                    "to": mail.recipient,
                    "until": utc(until),
                    "why": why,
                }
            )

    def invalid(self, why: str, size: int, kept: bool, body: bytes) -> None:
        """A body that is no job; it is shown where no queue keeps it."""
        self.counts["invalid"] += 1
        if self._listeners:
            shown = None if kept else body[:2000].decode("utf-8", "backslashreplace")
            self._tell(
                {"time": utc(self._seconds()), "event": "invalid", "bytes": size, "text": why, "dropped": shown},
            )

    def doubled(self, identity: str, why: str) -> None:
        """A job came twice, and was known."""
        self.counts["doubled"] += 1
        if self._listeners:
            self._tell({"time": utc(self._seconds()), "event": "doubled", "id": identity, "why": why})

    def _tell(self, fields: Fields) -> None:
        if not self._pending:
            self._later(self._flush)
        self._pending.append(fields)

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        for listener in self._listeners:
            try:
                listener(pending)
            except Exception:
                _log.failure("what happened could not be told")
