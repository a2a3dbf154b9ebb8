"""What is shown of the demonstration: a line of progress, two tables, two results."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from shutil import get_terminal_size
from typing import Any, TextIO

from mailerq.demo.check import Result
from mailerq.demo.plan import Order
from mailerq.demo.script import Script


class Progress:
    """One line that is drawn again on a terminal; elsewhere a line now and then (every ``pause`` seconds)."""

    def __init__(self, out: TextIO, total: int, pause: float = 2.0) -> None:
        self._out = out
        self._total = total
        self._pause = pause
        self._tty = out.isatty()
        self._next = 0.0

    def show(self, seconds: float, delivered: int, failed: int, retries: int, last: bool = False) -> None:
        """``seconds`` since the beginning; how many jobs are delivered and failed; how many retries there were."""
        if not (self._tty or last) and seconds < self._next:
            return
        self._next = seconds + self._pause
        done = delivered + failed
        text = (
            f"{done:5} of {self._total} results: {delivered} delivered, {failed} failed; "
            f"{retries} retries; {seconds:.1f} s"
        )
        if self._tty:
            width = max(0, min(30, get_terminal_size().columns - len(text) - 5))
            filled = width * done // self._total
            bar = "█" * filled + "░" * (width - filled)
            self._out.write(f"\r  {bar} {text}\x1b[K" + ("\n" if last else ""))
        else:
            self._out.write(f"  {text}\n")
        self._out.flush()


def by_type(results: Sequence[Result]) -> str:
    """A table: how often the last attempt, and an earlier one, came to what."""
    last, earlier = Counter[str](), Counter[str]()
    for result in results:
        *before, final = map(_kind, result["results"])
        last[final] += 1
        earlier.update(before)
    rows = [
        [kind, str(last[kind] or "-"), str(earlier[kind] or "-")]
        for kind in sorted(last | earlier, key=lambda kind: (-last[kind], kind))
    ]
    total = ["all", str(last.total()), str(earlier.total())]
    return table(["type of attempt", "final", "retried"], [*rows, total])


def _kind(entry: Mapping[str, Any]) -> str:
    words = [entry["type"], entry.get("code"), entry.get("status")]
    if entry["type"] != "success" and entry.get("state"):
        words.append(f"({'in doubt' if entry.get('in-doubt') else entry['state']})")
    return " ".join(str(word) for word in words if word is not None)


def by_domain(scripts: Sequence[Script], results: Sequence[Result], seconds: Mapping[int, float]) -> str:
    """A table: what came of the mails of each domain; ``seconds`` from publication to result, by order."""
    rows = []
    for script in scripts:
        mine = [result for result in results if result.get("domain") == script.domain]
        delivered = sum(result["results"][-1]["type"] == "success" for result in mine)
        retried = sum(len(result["results"]) > 1 for result in mine)
        mean = sum(seconds[result["order"]] for result in mine) / len(mine) if mine else 0.0
        rows.append(
            [script.domain, str(delivered), str(len(mine) - delivered), str(retried), f"{mean:.1f}", script.does]
        )
    return table(["domain", "delivered", "failed", "retried", "seconds", "its host"], rows)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as what is in them; numbers to the right."""
    columns = list(zip(heads, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [all(cell[:1].isdigit() or cell == "-" for cell in column[1:]) for column in columns]
    lines = [
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in (heads, *rows)
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(f"  {line}" for line in lines)


def examples(orders: Sequence[Order], results: Mapping[int, Sequence[Result]]) -> str:
    """Two whole results: a success after a retry, and a failure."""
    shown = []
    for title, delivered, attempts in (
        ("A mail that was delivered at the second attempt:", True, 2),
        ("A mail that failed:", False, 1),
    ):
        for order in orders:
            if order.fate.delivered is delivered and len(order.fate.entries) == attempts and results.get(order.number):
                text = json.dumps(results[order.number][0], indent=2, ensure_ascii=False)
                shown.append(f"{title}\n\n{text}")
                break
    return "\n\n".join(shown)
