"""The kinds of values that members of a description have: colours, lengths, sides, styles. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Annotated, Any

from msgspec import Struct

from mailerq.content.responsive.reading import Reader, Reading
from mailerq.content.responsive.tags import TAG

MOST_PIXELS = 2000
"""Longer lengths are cut to this."""
_COLOUR = re.compile(
    r"#(?:[0-9a-fA-F]{3,4}|[0-9a-fA-F]{6}|[0-9a-fA-F]{8})|[A-Za-z]{2,30}|(?:rgb|hsl)a?\([0-9., %/]{3,40}\)"
)
_PIXELS = re.compile(r"(-?\d{1,9}(?:\.\d{1,9})?) ?(px)?")
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,9})?) ?%")
_SIZE = re.compile(r"\d{1,4}(?:\.\d{1,4})?(?:px|pt|em|rem|%)?|(?:xx?-)?(?:small|large)|medium|smaller|larger")
_LINE = re.compile(r"\d{1,4}(?:\.\d{1,4})?(?:px|pt|em|rem|%)?|normal")
_FAMILY = re.compile(r"[\w ,'\"-]{1,300}")
_CSS_NAME = re.compile(r"-{0,2}[A-Za-z][A-Za-z0-9-]{0,60}")
_CSS_VALUE = re.compile(r"[^\x00-\x1f\x7f;{}<>\\]{1,500}")
_ATTRIBUTE = re.compile(r"(?!on)[a-z][a-z0-9_-]{0,60}", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]")
_MOST_PAIRS = 100

Pairs = tuple[tuple[str, str], ...]


class Sides(Struct, frozen=True):
    """Pixels at the four sides."""

    top: int = 0
    right: int = 0
    bottom: int = 0
    left: int = 0


class Extent(Struct, frozen=True):
    """A width or height: pixels, or percents of the room there is."""

    amount: float
    percent: bool = False


def text(value: Any, place: str, reading: Reading) -> str | None:
    """A text; a number is taken for one. Control characters, which no HTML may have, are spaces."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        reading.expected(place, "a text", value)
        return None
    return _CONTROL.sub(" ", value) if isinstance(value, str) else str(value)


def _matching(pattern: re.Pattern[str], wanted: str) -> Callable[[Any, str, Reading], str | None]:
    def read(value: Any, place: str, reading: Reading) -> str | None:
        if isinstance(value, str) and (pattern.fullmatch(value.strip()) or TAG.fullmatch(value.strip())):
            return value.strip()
        reading.expected(place, wanted, value)
        return None

    return read


colour = _matching(_COLOUR, "a colour such as #ff8800 or red")
family = _matching(_FAMILY, "names of fonts, such as Arial, sans-serif")


def _sized(pattern: re.Pattern[str], unit: str, wanted: str) -> Callable[[Any, str, Reading], str | None]:
    def read(value: Any, place: str, reading: Reading) -> str | None:
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MOST_PIXELS:
            return f"{value:g}{unit}"
        if isinstance(value, str) and pattern.fullmatch(value.strip()):
            found = value.strip()
            return found + unit if found[-1].isdigit() else found
        reading.expected(place, wanted, value)
        return None

    return read


font_size = _sized(_SIZE, "px", "a size such as 16px or 1.2em")
line_height = _sized(_LINE, "", "a height such as 20px or 1.5")


def _line(value: Any, place: str, reading: Reading) -> str | None:
    """A number alone is pixels where it cannot be a factor."""
    found = line_height(value, place, reading)
    return f"{found}px" if found and found.replace(".", "").isdigit() and float(found) > 5 else found


def weight(value: Any, place: str, reading: Reading) -> str | None:
    """``bold`` or 100 to 1000."""
    found = str(value).strip().lower() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if found in ("normal", "bold", "bolder", "lighter") or (found.isascii() and found.isdigit() and len(found) <= 4):
        return found
    reading.expected(place, "a weight such as bold or 700", value)
    return None


def pixels(value: Any, place: str, reading: Reading) -> int | None:
    """A number of pixels, at least 0."""
    number: float = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = max(min(value, MOST_PIXELS), 0)
    elif isinstance(value, str) and (found := _PIXELS.fullmatch(value.strip())):
        number = float(found[1])
    if math.isnan(number):
        reading.expected(place, "a number of pixels", value)
        return None
    return int(max(min(number, MOST_PIXELS), 0))


def extent(value: Any, place: str, reading: Reading) -> Extent | None:
    """Pixels or percents."""
    if isinstance(value, str) and (found := _PERCENT.fullmatch(value.strip())):
        return Extent(max(min(float(found[1]), 100.0), 1.0), True)
    got = pixels(value, place, reading)
    return None if got is None else Extent(max(got, 1))


def sides(value: Any, place: str, reading: Reading) -> Sides | None:
    """One number for all sides, or an object that names them."""
    if isinstance(value, dict):
        names = ("top", "right", "bottom", "left")
        read = {name: pixels(value[name], f"{place}.{name}", reading) for name in names if value.get(name) is not None}
        return Sides(**{name: got for name, got in read.items() if got is not None})
    got = pixels(value, place, reading)
    return None if got is None else Sides(got, got, got, got)


def _pairs(what: str, name_of: re.Pattern[str], value_of: re.Pattern[str] | None) -> Callable[..., Pairs | None]:
    def read(value: Any, place: str, reading: Reading) -> Pairs | None:
        if value == []:  # how PHP writes an object that is empty
            return ()
        if not isinstance(value, dict) or len(value) > _MOST_PAIRS:
            reading.expected(place, f"an object of at most {_MOST_PAIRS} {what}", value)
            return None
        found = []
        for name, member in value.items():
            got = None if member is None else text(member, f"{place}.{name[:60]}", reading)
            if not name_of.fullmatch(name):
                reading.fault(f"{place}.{name[:60]}", f"is no name that {what} may have")
            elif got is not None and value_of and not value_of.fullmatch(got):
                reading.expected(f"{place}.{name}", f"a value that {what} may have", got)
            elif got is not None:
                found.append((name, got))
        return tuple(found)

    return read


css = _pairs("CSS properties", _CSS_NAME, _CSS_VALUE)
attributes = _pairs("HTML attributes", _ATTRIBUTE, None)
parameters = _pairs("parameters", re.compile(r"[^\x00-\x1f\x7f]{1,200}", re.DOTALL), None)


def one_of(*words: str) -> Callable[[Any, str, Reading], str | None]:
    """One word of a few, in any case."""

    def read(value: Any, place: str, reading: Reading) -> str | None:
        if isinstance(value, str) and value.strip().lower() in words:
            return value.strip().lower()
        reading.expected(place, "one of " + ", ".join(words), value)
        return None

    return read


def flag(value: Any, place: str, reading: Reading) -> bool | None:
    """true, false, 1, 0."""
    if isinstance(value, bool) or value in (0, 1):
        return bool(value)
    reading.expected(place, "true or false", value)
    return None


Text = Annotated[str, Reader(text)]
Colour = Annotated[str, Reader(colour)]
Family = Annotated[str, Reader(family)]
FontSize = Annotated[str, Reader(font_size)]
LineHeight = Annotated[str, Reader(_line)]
Weight = Annotated[str, Reader(weight)]
Pixels = Annotated[int | None, Reader(pixels)]
Width = Annotated[Extent | None, Reader(extent)]
SidesOr = Annotated[Sides | None, Reader(sides)]
Css = Annotated[Pairs, Reader(css)]
Attributes = Annotated[Pairs, Reader(attributes)]
Flag = Annotated[bool, Reader(flag)]
Align = Annotated[str, Reader(one_of("left", "center", "right"))]
