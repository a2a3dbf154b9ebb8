"""What binds at a site: the limit that the first mail in its queue waits for, and the line that says so.

Pure.
"""

from __future__ import annotations

from mailerq.lane import Lane
from mailerq.site import Site

TURN = "its turn"


def binding(site: Site) -> tuple[str, int]:
    """The limit by its name, and its line (0: none). ``its turn`` where there is none."""
    for lane in site.lanes.values():
        first = next(iter(lane.waiting), None)
        if first is not None and first.blocked_by:
            return _short(first.blocked_by), _line(site, lane, first.blocked_by)
    return TURN, 0


def _short(name: str) -> str:
    """Without what differs each time: until when it is slowed, and by which words."""
    limit, _, why = name.partition(" (")
    for kind in ("slowed", "warm-up"):
        if why.startswith(kind):
            return f"{limit} ({kind})"
    return name


def _line(site: Site, lane: Lane, name: str) -> int:
    limit, _, why = name.partition(" (")
    key = limit.replace("-", "_")
    budgets = [site.budget(source) for source in dict.fromkeys(lane.sources)]
    if why.startswith("tag "):
        tag = why.removeprefix("tag ").removesuffix(")").partition(", ")[0]
        budgets = [site.allowance.tag_budget(source, tag) for source in dict.fromkeys(lane.sources)]
    return next((budget.limits[key].line for budget in budgets if key in budget.limits), 0)
