"""When a host wants us to come again, as it says in the text of a reply."""

from __future__ import annotations

import re

SHORTEST, LONGEST = 1.0, 86400.0  # seconds that are believed
_LOOKED_AT = 1000  # characters

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBERS = {"a": 1.0, "an": 1.0, "one": 1.0, "a few": 5.0, "half an": 0.5}
_AMOUNT = (
    r"(?:(?P<{0}number>\d{{1,9}}|half an|an?|one|a few)[ -]?"
    r"(?P<{0}unit>s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)\b"
    r"|(?P<{0}clock>\d{{1,2}}:[0-5]\d:[0-5]\d)(?![\d:]))"
)
_AGAIN = r"(?:again|retry(?:ing)?|re-?send|come back|later|wait|gr[ea]y-?list(?:ed|ing)|defer(?:red)?|delay(?:ed)?)"
# At most 30 characters between, and no digit: of "more than 100 mails in 24 hours, try again later" nothing is meant.
_FOUND = re.compile(
    rf"\b{_AGAIN}\b[^0-9.;\n]{{0,30}}?(?<![a-z0-9]){_AMOUNT.format('a')}"
    rf"|\b(?:in|after) {_AMOUNT.format('b')}(?: +[a-z]+){{0,2}} +{_AGAIN}\b"
    rf"|^(?:in|after) {_AMOUNT.format('c')}\W*$"
    r"|\bretry[- ]?after\W{1,3}(?P<bare>\d{1,9})\b(?! ?[a-z:])",
    re.IGNORECASE | re.ASCII,
)


def retry_hint(text: str) -> float | None:
    """The seconds after which to come again, 1 s to 24 h; None where the text does not say. Never raises.

    "try again in 5 minutes", "retry after 300 seconds", "please come back in 00:05:00", "Greylisted for 5 min".
    """
    found = _FOUND.search(text[:_LOOKED_AT])
    if not found:
        return None
    if found["bare"]:
        return _bounded(float(found["bare"]))
    for way in "abc":
        number, clock = found[f"{way}number"], found[f"{way}clock"]
        if number:
            number = number.lower()
            return _bounded((_NUMBERS.get(number) or float(number)) * _SECONDS[found[f"{way}unit"][0].lower()])
        if clock:
            hours, minutes, seconds = clock.split(":")
            return _bounded(int(hours) * 3600.0 + int(minutes) * 60.0 + int(seconds))
    return None


def _bounded(seconds: float) -> float | None:
    return min(max(seconds, SHORTEST), LONGEST) if seconds > 0 else None
