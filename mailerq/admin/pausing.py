"""What is said of pauses: which one a question begins, which ones it ends, and how one is shown. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from mailerq.admin.questions import Pause as Begin
from mailerq.admin.questions import Refused, Resume
from mailerq.explained import PauseSeen
from mailerq.pauses import Pause

SCOPES = ("domain", "mx", "ip", "pool", "tag")


def begun(question: Begin, now: float) -> dict[str, str]:
    """The scope of the pause that is asked for. Raises ``Refused``."""
    given = _scopes(question)
    if bool(given) == question.all:
        raise Refused("a pause is for a domain, mx, ip, pool or tag, or for all")
    if question.until is not None and question.until <= now:
        raise Refused("the end of the pause is over already")
    return given


def which(question: Resume, pauses: Iterable[Pause]) -> list[Pause]:
    """The pauses that are to be ended. Raises ``Refused``."""
    given = _scopes(question)
    if bool(given) + question.all + (question.id is not None) != 1:
        raise Refused("what is to be resumed is one of: an id, a domain, mx, ip, pool or tag, all")
    shown = [(pause, seen(pause)) for pause in pauses]
    return [pause for pause, one in shown if question.all or question.id == one.id or (given and given == _scopes(one))]


def seen(pause: Pause) -> PauseSeen:
    """As it is shown."""
    site = " ".join(pause.site) if pause.site else None
    given = {name: getattr(pause, name) for name in SCOPES}
    return PauseSeen(str(pause.id), pause.since, pause.until, pause.why, site=site, **given)


def _scopes(one: Begin | Resume | PauseSeen) -> dict[str, str]:
    """What is given of the scopes of a pause."""
    found = {name: getattr(one, name) for name in SCOPES}
    return {name: value for name, value in found.items() if value is not None}
