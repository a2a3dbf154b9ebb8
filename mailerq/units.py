"""Times, sizes, rates and lists as people write them. All functions raise ``ValueError`` with a text for people."""

from __future__ import annotations

import re

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES: dict[str, int] = {
    "": 1,
    "B": 1,
    **{f"{letter}B": 1000**power for power, letter in enumerate("KMGT", 1)},
    **{f"{letter}IB": 1024**power for power, letter in enumerate("KMGT", 1)},
}
_PER_MINUTE = {"s": 60.0, "m": 1.0, "h": 1 / 60, "d": 1 / 1440}
_TIME = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhd]))+", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])", re.ASCII)
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([A-Za-z]*)", re.ASCII)
_WHOLE = re.compile(r"-?(?:0|[1-9]\d*)", re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_LONGEST = 100 * 366 * 86400.0
_MOST = 1000  # entries of a list of times


def parse_time(text: str) -> float:
    """Seconds of ``500ms``, ``5s``, ``10m``, ``1h``, ``1d``, or several together (``1h30m``).

    A bare number has no unit and is refused, except ``0``."""
    text = text.strip()
    if text == "0":
        return 0.0
    if not _TIME.fullmatch(text):
        if _NUMBER.fullmatch(text):
            raise ValueError(f"a time needs its unit: {text}ms, {text}s, {text}m, {text}h or {text}d")
        raise ValueError("is no time (times are written 500ms, 5s, 10m, 1h, 1d)")
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    if seconds > _LONGEST:
        raise ValueError("is more than a hundred years")
    return seconds


def parse_times(text: str) -> tuple[float, ...]:
    """Seconds of a list such as ``10m, 10m, 1h``; ``10m*3`` stands for three of ten minutes."""
    times: list[float] = []
    for part in text.split(","):
        if not part.strip():
            raise ValueError("has an empty place in its list of times")
        time, star, count = part.partition("*")
        seconds = parse_time(time)
        if not star:
            times.append(seconds)
        elif count.strip().isdecimal() and 1 <= int(count) <= _MOST:
            times += [seconds] * int(count)
        else:
            raise ValueError(f"how often is written 10m*3, with a number from 1 to {_MOST}")
    if len(times) > _MOST:
        raise ValueError(f"has more than {_MOST} times")
    return tuple(times)


def parse_size(text: str) -> int:
    """Bytes of ``10MB`` (a thousand thousands each), ``64KiB`` (1024 each) or a bare number of bytes."""
    found = _SIZE.fullmatch(text.strip())
    if not found or found[2].upper() not in _BYTES:
        raise ValueError("is no size (sizes are written 64KB, 10MB, 1GB, or 64KiB, 10MiB, 1GiB)")
    number: float = float(found[1]) * _BYTES[found[2].upper()]
    return round(number)


def parse_rate(text: str, size: bool = False) -> float:
    """How many per minute: ``30``, ``30/m``, ``600/h``, ``5/s``; with ``size`` bytes: ``600MB``, ``10MB/s``."""
    number, slash, unit = (part.strip() for part in text.strip().partition("/"))
    if slash and unit not in _PER_MINUTE:
        raise ValueError("is no rate (rates are written 30, which is per minute, or 5/s, 30/m, 600/h, 1000/d)")
    if size:
        amount = float(parse_size(number))
    elif _NUMBER.fullmatch(number):
        amount = float(number)
    else:
        raise ValueError("is no rate (rates are written 30, which is per minute, or 5/s, 30/m, 600/h, 1000/d)")
    return amount * (_PER_MINUTE[unit] if slash else 1.0)


def parse_whole(text: str) -> int:
    """A whole number in decimal digits; ``010``, which YAML takes for eight, is refused."""
    text = text.strip()
    if _WHOLE.fullmatch(text):
        return int(text)
    if text.isdecimal() and text.startswith("0"):
        raise ValueError(f"YAML takes {text} for an octal number: write it without the leading zero")
    raise ValueError("is no whole number")
